"""Changes of any metric: interval and p say the same, stay within what is possible, and need data.

What each method gives is tested in its own file; here is what holds for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_crucible.metrics.catalog import PLAIN
from pytest_crucible.stats import metric_changes
from pytest_crucible.stats.change import DIFFERENCE, RATIO, Change
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.metric_changes import (
    ROW,
    Question,
    centre,
    change_of,
    floor_of,
    in_unit,
    ratio_scale,
)
from pytest_crucible.stats.samples import FORMULA, MEAN, QUANTILE, RATE, SAMPLED, Sample
from tests.stats.support import Floats

TYPICAL = Question(typical=True)
NAMES = tuple(f"c{i}" for i in range(400))
ALPHAS = st.sampled_from([0.2, 0.05, 0.01, 0.001])


def made(values: object, names: tuple[str, ...] = NAMES, kind: str = MEAN) -> Sample:
    """One value per case."""
    array = np.asarray(values, dtype=np.float64)
    return Sample(array, np.arange(array.size), names[: array.size], kind)


def scores(values: object, names: tuple[str, ...] = NAMES) -> Sample:
    """Values with a declared range from 0 to 1."""
    return replace(made(values, names), limits=(0.0, 1.0))


DRAWN = np.random.default_rng(3).lognormal(0, 0.3, 40)
OTHERS = tuple(f"d{i}" for i in range(400))


# --- any data ---------------------------------------------------------------------------------

SHAPES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "shares": lambda rng, n: (rng.random(n) < rng.random()).astype(np.float64),
    "scores": lambda rng, n: np.where(rng.random(n) < 0.7, 1.0, rng.beta(2, 2, n)),
    "grades": lambda rng, n: rng.integers(1, 6, n).astype(np.float64),
    "times": lambda rng, n: rng.lognormal(rng.normal(0, 0.3), 0.3, n),
    "whole times": lambda rng, n: rng.integers(1, 6, n).astype(np.float64),
    "percentiles": lambda rng, n: rng.lognormal(rng.normal(0, 0.2), 0.5, n),
    "costs": lambda rng, n: rng.exponential(rng.uniform(1, 2), n) * (rng.random(n) < 0.9),
    "signed": lambda rng, n: rng.normal(rng.normal(0, 0.3), 1, n),
    "formulas": lambda rng, n: 0.6 + rng.normal(0, 0.2, n),
}
ENDS = {"shares": (0.0, 1.0), "scores": (0.0, 1.0), "grades": (1.0, 5.0), "formulas": (0.0, 1.0)}
KINDS = {"shares": RATE, "percentiles": QUANTILE, "formulas": FORMULA}
TIMES = ("times", "whole times")


@st.composite
def sides(draw: st.DrawFn) -> tuple[str, Sample, Sample, Question]:
    """Two sides of any shape: paired or not, repeated or not, clustered or not, constant or not."""
    shape = draw(st.sampled_from(list(SHAPES)))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    fewest = 30 if shape == "percentiles" else 2
    n, m = draw(st.integers(fewest, 60)), draw(st.integers(fewest, 60))
    repeats = 1 if shape == "formulas" else draw(st.sampled_from([1, 1, 3]))
    paired = draw(st.booleans())
    many = draw(st.sampled_from([None, None, 7]))
    m = n if paired else m
    found = []
    for size, names in ((n, NAMES), (m, NAMES if paired else OTHERS)):
        cases = np.repeat(np.arange(size), repeats)
        values = SHAPES[shape](rng, cases.size)
        if draw(st.integers(0, 5)) == 0:
            values = np.full(cases.size, float(values[0]))
        found.append(
            Sample(
                values,
                cases,
                names[:size],
                KINDS.get(shape, MEAN),
                belongs=None if many is None else np.arange(size) % many,
                limits=ENDS.get(shape, (None, None)),
                counting=size if shape == "formulas" else 0,
            )
        )
    return shape, found[0], found[1], TYPICAL if shape in TIMES else ROW


def judged(before: Sample, after: Sample, alpha: float, question: Question) -> Change:
    """The change, if there is one; else hypothesis looks on."""
    try:
        change = change_of(before, after, alpha, question)
    except NoIntervalError:
        assume(False)
        raise
    return change


@given(sides(), ALPHAS)
def test_the_interval_excludes_no_change_just_if_p_is_small(
    drawn: tuple[str, Sample, Sample, Question], alpha: float
) -> None:
    """Two numbers of one row never disagree, whatever the method; and all of them are numbers."""
    _, before, after, question = drawn
    change = judged(before, after, alpha, question)
    assert 0 <= change.p <= 1
    rounding = 1e-12 * (1 + abs(change.estimate))
    assert change.low - rounding <= change.estimate <= change.high + rounding
    none = 1.0 if change.scale == RATIO else 0.0
    if math.isclose(change.p, alpha, rel_tol=1e-6):
        return  # a root is found to twelve digits
    assert (change.low > none or change.high < none) == (change.p <= alpha)


@given(sides(), ALPHAS)
def test_intervals_stay_within_what_is_possible(
    drawn: tuple[str, Sample, Sample, Question], alpha: float
) -> None:
    """No difference of shares beyond 100 points, no ratio below 0."""
    shape, before, after, question = drawn
    change = judged(before, after, alpha, question)
    if change.scale == RATIO:
        assert change.low >= 0
    elif shape in ENDS:
        low, high = ENDS[shape]
        assert low - high - 1e-12 <= change.low <= change.high <= high - low + 1e-12


@settings(max_examples=30)
@given(st.sampled_from([0.0, 0.25, 0.9, 1.5, 3.0]), st.booleans(), st.integers(2, 40), ALPHAS)
def test_intervals_of_multiples_stay_within_what_is_possible(
    factor: float, paired: bool, n: int, alpha: float
) -> None:
    """Candidate − factor × baseline lies between −factor and 1 for scores between 0 and 1."""
    rng = np.random.default_rng(n)
    for values in (rng.random(n), np.ones(n), np.zeros(n)):
        after = scores(values, NAMES if paired else OTHERS)
        change = change_of(scores(rng.random(n)), after, alpha, Question(factor=factor))
        assert -factor - 1e-12 <= change.low <= change.estimate + 1e-9
        assert change.estimate - 1e-9 <= change.high <= 1 + 1e-12


@settings(max_examples=50)
@given(sides(), st.integers(0, 99))
def test_the_order_of_values_does_not_matter(
    drawn: tuple[str, Sample, Sample, Question], seed: int
) -> None:
    """Workers finish in any order; a case is matched by its name."""
    shape, before, after, question = drawn
    change = judged(before, after, 0.05, question)
    order = np.random.default_rng(seed).permutation(after.n)
    assert after.cases is not None
    turned = replace(after, values=after.values[order], cases=after.cases[order])
    again = change_of(before, turned, 0.05, question)
    if shape == "percentiles":  # the bootstrap draws cases by their number, not by their place
        order = np.arange(after.n)
    assert [again.low, again.estimate, again.high, again.p] == pytest.approx(
        [change.low, change.estimate, change.high, change.p], rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("shape", ["shares", "scores", "grades", "times", "costs", "signed"])
@pytest.mark.parametrize("n", [2, 3, 5, 8, 12])
def test_no_data_reach_a_level_below_the_floor(n: int, shape: str, paired: bool) -> None:
    """A decision whose floor is above its level spends none of it: nothing can turn it red."""
    low, high = ENDS.get(shape, (0.001, 1000.0))
    jitter = np.zeros(n) if shape in ENDS else 1e-6 * np.arange(n)
    before = replace(made(low + jitter), limits=ENDS.get(shape, (None, None)))
    names = NAMES if paired else OTHERS
    after = replace(made(high + jitter, names), limits=before.limits)
    if shape == "signed":
        before = replace(before, values=before.values - 500)
    question = TYPICAL if shape == "times" else ROW
    floor = floor_of(before, after, question)
    for one, other in ((before, after), (after, before)):
        assert floor_of(one, other, question) == pytest.approx(floor)
        try:
            change = change_of(one, other, 1.98 * floor, question)
        except NoIntervalError:
            continue
        assert shape in ENDS  # all others refuse
        assert change.p > 1.98 * floor
        assert change_of(one, other, 2.02 * floor, question).p <= 2.02 * floor


@given(sides())
def test_the_scale_is_told_beforehand(drawn: tuple[str, Sample, Sample, Question]) -> None:
    """Margins are relative or in units, which depends on the data, but not on the outcome."""
    _, before, after, question = drawn
    change = judged(before, after, 0.05, question)
    assert (change.scale == RATIO) == ratio_scale(before, after, question)


@settings(max_examples=50)
@given(sides())
def test_a_higher_confidence_is_wider(drawn: tuple[str, Sample, Sample, Question]) -> None:
    """The interval for more decisions holds the one for fewer."""
    shape, before, after, question = drawn
    wide, narrow = (judged(before, after, alpha, question) for alpha in (0.01, 0.05))
    assume(wide.method == narrow.method and shape != "percentiles")  # other numbers of resamples
    assert wide.low <= narrow.low + 1e-9
    assert wide.high >= narrow.high - 1e-9


# --- which method -----------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("before", "question", "scale", "methods"),
    [
        (made(DRAWN), TYPICAL, RATIO, ("Wilcoxon", "Mann-Whitney")),
        (made(DRAWN), ROW, RATIO, ("paired ratio of means, Fieller", "ratio of means, Fieller")),
        (made(DRAWN - 1), ROW, DIFFERENCE, ("paired t", "Welch")),
        (made(DRAWN), Question(difference=True), DIFFERENCE, ("paired t", "Welch")),
        (made(DRAWN > 1, kind=RATE), ROW, DIFFERENCE, ("paired, Gaffke", "melded Gaffke")),
        (scores(DRAWN / 3), ROW, DIFFERENCE, ("paired, Gaffke", "melded Gaffke")),
    ],
)
def test_the_method_fits_the_metric(
    before: Sample, question: Question, scale: str, methods: tuple[str, str], paired: bool
) -> None:
    """Ratios of positive values, differences of others, bounds of shares and scores."""
    after = replace(before, values=before.values[::-1].copy())
    if not paired:
        after = replace(after, names=OTHERS[: after.n])
    change = change_of(before, after, 0.05, question)
    assert change.method.startswith(methods[not paired])
    assert (change.scale, change.n) == (scale, (40,) if paired else (40, 40))


def test_scores_of_other_ranges_have_no_bounded_difference() -> None:
    """What one side's values suggest is not known of the other."""
    after = replace(made(2 * DRAWN), limits=(0.0, None))
    assert change_of(scores(DRAWN / 3), after, 0.05).scale == RATIO


