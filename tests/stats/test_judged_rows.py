"""Judged rows: what their data bear out, at one level, together with all that decides with them."""

from __future__ import annotations

import itertools
import resource
from array import array
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.events.schema import MEASURED
from pytest_crucible.metrics.catalog import PLAIN, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.change import RATIO
from pytest_crucible.stats.comparison import (
    CHANGED,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    REGRESSED,
    TOO_FEW,
    UNSEEN,
    WORSE,
    Comparison,
    limits_of,
)
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.family import OTHER, SUCCESS, Decision, Levels
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.metric_changes import Question, change_of, floor_of
from pytest_crucible.stats.row_drafts import Draft, draft_rows
from pytest_crucible.stats.samples import RATE, Sample
from pytest_crucible.stats.subject import Subject
from tests.stats.judging_support import (
    compared,
    described,
    latency,
    passing,
    random_arms,
    scoring,
)
from tests.stats.support import (
    Floats,
    cases,
    compare_groups,
    compare_subjects,
    events,
    group,
    lognormal,
    sample,
)

TYPICAL = Question(typical=True)


def draft(before: Sample, after: Sample, question: Question, *, better: str = "lower") -> Draft:
    """A row that decides, made from its observations."""
    kind = SUCCESS if before.kind == RATE else OTHER
    row = Comparison(
        metric="m", baseline=1.0, candidate=1.0, verdict=INCONCLUSIVE, better=better,
        absolute=before.kind == RATE,
    )  # fmt: skip
    decision = Decision(kind, floor_of(before, after, question))
    return Draft(row, (before, after), question, decision=decision)


def times(rng: np.random.Generator, n: int, sigma: float, factor: float = 1.0) -> Draft:
    """Latencies of n pairs."""
    before, after = np.exp(rng.normal(0, sigma, n)), factor * np.exp(rng.normal(0, sigma, n))
    return draft(sample(before, range(n)), sample(after, range(n)), TYPICAL)


def outcomes(rng: np.random.Generator, n: int, before: float, after: float) -> Draft:
    """Successes of n pairs."""
    sides = [
        sample((rng.random(n) < rate).astype(np.float64), range(n), kind=RATE)
        for rate in (before, after)
    ]
    return draft(sides[0], sides[1], Question(), better="higher")


def verdicts(drafts: Sequence[Draft]) -> list[str]:
    return [row.verdict for row in judge_rows(drafts, RowLevels.of(drafts))]


# --- what the data bear out -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.3, REGRESSED), (0.7, IMPROVED), (1.0, EQUIVALENT)]
)
@pytest.mark.parametrize("mark", ["c", "other"])
def test_latencies(factor: float, verdict: str, mark: str) -> None:
    """A clear change and none at all, the cases being the same or others."""
    found = compared(latency(500), latency(500, factor, mark=mark, seed=2))["latency"]
    assert found.verdict == verdict
    assert found.scale == RATIO
    assert found.low is not None
    assert found.high is not None
    assert found.low < factor < found.high
    assert found.n == ((500,) if mark == "c" else (500, 500))


def test_the_direction_of_good() -> None:
    """A score that rises improves; one that the user calls lower-is-better regresses."""
    base, cand = (scoring(lognormal(40, seed, factor)) for seed, factor in ((1, 1.0), (2, 2.0)))
    assert compared(base, cand)["score.mean"].verdict == IMPROVED
    told = Options(better={"score": "lower"})
    assert compared(base, cand, told)["score.mean"].verdict == REGRESSED


def test_margins_of_single_metrics() -> None:
    """The same change is a regression or none, by the margin of its metric."""
    base, cand = latency(400), latency(400, 1.3, seed=2)
    wide = compared(base, cand, Options(margins={"latency": 0.6, "cost": 0.1}))
    assert wide["latency"].verdict == EQUIVALENT
    assert (wide["latency.p95"].margin, wide["success_rate"].margin) == (0.6, 0.05)


NEUTRAL = (
    "token_f1", "tokens_per_second", "steps_completed", "ttft_ms", "retries", "words", "violations",
    "time", "distance", "score2", "my_loss_count",
)  # fmt: skip


