"""Slices: parts of the cases, with intervals corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from pytest_crucible.analysis.slices import MOST, Sliced, Slices, draft_slices, slices_of
from pytest_crucible.metrics.catalog import Catalog
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.comparison import INCONCLUSIVE, REGRESSED, UNSEEN, Comparison
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.estimates import ALPHA, estimate
from pytest_crucible.stats.judged_rows import RowLevels
from tests.stats.support import events, group

Values = Mapping[str, Sequence[str]]


def sliced(slices: Values, outcomes: str = "p", scores: Sequence[float] | None = None) -> Group:
    """A group with one case per key, which is in the slices that its value names."""
    numbers = None if scores is None else {"score": scores}
    found = group(events(dict.fromkeys(slices, outcomes), numbers))
    for trial in found.trials:
        trial.slices = {"lang": tuple(slices[trial.case])} if slices[trial.case] else {}
    return found


def of(found: Group, claimed: Sequence[str] = ()) -> Slices:
    return slices_of(Sliced({"default": found}, Catalog(), claimed), "lang")


def languages(*counts: int) -> dict[str, list[str]]:
    """So many cases of each language: ``l0``, ``l1``, …"""
    return {f"c{n}-{i}": [f"l{n}"] for n, count in enumerate(counts) for i in range(count)}


def test_the_largest_come_first_and_the_rest_is_counted() -> None:
    """Cases without a value are last, whatever their number."""
    found = of(sliced({**languages(2, 5, 3), **{f"n{i}": [] for i in range(9)}}))
    assert [(each.value, len(each.cases)) for each in found.slices] == [
        ("l1", 5), ("l2", 3), ("l0", 2), ("(none)", 9),
    ]  # fmt: skip
    many = of(sliced(languages(*[1] * (MOST + 7))))
    assert (len(many.slices), many.left_out) == (MOST, 7)


def test_a_case_may_be_in_several() -> None:
    """Tags: each slice has all of its cases."""
    found = of(sliced({"a": ["x", "y"], "b": ["y"], "c": ["x", "y"]}))
    assert {each.value: each.cases for each in found.slices} == {
        "y": ("a", "b", "c"), "x": ("a", "c"),
    }  # fmt: skip


def test_intervals_are_corrected_for_the_number_of_slices() -> None:
    """Each is that of its cases at a level of alpha by the number of slices."""
    scores = [number / 40 for number in range(40)]
    found = of(sliced(languages(10, 10, 20), scores=scores))
    assert [metric.path for metric in found.metrics] == ["success_rate", "score.mean"]
    for each in found.slices:
        part = each.subjects["default"].group
        for metric in found.metrics:
            expected = estimate(part, metric, {}, ALPHA / 3)
            got = each.estimates["default"][metric.path]
            assert (got.value, got.low, got.high) == (expected.value, expected.low, expected.high)
            plain = estimate(part, metric, {}, ALPHA)
            assert plain.low is not None
            assert got.low is not None
            assert got.low < plain.low


def test_one_slice_of_everything_is_the_whole() -> None:
    """Nothing to correct."""
    found = sliced(languages(12), scores=[number / 12 for number in range(12)])
    (only,) = of(found).slices
    for metric in of(found).metrics:
        whole, part = estimate(found, metric, {}), only.estimates["default"][metric.path]
        assert (whole.value, whole.low, whole.high) == (part.value, part.low, part.high)


def test_claimed_metrics_come_first() -> None:
    """Before the success rate; a claim about a total is no row."""
    found = sliced(languages(6, 6), scores=[0.5] * 12)
    paths = [m.path for m in of(found, ["score.p50", "cost.total"]).metrics]
    assert paths[:2] == ["score.p50", "success_rate"]
    assert "cost.total" not in paths


def test_slices_as_a_dictionary() -> None:
    """Values, counts and numbers with their intervals."""
    data = of(sliced(languages(6, 7))).to_dict()
    assert (data["by"], data["left_out"]) == ("lang", 0)
    first = data["slices"][0]
    assert (first["value"], first["cases"]) == ("l1", 7)
    rate = first["conditions"]["default"]["success_rate"]
    assert (rate["value"], rate["n"]) == (1.0, 7)
    assert 0 < rate["low"] < rate["high"] == 1.0


def compared(base: Slices, cand: Slices) -> tuple[Comparison, ...]:
    """The rows of all slices, beside a whole with one row."""
    drafts = draft_slices(base, cand, "default", "default", Options())
    return drafts.judged(RowLevels.of(()))


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_slices_are_compared_one_by_one(factor: float) -> None:
    """A slice that got worse is told; others are not, and those of one side have no row."""
    base = of(sliced(languages(40, 40, 40), scores=[1 + n / 400 for n in range(120)]))
    scores = [(factor if n < 40 else 1) * (1 + n / 400) for n in range(120)]
    found = languages(40, 40, 40)
    renamed = {case: ["new"] if value == ["l2"] else value for case, value in found.items()}
    cand = of(sliced(renamed, scores=scores))
    rows = {row.metric: row for row in compared(base, cand)}
    assert {name for name in rows if "score" in name} == {"l0: score.mean", "l1: score.mean"}
    alike = rows["l1: score.mean"]
    assert (alike.verdict, alike.open, alike.alike) == (INCONCLUSIVE, UNSEEN, 40)
    assert rows["l0: score.mean"].verdict == (INCONCLUSIVE if factor == 1 else REGRESSED)
    assert not any(row.primary for row in rows.values())
    assert {row.level for row in rows.values()} == {1 - 0.05 / 2}


def test_chance_regresses_no_slice() -> None:
    """P-values are corrected for slices and metrics: the best of many slices proves nothing."""
    import numpy as np

    rng = np.random.default_rng(5)
    false = 0
    for _ in range(20):
        before, after = (
            of(sliced(languages(*[12] * 6), scores=rng.normal(1, 0.3, 72).tolist())) for _ in "ab"
        )
        rows = compared(before, after)
        false += any(row.verdict == REGRESSED for row in rows)
    assert false <= 3