def test_measured_times_are_typical_already() -> None:
    """The change of what `measure` recorded is that of typical times: each is a median itself."""
    side = replace(made(DRAWN), processes=np.zeros(40, dtype=np.int64), process_names=("p",))
    assert change_of(side, side, 0.05).method.startswith("Wilcoxon")


def test_one_matched_case_makes_no_pairs() -> None:
    """Two sides that have one case in common are compared as independent values."""
    assert change_of(made(DRAWN), made(DRAWN, ("c0", *OTHERS)), 0.05).n == (40, 40)


def test_unmatched_cases_are_left_out_of_pairs() -> None:
    """The pairs decide, whatever the others did; even if only others have a cost above 0."""
    names = (*NAMES[:20], *OTHERS[:20])
    after = made(np.where(np.arange(40) < 20, DRAWN, 99), names)
    change = change_of(made(DRAWN), after, 0.05)
    assert change.n == (20,)
    assert change.estimate == pytest.approx(1)
    free = np.where(np.arange(40) < 20, 0, DRAWN)
    with pytest.raises(NoIntervalError, match="baseline's mean is too uncertain"):
        change_of(made(free), after, 0.05)


# --- clusters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("shape", ["scores", "costs", "times", "signed", "formulas"])
def test_clusters_widen(shape: str, paired: bool) -> None:
    """Ten documents with four questions each are ten observations that count, not forty."""
    rng = np.random.default_rng(5)
    base = np.repeat(SHAPES[shape](rng, 10), 4)
    shift = np.repeat(rng.normal(0.0, 0.1, 10), 4)
    limits = ENDS.get(shape, (None, None))
    cand = np.clip(base + shift, 0.01, 1 if shape == "scores" else None)
    alone, clustered = [], []
    for values, names in ((base, NAMES), (cand, NAMES if paired else OTHERS)):
        side = Sample(
            values, np.arange(40), names[:40], KINDS.get(shape, MEAN), limits=limits, counting=40
        )
        alone.append(side)
        clustered.append(replace(side, belongs=np.arange(40) // 4))
    question = TYPICAL if shape == "times" else ROW
    narrow, wide = (change_of(each[0], each[1], 0.05, question) for each in (alone, clustered))
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
    assert wide.p >= narrow.p


def test_trials_of_a_case_are_one_observation() -> None:
    """Ten trials of ten cases that always agree are worth ten trials, in pairs and without."""
    values = (np.arange(100) // 10 < 7).astype(np.float64)
    cases = np.arange(100) // 10
    for names in (NAMES[:10], OTHERS[:10]):
        many = [
            Sample(each, cases, called, RATE)
            for each, called in ((values, NAMES[:10]), (1 - values, names))
        ]
        few = [replace(side, values=side.values[::10], cases=np.arange(10)) for side in many]
        change, single = (change_of(side[0], side[1], 0.05) for side in (many, few))
        assert (change.low, change.high) == pytest.approx((single.low, single.high), abs=1e-6)
        assert change.n == single.n


# --- floors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "most"), [(4, 6), (5, 25), (6, 102), (7, 409), (8, 1638), (10, 26_214)]
)
def test_most_decisions_of_few_pairs(pairs: int, most: int) -> None:
    """Recipes 1: so many decisions bear 4, 5, … pairs; with one more there is a reason."""
    base, cand = made(DRAWN[:pairs]), made(10 * DRAWN[:pairs] * DRAWN[20 : 20 + pairs])
    change = change_of(base, cand, 0.05 / most, TYPICAL)
    assert change.scale == RATIO
    assert floor_of(base, cand, TYPICAL) <= 0.025 / most
    assert floor_of(base, cand, TYPICAL) > 0.025 / (most + 1)
    with pytest.raises(NoIntervalError, match=f"too few: {pairs} pairs"):
        change_of(base, cand, 0.05 / (most + 1), TYPICAL)


@pytest.mark.parametrize(
    ("before", "after", "floor"),
    [
        (made(DRAWN), made(DRAWN), 4.0**-40),
        (made(DRAWN), made(DRAWN, OTHERS), 4.0**-40),
        (made([1] * 5, kind=RATE), made([0] * 5, kind=RATE), 0.0101195597),
        (made([1] * 5, kind=RATE), made([0] * 5, OTHERS, RATE), 0.0004605859),
        (made([]), made(DRAWN), 1.0),
        (replace(made(DRAWN), refusal="why"), made(DRAWN), 1.0),
        (made(DRAWN, kind=QUANTILE), made(DRAWN, kind=QUANTILE), 0.002),
    ],
)
def test_floors(before: Sample, after: Sample, floor: float) -> None:
    """The smallest one-sided p that the number of observations allows; 1 where there is no test."""
    assert floor_of(before, after) == pytest.approx(floor, rel=0.01)  # a grid melds sides


def test_the_floor_of_clusters_is_of_clusters() -> None:
    """Three documents stay three, however many questions they have."""
    side = replace(made(DRAWN), belongs=np.arange(40) % 3)
    assert floor_of(side, side) == 4.0**-3


def test_the_floor_of_formulas_is_of_cases_that_count() -> None:
    """True negatives say nothing about F1."""
    side = replace(made(DRAWN, kind=FORMULA), counting=4)
    assert floor_of(side, side) == 4.0**-4
    other = replace(side, names=OTHERS[:40])
    assert floor_of(side, other) == pytest.approx(2.0**-8)
    for after in (side, other):
        with pytest.raises(NoIntervalError, match="too few: 4 cases that count"):
            change_of(side, after, 0.0001)


# --- reasons ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "question", "reason"),
    [
        (made(DRAWN - 5, kind=QUANTILE), made(DRAWN, kind=QUANTILE), ROW, "its change is a ratio"),
        (made(DRAWN - 5), made(DRAWN), TYPICAL, "its change is a ratio"),
        (replace(made(DRAWN), weights=DRAWN), made(DRAWN), ROW, SAMPLED),
        (made(DRAWN), replace(made(DRAWN), refusal="too odd"), ROW, "too odd"),
        (made([1, 2]), made([2, 1]), ROW, "too few: 2 pairs"),
        (made([1]), made([2]), ROW, "too few: 1 and 1 values"),
        (made([1]), made([2]), TYPICAL, "too few: 1 and 1 values"),
    ],
)
def test_reasons(before: Sample, after: Sample, question: Question, reason: str) -> None:
    """Where there is no interval, one line says why."""
    with pytest.raises(NoIntervalError, match=reason):
        change_of(before, after, 0.05, question)


# --- factors and units ------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [True, False])
def test_a_factor_of_the_baseline(paired: bool) -> None:
    """``candidate < 0.5 * baseline`` looks at the candidate minus half of the baseline."""
    after = made(0.51 * DRAWN, NAMES if paired else OTHERS)
    change = change_of(made(DRAWN), after, 0.05, Question(factor=0.5, difference=True))
    assert change.estimate == pytest.approx(0.01 * DRAWN.mean())


def test_values_in_the_unit_of_the_metric() -> None:
    """A cost per thousand calls is a thousand times the cost, and so is its range."""
    side = replace(scores([0.25, 0.5]), factor=1000.0)
    found = in_unit(side)
    assert (list(found.values), found.factor, found.limits) == ([250, 500], 1, (0, 1000))
    assert in_unit(found) is found


@pytest.mark.parametrize(
    ("side", "path", "value"),
    [
        (made([1, 2, 9]), "score.mean", 4),
        (made([1, 2, 9]), "latency", 2),
        (replace(made([1, 2, 9]), factor=1000.0), "cost.per_1k", 4000),
        (replace(made([1, 2, 9]), kind=QUANTILE, q=0.75), "latency.p75", 5.5),
        (replace(made([1, 2, 9]), weights=np.array([1.0, 1.0, 2.0])), "score.mean", 5.25),
        (replace(made([1, 2, 9]), weights=np.ones(3)), "cost", None),
        (made([]), "score.mean", None),
    ],
)
def test_the_value_of_one_side(side: Sample, path: str, value: float | None) -> None:
    """The mean, the median of a typical metric, a percentile; None if nobody knows it."""
    assert centre(side, PLAIN[path]) == value


@pytest.mark.parametrize("end", ["low", "estimate", "high"])
def test_bounds_that_are_no_numbers_are_no_change(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the method gives: a change without both bounds is none."""
    whole = change_of(made(DRAWN), made(DRAWN), 0.05)
    broken = replace(whole, **{end: math.inf})  # type: ignore[arg-type]
    monkeypatch.setattr(metric_changes, "_change_of", lambda *_: broken)
    with pytest.raises(NoIntervalError, match="no bound on it"):
        change_of(made(DRAWN), made(DRAWN), 0.05)


# --- zeros of ratios ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MEAN, QUANTILE])
def test_one_time_of_zero_hides_no_slowdown(kind: str) -> None:
    """A cache hit on both sides, and every other case ten times slower."""
    before = np.array([0.0, *range(1, 200)])
    sides = (made(before, kind=kind), made(before * 10, kind=kind))
    found = change_of(sides[0], sides[1], 0.05, TYPICAL if kind == MEAN else ROW)
    assert found.low > 5
    assert found.estimate == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("values", [[0.0] * 20, [-1.0, *[1.0] * 19]], ids=["all 0", "below 0"])
def test_without_values_above_zero_there_is_no_ratio(values: list[float]) -> None:
    with pytest.raises(NoIntervalError, match="its change is a ratio"):
        change_of(made(values), made(values), 0.05, TYPICAL)