@pytest.mark.parametrize("name", NEUTRAL)
def test_what_nobody_declared_is_changed(name: str) -> None:
    """In either direction; with a direction it is judged."""
    base, cand = (scoring(lognormal(80, 1, factor), name=name) for factor in (1, 2))
    for first, second, verdict in ((base, cand, REGRESSED), (cand, base, IMPROVED)):
        assert compared(first, second)[f"{name}.mean"].verdict == CHANGED
        told = Options(better={name: "lower"})
        assert compared(first, second, told)[f"{name}.mean"].verdict == verdict
    assert compared(base, base)[f"{name}.mean"].verdict == EQUIVALENT


@pytest.mark.parametrize("name", ["wer", "leak_rate"])
@pytest.mark.parametrize("alike", [True, False])
def test_a_baseline_of_zero(name: str, alike: bool) -> None:
    """There is no margin relative to nothing: any certain change is beyond it."""
    base = scoring([0.0] * 20, name=name)
    cand = scoring([10.0] * 20 if alike else lognormal(20, 1, 10.0), name=name)
    found = compared(base, cand)[f"{name}.mean"]
    assert found.verdict == (REGRESSED if name == "wer" else CHANGED)
    assert (found.scale, found.baseline) == ("difference", 0)
    assert found.p is not None
    assert found.p < 0.05


def test_the_margin_of_a_bounded_score_is_a_share_of_its_range() -> None:
    """5 % of a score between 0 and 1 are 0.05; one in its unit, of the metric or given, is so."""
    base, cand = scoring(np.linspace(0.1, 0.4, 200)), scoring(np.linspace(0.13, 0.43, 200))

    def verdict(declared: Metric, options: Options | None = None) -> str:
        found = compare_subjects(described(base, declared), described(cand, declared), options)
        return next(each.verdict for each in found if each.metric == "score.mean")

    score = Metric("score", better="higher", range=(0, 1))
    assert verdict(score) == EQUIVALENT  # by 0.03
    assert verdict(score, Options(margin=0.005)) == IMPROVED
    assert verdict(score, Options(margins={"score": 0.005})) == IMPROVED
    assert verdict(Metric("score", better="higher", range=(0, 1), margin=0.005)) == IMPROVED
    assert verdict(Metric("score", better="higher", range=(0, None))) == IMPROVED  # by 12 %


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_cases_are_never_a_verdict(n: int) -> None:
    """With up to two cases a side nothing is certain, however large the difference looks."""
    base = group(events(cases(n), {"score": [0.5, 0.6]}, latency_ms=[10, 12]))
    cand = group(events(cases(n, "f"), {"score": [0.1, 0.3]}, latency_ms=[90, 95]))
    found = compared(base, cand)
    assert bool(found) is bool(n)
    assert {each.verdict for each in found.values()} <= {INCONCLUSIVE}
    assert all(each.reason or each.low is not None for each in found.values())


def test_repeats_of_few_cases_are_no_evidence() -> None:
    """A hundred trials of two cases on either side: the cases differ, not the code."""
    base, cand = (
        group(events(cases(2, "p" * 50, mark), latency_ms=[v for v in levels for _ in range(50)]))
        for mark, levels in (("a", (10.0, 11.0)), ("b", (20.0, 24.0)))
    )
    found = compared(base, cand)["latency"]
    assert (found.verdict, found.open) == (INCONCLUSIVE, TOO_FEW)
    assert found.reason == "too few: 2 and 2 values"


def test_what_has_no_ratio_says_so() -> None:
    """Latencies that are all 0 ms: a reason in place of a verdict; a single one does no harm."""
    nothing = group(events(cases(100), latency_ms=[0.0] * 100))
    found = compared(nothing, nothing)
    for metric in ("latency", "latency.p95"):
        assert found[metric].verdict == INCONCLUSIVE
        assert (found[metric].reason or "").startswith("its change is a ratio")
    base = group(events(cases(100), latency_ms=[0.0, *lognormal(99, 1)]))
    assert compared(base, base)["latency"].verdict == EQUIVALENT


