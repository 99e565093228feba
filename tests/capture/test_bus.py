"""The bus: handlers and their patterns."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible import telemetry
from pytest_crucible.capture import bus as _bus
from tests.capture.support import Heard, names


def ignore(*_: object) -> None:
    """A handler that does nothing."""


def test_handler_gets_event_and_config() -> None:
    """A handler is called with name, measurements, metadata and its own config."""
    calls: list[tuple[Any, ...]] = []
    telemetry.attach("a", "x.y", lambda *args: calls.append(args), {"my": "config"})
    telemetry.execute("x.y", {"n": 1}, {"k": "v"})
    telemetry.execute("x.y")
    telemetry.execute("x.z")
    assert calls == [
        ("x.y", {"n": 1}, {"k": "v"}, {"my": "config"}),
        ("x.y", {}, {}, {"my": "config"}),
    ]


def test_handler_runs_in_the_callers_thread() -> None:
    """A handler runs in the thread that emits."""
    seen: list[int] = []
    telemetry.attach("a", "x", lambda *_: seen.append(threading.get_ident()))
    thread = threading.Thread(target=telemetry.execute, args=("x",))
    thread.start()
    thread.join()
    assert seen == [thread.ident]


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("req_llm.*", "req_llm.request.stop", True),
        ("req_llm.*", "req_llm", False),
        ("*.stop", "a.b.stop", True),
        ("*.stop", "a.stop.b", False),
        ("a.*.c", "a.b.b.c", True),
        ("a", "a.b", False),
        ("a.b", "axb", False),
        ("*", "line\nbreak", True),
        ("tool[0].stop", "tool[0].stop", True),
        ("tool[0].stop", "tool0.stop", False),
        ("tool[!a].*", "tool[!a].stop", True),
        ("tool[!a].*", "toolb.stop", False),
        ("done?", "done?", True),
        ("done?", "donee", False),
        ("Case", "case", False),
    ],
)
def test_only_the_star_is_special_in_a_pattern(pattern: str, name: str, matches: bool) -> None:
    """In a pattern `*` stands for any characters and all others for themselves."""
    telemetry.attach("a", pattern, ignore)
    assert telemetry.enabled(name) is matches
    assert [handler.id for handler in telemetry.list_handlers(name)] == ["a"] * matches


@given(st.text(min_size=1).filter(lambda name: "*" not in name))
def test_every_name_matches_itself(name: str) -> None:
    """A pattern without a star hears exactly the event of that name."""
    telemetry.attach("a", name, ignore)
    try:
        assert telemetry.enabled(name)
        assert not telemetry.enabled(name + "x")
    finally:
        telemetry.detach("a")


def test_many_patterns_under_one_id() -> None:
    """A handler attached for several patterns hears an event once, whichever of them match."""
    heard: list[str] = []
    telemetry.attach_many("a", ["x.*", "*.y", "z"], lambda name, *_: heard.append(name))
    for name in ("x.y", "z", "q"):
        telemetry.execute(name)
    assert heard == ["x.y", "z"]
    assert telemetry.list_handlers()[0].patterns == ("x.*", "*.y", "z")


def test_ids_are_unique() -> None:
    """A taken id is refused and the first handler keeps it."""
    telemetry.attach("a", "x", ignore, "first")
    with pytest.raises(ValueError, match="'a' is attached already"):
        telemetry.attach("a", "y", ignore, "second")
    assert [handler.config for handler in telemetry.list_handlers()] == ["first"]


@pytest.mark.parametrize("patterns", [[], [""], ["x", ""]])
def test_empty_patterns_are_refused(patterns: list[str]) -> None:
    """A handler that could hear nothing cannot be attached."""
    with pytest.raises(ValueError, match="at least one pattern"):
        telemetry.attach_many("a", patterns, ignore)
    assert telemetry.list_handlers() == []


def test_detaching_what_is_not_there_is_an_error() -> None:
    """Detaching an unknown id is refused by name."""
    with pytest.raises(LookupError, match="'nobody'"):
        telemetry.detach("nobody")


def test_attach_and_detach_count_at_once() -> None:
    """A handler hears a name from attach to detach, also one that was emitted before."""
    heard: list[str] = []
    telemetry.attach("other", "x", ignore)
    telemetry.execute("x")
    telemetry.attach("a", "x", lambda name, *_: heard.append(name))
    telemetry.execute("x")
    telemetry.detach("a")
    telemetry.execute("x")
    assert heard == ["x"]
    assert telemetry.enabled("x")
    telemetry.detach("other")
    assert not telemetry.enabled("x")


def test_detach_while_a_name_is_being_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler detached while another thread resolves its event is not called later on."""
    heard: list[str] = []
    real = telemetry.list_handlers

    def interrupted(name: str | None = None) -> list[telemetry.HandlerInfo]:
        found = real(name)
        monkeypatch.undo()
        telemetry.detach("a")  # what another thread may do at this very moment
        return found

    telemetry.attach("a", "x", lambda name, *_: heard.append(name))
    telemetry.attach("b", "x", ignore)
    monkeypatch.setattr(_bus, "list_handlers", interrupted)
    telemetry.execute("x")
    heard.clear()
    telemetry.execute("x")
    assert heard == []


