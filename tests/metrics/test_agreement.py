"""Agreement of labels: the coefficients, and which labels belong together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.event import Event
from pytest_crucible.metrics.agreement import MOST_LABELS, Ratings, UnmatchedError, ratings_of
from pytest_crucible.metrics.formula import AGREEMENTS, ALPHA, ALPHA_INTERVAL, ALPHA_ORDINAL, KAPPA
from pytest_crucible.metrics.observations import Group, observe
from tests.made_events import recorded, trial_scope

NAN = math.nan


def ratings(kind: str, *raters: Sequence[float], cases: Sequence[int] | None = None) -> Ratings:
    values = np.array(raters, dtype=np.float64).T
    return Ratings.of(kind, values, np.arange(len(values)) if cases is None else np.array(cases))


# --- the coefficients -------------------------------------------------------------------------

labels = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=3, max_size=14
)


def by_definition(kind: str, units: Sequence[Sequence[float]]) -> float:
    """Alpha as Krippendorff (2011) defines it, over all pairs of values."""
    units = [[v for v in unit if not math.isnan(v)] for unit in units]
    units = [unit for unit in units if len(unit) > 1]
    values = sorted(v for unit in units for v in unit)
    n = len(values)
    if not n:
        return math.nan

    def apart(a: float, b: float) -> float:
        if kind == ALPHA:
            return float(a != b)
        if kind == ALPHA_INTERVAL:
            return (a - b) ** 2
        low, high = min(a, b), max(a, b)
        between = sum(low <= v <= high for v in values)
        return (between - (values.count(low) + values.count(high)) / 2) ** 2 if a != b else 0.0

    seen = sum(
        apart(a, b) / (len(unit) - 1) for unit in units for a in unit for b in unit
    ) / n  # fmt: skip
    chance = sum(apart(a, b) for a in values for b in values) / n / (n - 1)
    return math.nan if not chance else 1 - seen / chance


@given(labels, st.sampled_from([ALPHA, ALPHA_ORDINAL, ALPHA_INTERVAL]), st.integers(0, 99))
def test_alpha_is_its_definition(rows: list[tuple[int, ...]], kind: str, seed: int) -> None:
    """Observed over expected disagreement of all pairs, with labels missing; and without a case."""
    values = np.array(rows, dtype=np.float64)
    values[np.random.default_rng(seed).random(values.shape) < 0.2] = NAN
    cases = np.arange(len(values)) // 2
    found = Ratings.of(kind, values, cases)
    if found.problem() is not None:
        return
    expected = by_definition(kind, values.tolist())
    assert found.value() == pytest.approx(expected, abs=1e-9, nan_ok=True)
    for number, without in zip(found.numbers, found.without(), strict=True):
        rest = by_definition(kind, values[cases != number].tolist())
        assert without == pytest.approx(rest, abs=1e-9, nan_ok=True)


@given(labels)
def test_kappa_is_its_definition(rows: list[tuple[int, ...]]) -> None:
    """Agreement beyond that of independent raters with the same shares; and without a case."""
    sklearn = pytest.importorskip("sklearn.metrics")
    first, second = [row[0] for row in rows], [row[1] for row in rows]
    found = ratings(KAPPA, first, second)
    if found.problem() is not None or math.isnan(found.value()):
        assert len({*first}) == len({*second}) == 1
        return
    assert found.value() == pytest.approx(sklearn.cohen_kappa_score(first, second), abs=1e-12)
    for number, without in enumerate(found.without()):
        rest = [np.delete(side, number) for side in (first, second)]
        if len(np.unique(np.concatenate(rest))) > 1:
            expected = sklearn.cohen_kappa_score(*rest)
            assert without == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("kind", AGREEMENTS)
def test_complete_agreement_is_one(kind: str) -> None:
    """Chance would disagree; complete disagreement of two is −1 or a little more."""
    assert ratings(kind, [0, 1, 0, 1], [0, 1, 0, 1]).value() == 1
    assert -1 <= ratings(kind, [0, 1, 0, 1], [1, 0, 1, 0]).value() < -0.7


@pytest.mark.parametrize(
    ("kind", "expected"), [(KAPPA, 0.5), (ALPHA, 0.5), (ALPHA_INTERVAL, 0.5), (ALPHA_ORDINAL, 0.5)]
)
def test_chance_is_half_for_two_equal_labels(kind: str, expected: float) -> None:
    """The disagreement of chance, as a share of the largest."""
    assert ratings(kind, [0, 1, 0, 1], [0, 1, 1, 0]).chance() == pytest.approx(expected)


def test_trials_of_a_case_are_left_out_together() -> None:
    """Leaving out a case takes all its units; equal cases are worked out once."""
    found = ratings(KAPPA, [0, 1, 1, 0, 1, 1], [0, 1, 0, 0, 1, 0], cases=[5, 5, 7, 9, 9, 8])
    assert found.numbers.tolist() == [5, 7, 8, 9]
    rest = ratings(KAPPA, [1, 0, 1, 1], [0, 0, 1, 0])
    assert found.without()[0] == pytest.approx(rest.value())
    assert found.parts.different == 2


def test_cases_that_could_have_been() -> None:
    """One per label on which all agree, as large as the usual case; of sizes one disagreement."""
    two = ratings(KAPPA, [0, 1, 1, 0], [0, 1, 0, 0], cases=[1, 1, 2, 2]).imagined()
    assert two.codes.tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert two.cases.tolist() == [0, 0, 1, 1]
    sized = ratings(ALPHA_INTERVAL, [1, 2, 3, 4], [1, 2, 3, 5], [NAN, 2, 3, 4]).imagined()
    assert sized.codes[-1].tolist() == [1, 3, 1]


@pytest.mark.parametrize(
    ("kind", "raters", "problem"),
    [
        (KAPPA, ([1, NAN], [NAN, 1]), "no unit has two labels"),
        (ALPHA, ([1, NAN], [NAN, 1]), "no unit has two labels"),
        (KAPPA, ([1, 1], [1, 1]), "all labels are alike: agreement by chance is certain"),
        (ALPHA_INTERVAL, ([1, 1], [1, 1]), "all labels are alike"),
        (ALPHA_ORDINAL, (range(200), range(200)),
         f"200 different labels, up to {MOST_LABELS} count as categories"),
        (ALPHA_INTERVAL, (range(200), range(200)), None),
        (KAPPA, ([0, 1], [0, 1]), None),
    ],
)  # fmt: skip
def test_what_has_no_agreement(kind: str, raters: Any, problem: str | None) -> None:
    """In words."""
    found = ratings(kind, *raters).problem()
    assert found == problem or (problem and found and found.startswith(problem))


def test_raters_who_never_differ_in_anything_have_no_kappa() -> None:
    """NaN, not a division by zero."""
    found = ratings(KAPPA, [0, 0, 1], [0, 0, 1])
    assert math.isnan(found.without()[2])
    assert found.value() == 1
    for kind in (ALPHA, ALPHA_ORDINAL, ALPHA_INTERVAL):
        assert math.isnan(ratings(kind, [0, 0, 1], [0, 0, 1]).without()[2])


# --- from the record --------------------------------------------------------------------------


def group(*events: Event) -> Group:
    return observe(events).group("exp", "default")


def test_labels_of_a_trial_belong_together() -> None:
    """In whatever order they were recorded, and also one by one."""
    events = [
        recorded({"judge": 1}, trial_scope("a")),
        recorded({"human": 0}, trial_scope("b")),
        recorded({"judge": 1, "human": 1}, trial_scope("a", 2)),
        recorded({"human": 0}, trial_scope("a")),
        recorded({"judge": 0}, trial_scope("b")),
    ]
    found = ratings_of(KAPPA, ["judge", "human"], group(*events).recorded)
    assert found.codes.tolist() == [[1, 0], [1, 1], [0, 0]]
    assert found.cases.tolist() == [0, 0, 1]


def test_units_without_two_labels_are_left_out() -> None:
    """Humans label a part; alpha needs any two."""
    events = [
        recorded({"judge": 1, "human": 1}, trial_scope("a")),
        recorded({"judge": 0}, trial_scope("b")),
        recorded({"judge": 0, "other": 1}, trial_scope("c")),
    ]
    series = group(*events).recorded
    assert ratings_of(KAPPA, ["judge", "human"], series).codes.tolist() == [[0, 0]]
    found = ratings_of(ALPHA, ["judge", "human", "other"], series)
    assert found.codes.tolist() == [[1, 1, -1], [0, -1, 1]]


def test_several_labels_of_a_trial_belong_together_by_their_order() -> None:
    """If there are equally many; else nobody knows which."""
    pairs = [(1, 1), (0, 1), (0, 0)]
    events = [recorded({"judge": a, "human": b}, trial_scope("a")) for a, b in pairs]
    found = ratings_of(KAPPA, ["judge", "human"], group(*events).recorded)
    assert found.codes.tolist() == [[1, 1], [0, 1], [0, 0]]
    assert found.case_count == 1
    more = [*events, recorded({"judge": 1}, trial_scope("a"))]
    with pytest.raises(UnmatchedError, match="one trial recorded judge 4 and human 3 times"):
        ratings_of(KAPPA, ["judge", "human"], group(*more).recorded)