@pytest.mark.parametrize("mark", ["c", "other"])
def test_a_number_that_fell_to_nothing(mark: str) -> None:
    """Every wait became 0, in the same cases or in others: −100 %, if the baseline tells."""
    base, none = lognormal(20, 1, 9.0), [0.0] * 20
    found = compared(scoring(base, name="retries"), scoring(none, name="retries", mark=mark))
    row = found["retries.mean"]
    assert (row.verdict, row.change, row.low) == (CHANGED, 0, 0)
    back = compared(scoring(none, name="retries"), scoring(base, name="retries", mark=mark))
    assert back["retries.mean"].scale == "difference"


# --- what was asked decides first -------------------------------------------------------------


def broken(number: int, of: int) -> str:
    return "f" * number + "p" * (of - number)


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("others", [0, 40])
def test_a_fall_from_all_to_seventy_percent_of_twenty_cases_is_found(
    every: bool, others: int
) -> None:
    """Whatever else was recorded and decides: success rates are a kind of their own."""
    numbers = {f"m{i}": lognormal(20, i) for i in range(others)}
    base, cand = (
        group(events(
            {f"c{i}": letter for i, letter in enumerate(broken(failed, 20))},
            numbers,
            latency_ms=lognormal(20, seed),
        ))
        for failed, seed in ((0, 1), (6, 2))
    )  # fmt: skip
    found = compared(base, cand, Options(every=every))
    row = found["success_rate"]
    assert (row.verdict, row.level) == (REGRESSED, 0.95)
    assert row.change == pytest.approx(-0.3)
    assert found["latency"].verdict == INCONCLUSIVE


def test_one_that_regressed_alone_is_open_among_forty() -> None:
    """A row that is only shown has the level of all; named, it decides alone."""
    others = {f"m{i}": lognormal(7, i) for i in range(40)}
    base, cand = (
        group(events(cases(7), {"loss": loss, **others}))
        for loss in ([1.0] * 7, [1.2, 1.4, 1.2, 1.9, 1.1, 1.3, 1.8])
    )
    shown = compared(base, cand)["loss.mean"]
    assert (shown.verdict, shown.open, shown.primary) == (INCONCLUSIVE, UNSEEN, False)
    assert shown.decisions == 40  # the level of 41 is below what 7 pairs can reach
    named = compared(base, cand, Options(primary=("loss",)))["loss.mean"]
    assert (named.verdict, named.primary, named.decisions) == (REGRESSED, True, 1)
    assert named.p is not None
    assert shown.p == pytest.approx(min(1.0, 40 * named.p))


# --- a test that cannot reach its level -------------------------------------------------------


