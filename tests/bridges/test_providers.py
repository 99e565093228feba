"""Tracer providers: the application's, whichever that is, and what answers while it has none."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, TraceIdRatioBased
from opentelemetry.util._once import Once

from pytest_crucible.bridges.providers import (
    Latch,
    StandIn,
    canary,
    current_provider,
    named_by_environment,
    unwrapped,
)
from tests.bridges.support import no_provider


class Ended(SpanProcessor):
    """Keeps the names of spans that ended."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.names.append(span.name)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with no_provider():
        yield


@pytest.fixture
def heard() -> Ended:
    return Ended()


def provider(*processors: SpanProcessor, **options: Any) -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False, **options)
    for each in processors:
        made.add_span_processor(each)
    return made


# --- standing in -------------------------------------------------------------------------------


def test_while_there_is_none_the_stand_in_answers(heard: Ended) -> None:
    """Only while it is set: a tracer that outlives it makes spans that nobody hears."""
    stand_in = StandIn(heard)
    tracer = stand_in.get_tracer("lib")
    tracer.start_span("before").end()
    trace._TRACER_PROVIDER = stand_in
    tracer.start_span("meanwhile").end()
    with tracer.start_as_current_span("current"):
        pass
    trace._TRACER_PROVIDER = None
    tracer.start_span("after").end()
    assert heard.names == ["meanwhile", "current"]


def test_a_tracer_follows_the_provider_that_comes(heard: Ended) -> None:
    """It was asked for before the application had set its own; from then on it is that one's."""
    stand_in, theirs = StandIn(heard), Ended()
    trace._TRACER_PROVIDER = stand_in
    tracer = stand_in.get_tracer("lib", "1.0")
    tracer.start_span("ours").end()
    trace._TRACER_PROVIDER = provider(theirs)
    tracer.start_span("theirs").end()
    assert (heard.names, theirs.names) == (["ours"], ["theirs"])


def test_to_applications_it_is_the_proxy_that_it_replaces(heard: Ended) -> None:
    """Libraries look whether a provider has been set: none has."""
    stand_in = StandIn(heard)
    assert isinstance(stand_in, trace.ProxyTracerProvider)
    assert not isinstance(stand_in, TracerProvider)
    assert current_provider() is None


# --- noticing who comes ------------------------------------------------------------------------


def test_the_latch_says_when_a_provider_is_set() -> None:
    """Each time somebody tries, also in vain; what it guards still happens once."""
    told: list[str] = []
    latch = Latch(Once(), lambda: told.append("told"))
    assert latch.do_once(lambda: told.append("set")) is True
    assert latch.do_once(lambda: told.append("set again")) is False
    assert told == ["set", "told", "told"]


def test_the_latch_goes_on_where_the_other_was() -> None:
    """A provider that was set before it stays set."""
    original = Once()
    original.do_once(lambda: None)
    done: list[int] = []
    assert Latch(original, lambda: None).do_once(lambda: done.append(1)) is False
    assert done == []


def test_the_environment_may_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the API loads it as soon as it is asked: nobody needs to stand in."""
    monkeypatch.delenv("OTEL_PYTHON_TRACER_PROVIDER", raising=False)
    assert not named_by_environment()
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "sdk")
    assert named_by_environment()


def test_wrappers_are_looked_through() -> None:
    """Logfire's keeps the SDK's in ``provider``; one that contains itself ends the search."""
    sdk = provider()
    assert unwrapped(SimpleNamespace(provider=SimpleNamespace(provider=sdk))) is sdk
    assert unwrapped(sdk) is sdk
    endless: Any = SimpleNamespace()
    endless.provider = endless
    assert unwrapped(endless) is endless


# --- the canary --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "low", "high"),
    [(ALWAYS_ON, 1, 1), (ALWAYS_OFF, 0, 0), (TraceIdRatioBased(0.5), 0.2, 0.8)],
)
def test_the_canary_tells_how_much_a_sampler_lets_through(
    sampler: Any, low: float, high: float
) -> None:
    """As a share of spans like calls of models, and what the sampler calls itself."""
    share, name = canary(provider(sampler=sampler))
    assert low <= share <= high
    assert name == sampler.get_description()


def test_the_applications_exporters_never_see_the_canary(heard: Ended) -> None:
    """It flies through a provider of our own, with a copy of the sampler."""

    class Counting:
        calls = 0

        def __deepcopy__(self, memo: object) -> Any:
            return ALWAYS_ON

        def should_sample(self, *_: object, **__: object) -> Any:
            self.calls += 1
            raise AssertionError("asked")

        def get_description(self) -> str:
            return "counting"

    sampler: Any = Counting()
    assert canary(provider(heard, sampler=sampler))[0] == 1
    assert (sampler.calls, heard.names) == (0, [])


def test_without_a_provider_the_environments_sampler_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is what an application's provider would use by default."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert canary()[0] == 0
    monkeypatch.delenv("OTEL_TRACES_SAMPLER")
    assert canary()[0] == 1
