"""Sums: what is added up, overall and by event name, in any number of parts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.events.enrichment import Enriched
from pytest_crucible.metrics.streaming_sums import Row, Sums
from pytest_crucible.metrics.values import Metrics, Recording
from tests.made_events import T0_US, recorded, trial_scope

EXACT, ERROR = 1000, 0.01


def row(name: str = "req_llm.request.stop", counts: bool = True, **more: Any) -> Row:
    """A call that took 10 ms, cost $0.25 and had 3 tokens in and 4 out."""
    told = Enriched()
    told.latency_ms, told.cost_usd, told.success = 10.0, 0.25, more.pop("success", True)
    told.input_tokens, told.output_tokens, told.total_tokens = 3, 4, 7
    return Row(
        name, more.pop("weight", None), T0_US + more.pop("at_us", 0), told, counts, counts, counts,
        more.pop("cancelled", False),
    )  # fmt: skip


def sums(*rows: Row) -> Sums:
    made = Sums(EXACT, ERROR)
    for each in rows:
        made.add(each)
    return made


def metrics(made: Sums) -> Metrics:
    return made.metrics("exp", "default")


def test_nothing_adds_up_to_nothing() -> None:
    """No number is 0 that nobody has told."""
    found = metrics(Sums(EXACT, ERROR))
    assert found == Metrics(experiment="exp", condition="default")
    assert found.summary == Recording()


def test_what_counts_counts_overall_and_by_name() -> None:
    """Latency, cost, tokens and success, and when the first and the last were."""
    made = sums(row(), row(at_us=1_500_000, success=False), row("altar.tool.stop"))
    found = metrics(made)
    assert (found.latency.count, found.latency.mean, found.cost.total) == (3, 10, 0.75)
    assert (found.tokens.total_prompt, found.tokens.total_completion, found.tokens.total) == (
        9, 12, 21,
    )  # fmt: skip
    assert (found.reliability.successful, found.reliability.failed) == (2, 1)
    assert found.summary.total_events == 3
    assert found.summary.kept_events is None
    assert found.summary.duration_s == 1.5
    assert found.summary.event_types == {"altar.tool.stop": 1, "req_llm.request.stop": 2}


def test_what_does_not_count_is_of_its_name_only() -> None:
    """A part of a whole is an event, has a name, and adds nothing to the overall numbers."""
    found = metrics(sums(row(), row("part.stop", counts=False)))
    assert (found.latency.count, found.cost.total, found.reliability.total) == (1, 0.25, 1)
    assert found.summary.total_events == 2


def test_recorded_numbers_are_described_by_name() -> None:
    """Booleans are 0 and 1; a name of which nothing was a number has no values."""
    made = Sums(EXACT, ERROR)
    for value in (1, 0.5, True, "text", float("nan")):
        made.add_recorded(recorded({"score": value, "note": "text"}, trial_scope()))
    found = metrics(made).recorded
    assert (found["score"].count, found["score"].total) == (3, 2.5)
    assert found["note"].count == 0


def test_a_sample_counts_for_the_whole() -> None:
    """Everything is weighed; how many were kept is told beside it."""
    found = metrics(sums(row(weight=4.0), row(weight=1.0, cancelled=True)))
    assert (found.summary.total_events, found.summary.kept_events) == (5, 2)
    assert (found.cost.total, found.latency.count, found.reliability.cancelled) == (1.25, 5, 1)


rows = st.builds(
    row,
    st.sampled_from(["a.stop", "b.stop"]),
    st.booleans(),
    success=st.sampled_from([True, False, None]),
    cancelled=st.booleans(),
    weight=st.sampled_from([None, 1.0, 2.0]),
    at_us=st.integers(0, 10**7),
)


@given(st.lists(rows, max_size=20), st.data())
@settings(max_examples=60)
def test_parts_add_up_to_the_whole(told: list[Row], data: st.DataObject) -> None:
    """However they were split, in any order, and also by way of a file."""
    whole = metrics(sums(*told))
    parts = [Sums(EXACT, ERROR) for _ in range(3)]
    for each in told:
        parts[data.draw(st.integers(0, 2))].add(each)
    merged, read = Sums(EXACT, ERROR), Sums(EXACT, ERROR)
    for part in reversed(parts):
        merged.merge(part)
        read.merge_dict(json.loads(json.dumps(part.to_dict())))
    for found in (metrics(merged), metrics(read)):
        assert found.summary == whole.summary
        assert found.reliability == whole.reliability
        assert found.cost.total == pytest.approx(whole.cost.total)
        assert found.latency.count == whole.latency.count
        assert found.tokens.total == whole.tokens.total