def test_a_tenfold_slowdown_of_six_pairs_is_found_among_a_hundred() -> None:
    """At a deviation of 0.3 of logarithms, in more than 9 of 10 runs."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(20):
        drafts = [times(rng, 6, 0.3, 10.0), *(times(rng, 6, 0.3) for _ in range(99))]
        found.append(verdicts(drafts)[0])
    assert found.count(REGRESSED) >= 18


def test_success_rates_of_few_cases_take_nothing_from_others() -> None:
    """Fifty experiments of three cases cannot regress, so that one of twelve can."""
    rng = np.random.default_rng(1)
    tiny = [outcomes(rng, 3, 1.0, 1.0) for _ in range(50)]
    drafts = [outcomes(rng, 12, 1.0, 0.0), *tiny]
    rows = judge_rows(drafts, RowLevels.of(drafts))
    assert (rows[0].verdict, rows[0].level) == (REGRESSED, 0.95)
    assert {row.verdict for row in rows[1:]} == {INCONCLUSIVE}


ROWS: dict[str, tuple[Callable[[int], Sample], Callable[[int], Sample], Question]] = {
    "rates": (
        lambda n: sample([1.0] * n, range(n), kind=RATE),
        lambda n: sample([0.0] * n, range(n), kind=RATE),
        Question(),
    ),
    "rates of other cases": (
        lambda n: sample([1.0] * n, kind=RATE), lambda n: sample([0.0] * n, kind=RATE), Question()
    ),
    "rates in clusters": (
        lambda n: sample([1.0] * 3 * n, np.repeat(np.arange(n), 3).tolist(), kind=RATE),
        lambda n: sample([0.0] * 3 * n, np.repeat(np.arange(n), 3).tolist(), kind=RATE),
        Question(),
    ),
    "latencies": (
        lambda n: sample(np.linspace(1, 1.001, n), range(n)),
        lambda n: sample(np.linspace(9, 9.004, n), range(n)),
        TYPICAL,
    ),
    "latencies of other cases": (
        lambda n: sample(np.linspace(1, 1.001, n)), lambda n: sample(np.linspace(9, 9.01, n)),
        TYPICAL,
    ),
    "means": (
        lambda n: sample(np.linspace(1, 1.001, n), range(n)),
        lambda n: sample(np.linspace(9, 9.004, n), range(n)),
        Question(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 8, 10])
def test_no_row_reaches_a_level_below_its_floor(kind: str, n: int) -> None:
    """The largest change there is: at a level below the floor no verdict, else it may be one.

    A row that reached levels it was not counted for would break the promise of its family.
    """
    before, after, question = ROWS[kind]
    floor = floor_of(before(n), after(n), question)
    for level, possible in ((floor * 0.999, False), (floor * 1.001, True)):
        if level >= 0.5 or level < 1e-14:
            continue
        one = draft(before(n), after(n), question, better="neither")
        few = Levels(success=level, other=level)
        (row,) = judge_rows([one], RowLevels(few, few))
        excluded = row.low is not None and not _open(row)
        assert possible or not excluded
        if kind.startswith("rates"):
            assert excluded == possible


def _open(row: Comparison) -> bool:
    same = 1.0 if row.scale == RATIO else 0.0
    assert row.low is not None
    assert row.high is not None
    return row.low <= same <= row.high


@cache
def falls(n: int, lost: int, won: int, level: float) -> bool:
    """Whether so many pairs that got worse, and better, are REGRESSED."""
    after = [0.0] * lost + [1.0] * (n - lost)
    before = [1.0] * (n - won) + [0.0] * won
    one = draft(
        sample(before, range(n), kind=RATE), sample(after, range(n), kind=RATE), Question(),
        better="higher",
    )  # fmt: skip
    levels = Levels(success=level)
    return judge_rows([one], RowLevels(levels, levels))[0].verdict == REGRESSED


@pytest.mark.parametrize("count", [1, 10, 100])
def test_unchanged_code_is_red_in_five_percent_of_sessions(count: int) -> None:
    """One, ten and a hundred experiments: latencies of 6 pairs and success rates of 4 to 12."""
    rng = np.random.default_rng(count)
    sizes = [4 + number % 9 for number in range(count)]
    example = [outcomes(rng, n, 0.6, 0.6) for n in sizes]
    sessions, red = {1: 400, 10: 100, 100: 20}[count], 0
    for _ in range(sessions):
        drafts = [times(rng, 6, 0.5) for _ in sizes]
        levels = RowLevels.of([*drafts, *example])
        alarm = REGRESSED in [row.verdict for row in judge_rows(drafts, levels)]
        for n in sizes:
            before, after = rng.random((2, n)) < 0.6
            lost, won = int((before & ~after).sum()), int((after & ~before).sum())
            alarm |= lost > won and falls(n, lost, won, levels.primary.success)
        red += alarm
    # Binomial: with a chance of 5 % more come in 0.5 % of all seeds.
    assert red <= {1: 32, 10: 11, 100: 4}[count]


# --- identical values are no certainty --------------------------------------------------------


def test_equivalent_needs_seventy_two_identical_pairs() -> None:
    """At a margin of 5 %: 71 leave that 5 % of cases could differ. Shares, scores, means, times."""

    def rows(n: int) -> dict[str, Comparison]:
        numbers = {"score": [0.5] * n, "steps": [3.0] * n}
        same = group(events(cases(n), numbers, latency_ms=[5.0] * n))
        names = ("score", "steps", "latency")
        return {
            metric: row
            for name in names
            for metric, row in compared(same, same, Options(primary=(name,))).items()
            if row.primary
        }

    few, enough = rows(71), rows(72)
    assert set(few) == set(enough) == {"success_rate", "score.mean", "steps.mean", "latency"}
    assert {(row.verdict, row.open, row.alike) for row in few.values()} == {
        (INCONCLUSIVE, UNSEEN, 71)
    }
    assert {(row.verdict, row.alike) for row in enough.values()} == {(EQUIVALENT, 72)}
    row = few["latency"]
    assert row.low is not None
    assert row.high is not None
    assert row.low < 1 < row.high


@pytest.mark.parametrize("n", [6, 10, 20, 72, 100, 150])
@pytest.mark.parametrize("kind", ["success", "score", "cost"])
def test_one_that_breaks_a_tenth_of_cases_is_not_equivalent(n: int, kind: str) -> None:
    """It is called so in at most 5 % of runs, at any number of cases (exactly, by the counts)."""

    def verdict(failed: int) -> str:
        if kind == "success":
            return compared(passing("p" * n), passing(broken(failed, n)))["success_rate"].verdict
        values = [0.0] * failed + [0.9] * (n - failed)
        if kind == "score":
            sides = [scoring([0.9] * n), scoring(values)]
        else:
            sides = [scoring([each * 10 for each in side]) for side in ([0.9] * n, values)]
        return compared(sides[0], sides[1], Options(primary=("score",)))["score.mean"].verdict

    from scipy.stats import binom

    wrong = 0.0
    for failed in range(n + 1):
        if verdict(failed) != EQUIVALENT:
            break
        wrong += binom.pmf(failed, n, 0.1)
    assert wrong <= 0.05


@pytest.mark.parametrize(("n", "verdict"), [(2, INCONCLUSIVE), (6, CHANGED), (20, CHANGED)])
def test_steps_that_never_vary(n: int, verdict: str) -> None:
    """5 steps became 7 in each case: two pairs of one sign are chance, six are not."""
    found = compared(scoring([5] * n, name="steps"), scoring([7] * n, name="steps"))["steps.mean"]
    assert found.verdict == verdict
    if verdict == CHANGED:
        assert found.p is not None
        assert 4.0**-n < found.p <= 2.0 ** (1 - n)  # no standard error of 0 that makes it certain
        assert found.change == pytest.approx(1.4)
    else:
        assert found.low is None


# --- one procedure at one level ---------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 0.02, 0.05, 0.2]))
def test_p_interval_verdict_and_level_are_of_one_procedure(
    seed: int, every: bool, margin: float
) -> None:
    """p ≤ 0.05 just if the interval excludes "no change", both corrected; within what is possible.

    The verdict is what interval and margin show.
    """
    base, cand = random_arms(seed)
    for row in compare_groups(base, cand, Options(margin=margin, every=every)):
        if row.low is None or row.high is None or row.change is None or row.p is None:
            assert row.verdict == INCONCLUSIVE, row
            assert row.reason
            assert row.p is None
            continue
        lower, upper = limits_of(row)
        assert row.low <= row.change <= row.high, row
        assert (row.p <= 0.05) == (not _open(row)), row
        assert row.level >= 0.95 - 1e-12
        assert (row.verdict in (REGRESSED, IMPROVED, CHANGED)) == (
            row.low > upper or row.high < lower
        ), row
        if row.verdict == EQUIVALENT:
            assert lower < row.low <= row.high < upper
        if row.scale == RATIO:
            assert row.low >= 0
        elif row.metric in ("success_rate", "score.mean"):
            assert -1 <= row.low <= row.high <= 1


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 200))
def test_more_decisions_widen_each_interval(seed: int, count: int) -> None:
    """The interval is that of `change_of` at the level; the more share it, the wider."""
    base, cand = random_arms(seed)
    drafts = [each for each in draft_rows(Subject(base, {}), Subject(cand, {})) if each.row.primary]
    others = [Decision(kind, 0.0) for kind in (SUCCESS, OTHER) for _ in range(count)]
    alone, together = RowLevels.of(drafts), RowLevels.of(drafts, others)
    for one, row, shared in zip(
        drafts, judge_rows(drafts, alone), judge_rows(drafts, together), strict=True
    ):
        assert shared.level >= row.level
        if row.low is None or row.high is None:
            assert shared.low is None
            continue
        assert one.samples is not None
        change = change_of(*one.samples, 1 - row.level, one.question)
        assert (change.low, change.high) == pytest.approx((row.low, row.high))
        assert row.p == pytest.approx(min(1.0, change.p * 0.05 / (1 - row.level)))
        if shared.low is not None and shared.high is not None and shared.method == row.method:
            assert shared.low <= row.low + 1e-9
            assert shared.high >= row.high - 1e-9


def test_a_row_does_not_depend_on_the_data_of_others() -> None:
    """Only on their number: unlike Holm's steps, no other result moves this interval."""
    rng = np.random.default_rng(2)
    one = times(rng, 12, 0.3, 1.3)
    rows = [
        judge_rows([one, other], RowLevels.of([one, other]))[0]
        for other in (times(rng, 12, 0.3), times(rng, 12, 0.3, 50.0))
    ]
    assert rows[0] == rows[1]


