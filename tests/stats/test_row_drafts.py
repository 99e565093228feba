"""Drafts of rows: which metrics have one, about which cases, and what stands in its way."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.change import DIFFERENCE, RATIO
from pytest_crucible.stats.comparison import ADDED, INCONCLUSIVE, LACKING, NO_INTERVAL, REMOVED
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.family import OTHER, SUCCESS
from pytest_crucible.stats.row_drafts import Draft, draft_rows, numbers_of
from pytest_crucible.stats.subject import Subject
from tests.made_events import event
from tests.stats.judging_support import compared, described, latency, passing, scoring
from tests.stats.support import cases, events, group, lognormal


def drafted(base: Group, cand: Group, options: Options | None = None) -> dict[str, Draft]:
    found = draft_rows(Subject(base, {}), Subject(cand, {}), options)
    return {draft.row.metric: draft for draft in found}


# --- which rows there are ---------------------------------------------------------------------


def test_who_decides_comes_first() -> None:
    """The rows that decide, each with what it adds to its family, then those that are shown."""
    both = group(events(cases(8), {"score": lognormal(8, 1)}, latency_ms=lognormal(8, 1)))
    found = drafted(both, both)
    assert list(found) == ["success_rate", "latency", "score.mean", "latency.p95"]
    assert [draft.row.primary for draft in found.values()] == [True, True, False, False]
    assert [draft.decision.kind for draft in found.values()] == [SUCCESS, OTHER, OTHER, OTHER]
    named = drafted(both, both, Options(primary=("score",)))
    assert [name for name, draft in named.items() if draft.row.primary] == [
        "success_rate", "score.mean",
    ]  # fmt: skip


def test_what_one_side_lacks_is_named() -> None:
    """ADDED or REMOVED, whatever kind it is; neither decides anything."""
    base = scoring(lognormal(8, 1), name="old")
    cand = group(events(cases(8), {"new": [True] * 8}, latency_ms=lognormal(8, 1)))
    found = {name: draft.row for name, draft in drafted(base, cand).items()}
    assert {name: row.verdict for name, row in found.items() if name != "success_rate"} == {
        "old.mean": REMOVED, "new.mean": ADDED, "latency": ADDED, "latency.p95": ADDED,
    }  # fmt: skip
    assert found["new.mean"].baseline is None
    assert found["old.mean"].candidate is None
    assert found["old.mean"].reason == "the candidate has no such metric"
    assert all(draft.samples is None for draft in drafted(base, cand).values() if draft.row.reason)


def test_an_arm_without_anything() -> None:
    """Against an empty arm everything is REMOVED; two empty arms have nothing to compare."""
    empty = Group("exp", "x")
    found = drafted(latency(5), empty)
    assert {draft.row.verdict for draft in found.values()} == {REMOVED}
    assert drafted(empty, empty) == {}


def test_a_number_that_a_plugin_gave_has_no_interval() -> None:
    """Its row shows both sides and the difference, and decides nothing."""
    base, cand = (
        Subject(passing("pp"), numbers)
        for numbers in ({"effort": 3.0, "gone": 1.0}, {"effort": 5.0, "new": 1.0})
    )
    rows = {draft.row.metric: draft.row for draft in draft_rows(base, cand)}
    effort = rows["effort"]
    assert (effort.verdict, effort.change, effort.scale) == (NO_INTERVAL, 2.0, DIFFERENCE)
    assert (rows["gone"].verdict, rows["new"].verdict) == (REMOVED, ADDED)


def test_a_rate_on_one_side_only() -> None:
    """Right-or-wrong before, shades after: the margin is not one of shares."""
    base, cand = scoring([0.0, 1.0] * 10), scoring(lognormal(20, 1))
    assert drafted(base, cand)["score.mean"].row.absolute is False
    assert drafted(base, base)["score.mean"].row.absolute is True


@pytest.mark.parametrize(
    ("metric", "scale", "width"),
    [
        (Metric("score", range=(0, 1)), DIFFERENCE, 1),
        (Metric("score", range=(-2, 2)), DIFFERENCE, 4),
        (Metric("score", range=(0, None)), RATIO, None),
    ],
)
def test_a_range_of_two_ends_is_the_measure_of_the_margin(
    metric: Metric, scale: str, width: float | None
) -> None:
    """Else the change is a ratio, and the margin relative."""
    side = described(scoring([0.2, 0.5, 0.4]), metric)
    found = {draft.row.metric: draft.row for draft in draft_rows(side, side)}["score.mean"]
    assert (found.scale, found.width) == (scale, width)


# --- about which cases ------------------------------------------------------------------------


@pytest.mark.parametrize(("common", "n"), [(20, (20,)), (10, (10,)), (3, (3,)), (0, (20, 20))])
def test_rows_are_about_the_cases_that_match(common: int, n: tuple[int, ...]) -> None:
    """Matched cases are compared pair by pair; if there are none, all cases are compared."""
    base, cand = (
        {f"{'both' if i < common else mark}{i}": "p" for i in range(20)} for mark in ("a", "b")
    )
    found = compared(
        group(events(base, latency_ms=lognormal(20, 1))),
        group(events(cand, latency_ms=lognormal(20, 2))),
        Options(margin=0.5),
    )
    assert found["success_rate"].n == n
    samples = drafted(group(events(base)), group(events(cand)))["success_rate"].samples
    assert samples is not None
    assert [each.n for each in samples] == [n[0], n[-1]]


def test_a_number_of_other_cases_is_not_compared() -> None:
    """The arms share cases, but the number was recorded for other ones on each side."""
    base = group(events({"a": "p", "b": "p"}, {"score": [0.1]}))
    cand = group(events({"b": "p", "a": "p"}, {"score": [0.2]}))
    row = drafted(base, cand)["score.mean"].row
    assert (row.verdict, row.open, row.reason) == (
        INCONCLUSIVE, LACKING, "no case has it on both sides",
    )  # fmt: skip
    assert (row.baseline, row.candidate) == (None, None)


def test_numbers_of_some_cases() -> None:
    """What tells of cases that only one side has: every compared number, without percentiles."""
    values = [10.0, 20.0, 40.0]
    of = Subject(group(events(cases(3), {"score": [0.5, 0.7, 0.9]}, latency_ms=values)), {})
    found = numbers_of(of, of, ["c1", "c2"])
    assert found["success_rate"] == (1.0, "%")
    assert found["score.mean"][0] == pytest.approx(0.8)
    assert found["latency"] == (30.0, "ms")
    assert "latency.p95" not in found


# --- what stands in the way -------------------------------------------------------------------


def test_missing_values_are_counted() -> None:
    """A number that some trials lack: the side that dropped the bad ones would look better."""
    whole = group(events(cases(20), {"score": lognormal(20, 1)}))
    some = group(events(cases(20), {"score": lognormal(12, 1)}))
    assert drafted(whole, whole)["score.mean"].lacking == ""
    assert (
        "missing in 8 of 20 trials of the candidate" in drafted(whole, some)["score.mean"].lacking
    )
    assert "of the baseline" in drafted(some, whole)["score.mean"].lacking
    row = compared(whole, some)["score.mean"]
    assert (row.verdict, row.open) == (INCONCLUSIVE, LACKING)
    assert row.low is not None  # shown, but it decides nothing


def test_values_outside_the_range() -> None:
    """The data contradict the declaration."""
    score = Metric("score", better="higher", range=(0, 1))
    base = described(scoring([0.5] * 30), score)
    cand = described(scoring([*[0.9] * 28, 1.5, -1]), score)
    (found,) = (each for each in draft_rows(base, cand) if each.row.metric == "score.mean")
    assert found.lacking == "candidate: 2 of 30 values of score outside its range 0 to 1: -1 in c29"


def test_values_that_are_no_numbers() -> None:
    """Text and NaN among the numbers: left out, and said so; text alone is no metric."""
    values = [*lognormal(20, 1), "text", math.nan]
    same = group(events(cases(22), {"score": values}))
    assert drafted(same, same)["score.mean"].lacking == (
        "4 values were not finite numbers and were left out"
    )
    words = group(events(cases(4), {"score": ["a"] * 4}))
    assert "score.mean" not in drafted(words, words)


def test_a_side_without_a_value_says_why() -> None:
    """A formula that has none: neither added nor removed."""
    ratio = Metric("cost_per_pass", formula="cost / passed", unit="$")
    priced = group([*events(cases(4), {"passed": [1.0] * 4, "cost": [1.0] * 4}), event()])
    broken = group(events(cases(4), {"passed": [0.0] * 4, "cost": [1.0] * 4}))
    sides = described(priced, ratio), described(broken, ratio)
    rows = {draft.row.metric: draft.row for draft in draft_rows(*sides)}
    row = rows["cost_per_pass"]
    assert (row.verdict, row.open) == (INCONCLUSIVE, LACKING)
    assert row.reason is not None
    assert row.reason.startswith("the candidate has no value: ")


def test_options_reach_the_rows() -> None:
    """Margin, direction and unit stand in each of them."""
    both = latency(5)
    options = Options(margin=0.1, margins={"latency": 0.2}, better={"latency": "higher"})
    rows = {name: draft.row for name, draft in drafted(both, both, options).items()}
    assert {name: row.margin for name, row in rows.items()} == {
        "success_rate": 0.1, "latency": 0.2, "latency.p95": 0.2,
    }  # fmt: skip
    assert (rows["latency"].better, rows["latency"].unit) == ("higher", "ms")
    assert rows["success_rate"] == replace(rows["success_rate"], better="higher", unit="%")
