"""The course of an experiment: its states, how long it was in each, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_crucible as crucible
from pytest_crucible import _clock, telemetry
from tests.made_events import set_clock

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Clock:
    """Both clocks, which stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 0

    def wall_ns(self) -> int:
        return int(NOON.timestamp()) * 1_000_000_000 + self.now

    def monotonic_ns(self) -> int:
        return self.now


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)
    assert not telemetry.enabled("anything")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    set_clock(monkeypatch, clock.wall_ns, clock.monotonic_ns)
    return clock


def seconds(clock: Clock, number: float) -> None:
    clock.now += round(number * 1e9)


def test_course_is_told_in_moments_and_seconds(clock: Clock) -> None:
    """Wall-clock, active and paused time add up, while it runs and after its end."""
    handle = crucible.start("exp")
    seconds(clock, 10)
    crucible.pause(handle.id)
    seconds(clock, 3)
    assert (handle.duration_s, handle.active_s, handle.paused_s) == (13, 10, 3)
    assert handle.paused_at == NOON + timedelta(seconds=10)
    crucible.resume(handle)
    assert handle.paused_at is None
    assert handle.stopped_at is None
    seconds(clock, 0.5)
    crucible.stop(handle, "budget used up")
    seconds(clock, 100)
    assert (handle.duration_s, handle.active_s, handle.paused_s) == (13.5, 10.5, 3)
    assert (handle.started_at, handle.stopped_at) == (NOON, NOON + timedelta(seconds=13.5))
    assert (handle.pause_count, handle.reason) == (1, "budget used up")


def test_stop_ends_a_pause(clock: Clock) -> None:
    """An experiment that is stopped while paused was paused up to its end, not longer."""
    handle = crucible.start("exp")
    seconds(clock, 1)
    handle.pause()
    seconds(clock, 2)
    crucible.stop(handle)
    seconds(clock, 4)
    assert (handle.duration_s, handle.active_s, handle.paused_s) == (3, 1, 2)
    assert handle.paused_at is None


STEPS: dict[str, Callable[[crucible.Experiment], object]] = {
    "pause": crucible.pause,
    "resume": crucible.resume,
    "stop": crucible.stop,
}
ALLOWED = {
    ("running", "pause"): "paused",
    ("paused", "resume"): "running",
    ("running", "stop"): "stopped",
    ("paused", "stop"): "stopped",
}


@given(st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 10**12)), max_size=12))
def test_every_course_is_right(steps: list[tuple[str, int]]) -> None:
    """In any order of steps, the allowed ones happen, the others are errors that change nothing."""
    clock, patch = Clock(), pytest.MonkeyPatch()
    patch.setattr(_clock, "monotonic_ns", clock.monotonic_ns)
    handle = crucible.start("exp")
    state, spent, pauses, heard = "running", {"running": 0, "paused": 0, "stopped": 0}, 0, 0
    try:
        for step, wait in steps:
            handle.execute("x")
            heard += state == "running"
            clock.now += wait
            spent[state] += wait
            if (state, step) in ALLOWED:
                STEPS[step](handle)
                pauses += step == "pause"
                state = ALLOWED[state, step]
            else:
                with pytest.raises(crucible.LifecycleError, match="'exp'"):
                    STEPS[step](handle)
            assert (handle.status, handle.is_paused) == (state, state == "paused")
        assert handle.active_s == spent["running"] / 1e9
        assert handle.paused_s == spent["paused"] / 1e9
        assert handle.duration_s == (spent["running"] + spent["paused"]) / 1e9
        assert (handle.pause_count, len(handle.events)) == (pauses, heard)
    finally:
        patch.undo()
        crucible.cleanup(handle)


def test_paused_block_records_nothing_and_resumes_after_an_exception() -> None:
    """Whatever happens in the block, the experiment goes on after it."""
    with crucible.experiment("exp") as handle:
        telemetry.execute("a")

        def fail() -> None:
            with crucible.paused(handle.id) as same:
                assert same is handle
                assert crucible.is_paused(handle)
                telemetry.execute("b")
                raise KeyError("boom")

        with pytest.raises(KeyError, match="boom"):
            fail()
        telemetry.execute("c")
        assert not crucible.is_paused(handle.id)
    assert [each.name for each in handle.events] == ["a", "c"]


def test_paused_block_may_end_the_pause_or_the_experiment_itself() -> None:
    """Resumed or stopped within, the end of the block has nothing left to do."""
    handle = crucible.start("exp")
    with handle.paused():
        handle.resume()
    assert handle.status == "running"
    with handle.paused():
        crucible.stop(handle)
    assert (handle.status, handle.pause_count) == ("stopped", 2)


def test_experiment_outlives_an_exception_in_its_block() -> None:
    """Its record, its status and the exception's type stay; the text, which may quote, does not."""

    def run() -> None:
        with crucible.experiment("exp"):
            telemetry.execute("x")
            raise ValueError("the answer was 42")

    with pytest.raises(ValueError, match="42"):
        run()
    (handle,) = crucible.list_experiments("stopped")
    assert (handle.reason, [each.name for each in handle.events]) == ("ValueError", ["x"])
    assert handle.metrics().summary.total_events == 1


def test_experiment_that_ends_well_has_no_reason() -> None:
    """Only what went wrong, or what `stop` was told, is a reason."""
    with crucible.experiment("exp") as handle:
        pass
    assert handle.reason is None


def test_what_does_not_exist_is_not_paused() -> None:
    """Asking costs no exception; acting on it does."""
    handle = crucible.start("exp")
    handle.pause()
    crucible.cleanup(handle)
    assert not crucible.is_paused(handle)
    for step in (crucible.pause, crucible.resume, crucible.archive):
        with pytest.raises(LookupError, match="no experiment with the id"):
            step(handle)


def test_unknown_status_is_an_error() -> None:
    """A misspelt status does not read as 'there are none'."""
    with pytest.raises(crucible.DefinitionError, match=r"'done' is not one of running, paused"):
        crucible.list_experiments("done")  # type: ignore[arg-type]


@pytest.mark.parametrize("keep_data", [True, False])
def test_cleanup_keeps_data_only_if_asked(keep_data: bool) -> None:
    """Either way its id means nothing any more; the handle has its events, or none."""
    with crucible.experiment("exp") as handle:
        for i in range(600):  # more than two sealed chunks
            telemetry.execute(f"e{i}")
    crucible.cleanup(handle, keep_data=keep_data)
    assert crucible.list_experiments() == []
    assert len(handle.events) == (600 if keep_data else 0)
    assert handle.metrics().summary.total_events == (600 if keep_data else 0)