def test_slices_share_the_level_of_their_rows() -> None:
    """Four slices: each at a quarter of the level, so that all of them hold together."""
    one = times(np.random.default_rng(3), 30, 0.3, 1.2)
    levels = RowLevels.of([one])
    (whole,), (part,) = judge_rows([one], levels), judge_rows([one], levels.shared(4))
    assert whole.level == 0.95
    assert part.level == pytest.approx(0.9875)


def test_what_is_lacking_is_shown_but_decides_nothing() -> None:
    """An interval far beyond the margin, and no verdict, because values are missing."""
    base = group(events(cases(20), {"score": lognormal(20, 1)}))
    cand = group(events(cases(20), {"score": lognormal(19, 1, 9.0)}))
    row = compared(base, cand)["score.mean"]
    assert (row.verdict, row.open) == (INCONCLUSIVE, "lacking")
    assert row.low is not None
    assert row.low > 2


def test_worse_maybe_within_the_margin() -> None:
    """10 % slower for certain, but the margin is 9 %: the row says so."""
    row = compared(latency(60), latency(60, 1.1, sigma=0.2), Options(margin=0.09))["latency"]
    assert row.verdict == REGRESSED  # the same noise on both sides: just 10 %
    open_row = compared(latency(60), latency(60, 1.1, seed=2), Options(margin=0.09))["latency"]
    assert (open_row.verdict, open_row.open) == (INCONCLUSIVE, WORSE)


