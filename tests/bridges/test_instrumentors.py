"""Instrumentors: one per client, never twice, and what cannot be done is said in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.bridges import instrumentors
from pytest_crucible.bridges.instrumentors import (
    CLIENTS,
    Client,
    anthropic_is_native,
    anthropic_is_silent,
    imported_clients,
    instrument,
    parse_instrument,
)

Make = Callable[..., ModuleType]


class Instrumentor:
    """As OpenTelemetry's are: one for all, and it knows whether it is on."""

    is_instrumented_by_opentelemetry = False
    works = True

    def instrument(self) -> None:
        type(self).is_instrumented_by_opentelemetry = self.works

    def uninstrument(self) -> None:
        type(self).is_instrumented_by_opentelemetry = False


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Puts a module where imports find it."""

    def make(name: str, **values: Any) -> ModuleType:
        made = ModuleType(name)
        made.__spec__ = ModuleSpec(name, None)
        vars(made).update(values)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    return make


@pytest.fixture
def client(module: Make, monkeypatch: pytest.MonkeyPatch) -> type[Instrumentor]:
    """A client with two instrumentors, the first of which is not installed."""
    kind = type("Ours", (Instrumentor,), {})
    known = Client("fakeai", (("gone_instrumentor", "Ours"), ("fake_instrumentor", "Ours")), "fake")
    monkeypatch.setattr(instrumentors, "CLIENTS", {"fake": known})
    module("fakeai")
    module("fake_instrumentor", Ours=kind)
    return kind


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()), ("none", ()), (" , ", ()), ("auto", ("auto",)), ("openai", ("openai",)),
        ("openai, litellm,openai", ("openai", "litellm")),
    ],
)  # fmt: skip
def test_names_are_read(text: str, names: tuple[str, ...]) -> None:
    """Each once, in order; ``none`` and nothing are no client."""
    assert parse_instrument(text) == names


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("opnai", "unknown client 'opnai'; valid: auto, none, openai, anthropic, litellm, "),
        ("auto,openai", "'auto' cannot be combined with other names"),
        ("openai,none", "'none' cannot be combined with other names"),
    ],
)
def test_a_wrong_name_is_refused(text: str, problem: str) -> None:
    """In one line that names it and the valid ones."""
    with pytest.raises(DefinitionError) as caught:
        parse_instrument(text)
    assert str(caught.value).startswith(problem)


def test_the_best_that_is_installed_is_turned_on(client: type[Instrumentor]) -> None:
    """And turned off again by what is given back."""
    (undo,), problems = instrument(["fake"])
    assert problems == []
    assert client.is_instrumented_by_opentelemetry
    undo()
    assert not client.is_instrumented_by_opentelemetry


def test_what_is_on_already_is_left_alone(client: type[Instrumentor]) -> None:
    """The application did it: a second one would double each call, and the end is not ours."""
    client.is_instrumented_by_opentelemetry = True
    assert instrument(["fake"]) == ([], [])


def test_an_instrumentor_that_does_not_fit_says_so(client: type[Instrumentor]) -> None:
    """It refused the installed version of the client, with a log line that nobody reads."""
    client.works = False
    undo, (problem,) = instrument(["fake"])
    assert undo == []
    assert problem == "fake: fake_instrumentor does not work with the installed fakeai"


def test_an_instrumentor_that_raises_ends_no_session(
    client: type[Instrumentor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is told."""

    def broken(_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(client, "instrument", broken)
    undo, (problem,) = instrument(["fake"])
    assert undo == []
    assert problem == "fake could not be instrumented: RuntimeError: boom"


def test_what_is_missing_is_told(
    client: type[Instrumentor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client, or what would make its calls spans, with the package to install."""
    monkeypatch.delitem(sys.modules, "fake_instrumentor")
    assert instrument(["fake"]) == ([], ["fake has no instrumentor: pip install fake"])
    monkeypatch.delitem(sys.modules, "fakeai")
    assert instrument(["fake"]) == ([], ["fake is not installed"])


def test_auto_takes_what_is_imported(
    client: type[Instrumentor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing a client that nobody uses may be slow, or go to the network."""
    monkeypatch.delitem(sys.modules, "fakeai")
    assert instrument(["auto"]) == ([], [])
    monkeypatch.setitem(sys.modules, "fakeai", ModuleType("fakeai"))
    assert imported_clients() == {"fake"}


def test_pydantic_ai_instruments_itself(module: Make) -> None:
    """Its agents make spans when they are told to; those that do already are left alone."""

    class Agent:
        _instrument_default = False

        @classmethod
        def instrument_all(cls, on: bool = True) -> None:
            cls._instrument_default = on

    module("pydantic_ai", Agent=Agent)
    (undo,), problems = instrument(["pydantic-ai"])
    assert (Agent._instrument_default, problems) == (True, [])
    assert instrument(["pydantic-ai"]) == ([], [])
    undo()
    assert Agent._instrument_default is False


@pytest.mark.parametrize(
    ("installed", "native"), [("2.12.0", True), ("10.0", True), ("1.9", False), ("x", False)]
)
def test_anthropic_makes_spans_by_itself(
    installed: str, native: bool, module: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its second version on, unless the environment forbids it: no instrumentor is needed."""
    monkeypatch.setattr(instrumentors, "version", lambda _: installed)
    assert anthropic_is_native() is native
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "False")
    assert anthropic_is_silent() is native
    monkeypatch.delenv("ANTHROPIC_OPEN_TELEMETRY")
    assert not anthropic_is_silent()
    if native:
        module("anthropic")
        assert instrument(["anthropic"]) == ([], [])


@pytest.mark.parametrize("name", CLIENTS)
def test_every_client_says_what_to_install(name: str) -> None:
    """And each instrumentor is a module and a class in it."""
    client = CLIENTS[name]
    assert client.package
    for module, kind in client.instrumentors:
        assert module.replace(".", "").replace("_", "").isalpha()
        assert kind.isidentifier()
