"""Windows: metrics over time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_crucible as crucible
from pytest_crucible import telemetry
from tests.made_events import MS, T0_US, event
from tests.queries.support import view


def test_windows_tell_count_latency_cost_and_outcomes() -> None:
    """Half-open windows from the first event on; None where nothing is known."""
    events = [
        event("a.stop", {"duration": 10 * MS, "cost": 0.5}, at_us=0),
        event("a.stop", {"duration": 30 * MS}, at_us=999_999),
        event("a.exception", at_us=1_000_000),
    ]
    first, second = view(events).windowed_metrics(timedelta(seconds=1))
    assert (first.start_us, first.end_us) == (T0_US, T0_US + 1_000_000)
    assert (first.count, first.mean_latency_ms, first.total_cost_usd) == (2, 20, 0.5)
    assert (first.successes, first.failures) == (2, 0)
    assert (second.count, second.mean_latency_ms, second.total_cost_usd) == (1, None, None)
    assert (second.successes, second.failures) == (0, 1)
    assert view([]).windowed_metrics(1) == []


def test_windows_count_a_whole_and_its_parts_once() -> None:
    """As in all metrics, what the parts cost is not added to what the whole tells."""
    with crucible.experiment("exp") as handle, handle.span("ensemble.prediction", cost=0.3):
        for _ in range(3):
            with telemetry.span("req_llm.request", cost=0.1):
                pass
    (window,) = handle.events.windowed_metrics(3600)
    assert (window.count, window.successes) == (8, handle.metrics().reliability.total)
    assert window.total_cost_usd == pytest.approx(0.3)
    crucible.cleanup(handle)


@given(
    st.lists(st.integers(0, 200), max_size=15),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_windows_are_those_of_a_plain_loop(times: list[int], size: int, step: int) -> None:
    """All windows that hold an event, and no other, whatever their size and step."""
    events = [event("a.stop", at_us=at) for at in times]
    expected = []
    if times:
        for start in range(min(times), max(times) + 1, step):
            count = sum(start <= at < start + size for at in times)
            if count:
                expected.append((T0_US + start, T0_US + start + size, count))
    found = view(events).windowed_metrics(size / 1e6, step / 1e6)
    assert [(each.start_us, each.end_us, each.count) for each in found] == expected


def test_silence_of_years_costs_no_windows() -> None:
    """A second event after a century is found without walking there."""
    century_us = 100 * 365 * 86400 * 1_000_000
    events = [event("a.stop"), event("a.stop", at_us=century_us)]
    assert [each.count for each in view(events).windowed_metrics(1e-6)] == [1, 1]