# --- size -------------------------------------------------------------------------------------


def large(n: int, repeats: int, factor: float, mark: str) -> Group:
    """A group of n observations without a million event objects."""
    found = Group("exp", "x")
    count = n // repeats
    found.cases = {f"{mark}{case}": case for case in range(count)}
    rng = np.random.default_rng(len(mark))
    index = np.repeat(np.arange(count), repeats)
    values: Floats = factor * np.exp(rng.normal(0, 0.5, n))
    zeros = array("q", bytes(8 * n))
    found.name, found.time_us = zeros, zeros
    found.case, found.trial = (
        array("q", index.tobytes()),
        array("q", (np.arange(n) % repeats).tobytes()),
    )
    nothing = array("d", np.full(n, np.nan).tobytes())
    found.numbers = dict.fromkeys(MEASURED, nothing) | {
        "latency_ms": array("d", values.tobytes()),
        "cost_usd": array("d", values.tobytes()),
        "success": array("d", (rng.random(n) < 0.9).astype(float).tobytes()),
    }
    found.counted = found.counted_cost = array("b", b"\x01" * n)
    found.counted_tokens = found.judge = array("b", bytes(n))
    return found


@pytest.mark.parametrize(("repeats", "mark"), list(itertools.product((1, 10), ("a", "bb"))))
def test_a_million_observations(repeats: int, mark: str) -> None:
    """Every metric gets its verdict, within 2 GB, cases repeated or not, matched or not."""
    found = compared(large(10**6, repeats, 1.0, "a"), large(10**6, repeats, 1.2, mark))
    for metric in ("latency", "latency.p95", "cost"):
        assert found[metric].verdict == REGRESSED
    assert found["reliability.success_rate"].verdict == EQUIVALENT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2_000_000


def test_every_row_of_the_catalogue_can_be_judged() -> None:
    """The rows that decide without being named have a direction."""
    assert all(PLAIN[name].better for name in ("success_rate", "latency", "cost"))