def test_made_up_names_do_not_fill_the_memory() -> None:
    """The route cache stays small however many names there are, and forgets no handler."""
    heard: list[str] = []
    telemetry.attach("a", "n.*", lambda name, *_: heard.append(name))
    for number in range(10_000):
        telemetry.execute(f"n.{number}")
    assert len(heard) == 10_000
    assert len(_bus._routes) < 10_000


def test_failing_handler_is_detached_from_all_its_events(heard: Heard) -> None:
    """A handler that raises is detached from all its events and the failure told once."""

    def fail(*_: object) -> None:
        raise KeyError("boom")

    telemetry.attach_many("bad", ["x", "y"], fail)
    for name in ("x", "x", "y"):
        telemetry.execute(name)
    assert [handler.id for handler in telemetry.list_handlers()] == ["heard"]
    failures = [each for each in heard if each[0] == telemetry.HANDLER_FAILURE]
    assert len(failures) == 1
    _, measurements, metadata = failures[0]
    assert set(measurements) == {"monotonic_time", "system_time"}
    assert metadata == {
        "handler_id": "bad",
        "event_name": "x",
        "kind": "KeyError",
        "reason": "'boom'",
    }


def test_other_handlers_still_hear_the_event(heard: Heard) -> None:
    """A failing handler does not keep an event from the others, nor from the caller's code."""
    late: list[str] = []
    telemetry.attach("bad", "x", lambda *_: 1 / 0)
    telemetry.attach("late", "x", lambda name, *_: late.append(name))
    telemetry.execute("x")
    assert late == ["x"]
    assert names(heard) == ["x", telemetry.HANDLER_FAILURE]


def test_handler_of_failures_that_fails_is_detached_too(heard: Heard) -> None:
    """A handler that fails over a failure is detached in turn, and that ends."""
    telemetry.attach("bad", "x", lambda *_: 1 / 0)
    telemetry.attach("worse", telemetry.HANDLER_FAILURE, lambda *_: 1 / 0)
    telemetry.execute("x")
    assert [handler.id for handler in telemetry.list_handlers()] == ["heard"]
    told = [meta["handler_id"] for name, _, meta in heard if name == telemetry.HANDLER_FAILURE]
    assert sorted(told) == ["bad", "worse"]


def test_failure_whose_text_fails(heard: Heard) -> None:
    """An exception that cannot even be printed does not get out of a handler."""

    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail(*_: object) -> None:
        raise UnprintableError

    telemetry.attach("bad", "x", fail)
    telemetry.execute("x")
    assert heard[-1][2]["kind"] == "UnprintableError"
    assert "RuntimeError" in heard[-1][2]["reason"]


def test_handler_that_detaches_itself_and_fails_is_no_failure(heard: Heard) -> None:
    """A handler that was detached while it ran is not reported as failed."""

    def leave(*_: object) -> None:
        telemetry.detach("a")
        raise ValueError

    telemetry.attach("a", "x", leave)
    telemetry.execute("x")
    assert names(heard) == ["x"]


def test_what_is_no_mapping_is_no_failure_of_a_handler(heard: Heard) -> None:
    """Measurements that cannot be true or false, and a name without a text, reach the handler."""

    class Unprintable:
        def __str__(self) -> str:
            raise ValueError

    seen: list[object] = []
    telemetry.detach("heard")
    telemetry.attach("a", "*", lambda name, numbers, *_: seen.append((name, numbers)))
    numbers, name = np.arange(3), Unprintable()
    telemetry.execute("x", numbers)  # type: ignore[arg-type]
    telemetry.execute(name)  # type: ignore[arg-type]
    assert seen == [("x", numbers), (name, {})]
    assert [handler.id for handler in telemetry.list_handlers()] == ["a"]
