"""Comparison: baseline against candidate, each metric with a verdict that its numbers bear out."""

from __future__ import annotations

import itertools
import math
import resource
from array import array
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.schema import MEASURED
from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.observations import Group
from pytest_crucible.stats.comparison import (
    ADDED,
    CHANGED,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    REGRESSED,
    REMOVED,
    Comparison,
    Options,
    cases_needed,
    compare_subjects,
)
from pytest_crucible.stats.metric_changes import change_of
from pytest_crucible.stats.samples import MEAN, RATE
from pytest_crucible.stats.subject import Subject
from tests.stats.support import cases, compare_groups, events, group, lognormal, sample
from tests.stats.support import subject as plain_subject


def compared(base: Group, cand: Group, options: Options | None = None) -> dict[str, Comparison]:
    return {each.metric: each for each in compare_groups(base, cand, options)}


def subject(of: Group, *declared: Metric) -> Subject:
    return replace(plain_subject(of), catalog=Catalog(declared))


def latency(n: int, factor: float, *, mark: str = "c", seed: int = 1) -> Group:
    return group(events(cases(n, mark=mark), latency_ms=lognormal(n, seed, factor)))


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.3, REGRESSED), (0.7, IMPROVED), (1.0, EQUIVALENT)]
)
@pytest.mark.parametrize("mark", ["c", "other"])
def test_latency_verdicts(factor: float, verdict: str, mark: str) -> None:
    """A clear change and none at all, the cases being the same or others."""
    found = compared(latency(400, 1), latency(400, factor, mark=mark, seed=2))["latency"]
    assert found.verdict == verdict
    assert found.scale == "ratio"
    assert found.low is not None
    assert found.high is not None
    assert found.low < factor < found.high
    assert found.n == ((400,) if mark == "c" else (400, 400))


def test_direction_of_good() -> None:
    """A score that rises improves; one that the user calls lower-is-better regresses."""
    base, cand = (
        group(events(cases(40), {"score": lognormal(40, seed, factor)}))
        for seed, factor in ((1, 1.0), (2, 2.0))
    )
    assert compared(base, cand)["score.mean"].verdict == IMPROVED
    told = Options(better={"score": "lower"})
    assert compared(base, cand, told)["score.mean"].verdict == REGRESSED


def test_margins() -> None:
    """The same change is a regression or none, by the margin of its metric."""
    base, cand = latency(400, 1), latency(400, 1.3, seed=2)
    wide = Options(margins={"latency": 0.6, "cost": 0.1})
    assert compared(base, cand, wide)["latency"].verdict == EQUIVALENT
    assert compared(base, cand, wide)["latency.p95"].margin == 0.6
    assert compared(base, cand, wide)["success_rate"].margin == 0.05


def test_missing_metrics_are_named() -> None:
    """What only one side has is ADDED or REMOVED, whatever kind it is."""
    base = group(events(cases(8), {"old": lognormal(8, 1)}))
    cand = group(events(cases(8), {"new": [True] * 8}, latency_ms=lognormal(8, 1)))
    found = compared(base, cand)
    changed = {name: each.verdict for name, each in found.items() if name != "success_rate"}
    assert changed == {
        "old.mean": REMOVED, "new.mean": ADDED, "latency": ADDED, "latency.p95": ADDED,
    }  # fmt: skip
    assert found["new.mean"].baseline is None
    assert found["old.mean"].reason == "the candidate has no such metric"


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_cases_are_never_a_verdict(n: int) -> None:
    """With up to two cases a side nothing is certain, however large the difference looks."""
    base = group(events(cases(n), {"score": [0.5, 0.6]}, latency_ms=[10, 12]))
    cand = group(events(cases(n, "f"), {"score": [0.1, 0.3]}, latency_ms=[90, 95]))
    found = compared(base, cand)
    assert bool(found) is bool(n)
    assert {each.verdict for each in found.values()} <= {INCONCLUSIVE}
    assert all(each.reason or each.needs or each.low is not None for each in found.values())


def test_one_arm_without_anything() -> None:
    """Against an empty arm everything is REMOVED; two empty arms have nothing to compare."""
    empty = Group("exp", "x")
    assert {each.verdict for each in compare_groups(latency(5, 1), empty)} == {REMOVED}
    assert compare_groups(empty, empty) == []


def test_all_failures() -> None:
    """Ten of ten against none of ten regresses; two that both fail always say too little."""
    good, bad = group(events(cases(30, "p"))), group(events(cases(30, "f")))
    assert compared(good, bad)["success_rate"].verdict == REGRESSED
    both = compared(bad, bad)["success_rate"]
    assert (both.verdict, both.change) == (INCONCLUSIVE, 0)
    assert both.needs is not None
    assert both.needs > 30


def test_deterministic_metrics() -> None:
    """Steps that never vary: equal is EQUIVALENT, more is CHANGED, three values are too few."""

    def tokens(n: int, count: float) -> Group:
        return group(events(cases(n), {"steps": [count] * n}))

    same, more = (compared(tokens(10, 5), tokens(10, count))["steps.mean"] for count in (5, 7))
    assert (same.verdict, more.verdict) == (EQUIVALENT, CHANGED)
    few = compared(tokens(3, 5), tokens(3, 7))["steps.mean"]
    assert (few.verdict, few.reason) == (
        INCONCLUSIVE, "nothing varies in 3: no spread to measure",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["wer", "leak_rate"])
@pytest.mark.parametrize("size", [1e-6, 0.04, 10.0])
def test_baseline_of_zero(name: str, size: float) -> None:
    """There is no margin relative to nothing: any certain change is beyond it."""
    base = group(events(cases(20), {name: [0.0] * 20}))
    varying = group(events(cases(20), {name: lognormal(20, 1, size)}))
    alike = group(events(cases(20), {name: [size] * 20}))
    verdict = REGRESSED if name == "wer" else CHANGED
    for cand in (varying, alike):
        found = compared(base, cand)[f"{name}.mean"]
        assert (found.verdict, found.scale, found.baseline) == (verdict, "difference", 0)
        assert found.p is not None
        assert found.p < 0.05


def test_a_margin_of_a_bounded_metric_is_in_its_unit() -> None:
    """That of the metric, and one given for it; else, and without two ends, it is relative."""
    base = group(events(cases(40), {"score": np.linspace(0.1, 0.2, 40).tolist()}))
    cand = group(events(cases(40), {"score": np.linspace(0.12, 0.22, 40).tolist()}))

    def verdict(declared: Metric, options: Options | None = None) -> str:
        found = compare_subjects(subject(base, declared), subject(cand, declared), options)
        return next(each.verdict for each in found if each.metric == "score.mean")

    score = Metric("score", better="higher", range=(0, 1))
    assert verdict(score) == IMPROVED  # by 13 %
    assert verdict(replace(score, margin=0.05)) == EQUIVALENT
    assert verdict(score, Options(margins={"score": 0.05})) == EQUIVALENT
    assert verdict(replace(score, margin=0.05, range=(0, None))) == IMPROVED
    assert verdict(replace(score, unit="%")) == EQUIVALENT  # percentage points


NEUTRAL = (
    "token_f1", "tokens_per_second", "steps_completed", "ttft_ms", "retries", "words", "violations",
    "time", "distance", "score2", "my_loss_count",
)  # fmt: skip


@pytest.mark.parametrize("name", NEUTRAL)
def test_what_nobody_declared_is_changed(name: str) -> None:
    """In either direction; with a direction it is judged."""
    base = group(events(cases(30), {name: lognormal(30, 1)}))
    cand = group(events(cases(30), {name: lognormal(30, 1, 2)}))
    for first, second, verdict in ((base, cand, REGRESSED), (cand, base, IMPROVED)):
        assert compared(first, second)[f"{name}.mean"].verdict == CHANGED
        told = Options(better={name: "lower"})
        assert compared(first, second, told)[f"{name}.mean"].verdict == verdict
    assert compared(base, base)[f"{name}.mean"].verdict == EQUIVALENT


def test_values_outside_the_range_allow_no_verdict() -> None:
    """The data contradict the declaration."""
    score = Metric("score", better="higher", range=(0, 1))
    base = subject(group(events(cases(30), {"score": [0.5] * 30})), score)
    cand = subject(group(events(cases(30), {"score": [*[0.9] * 28, 1.5, -1]})), score)
    found = {each.metric: each for each in compare_subjects(base, cand)}["score.mean"]
    assert found.verdict == INCONCLUSIVE
    assert found.change == pytest.approx(0.3567, abs=0.001)
    assert found.reason == (
        "candidate: 2 of 30 values of score outside its range 0 to 1: -1 in c29"
    )


def test_latency_of_zero_has_no_ratio() -> None:
    """Values that are no positive numbers are compared by difference; percentiles say why not."""
    base = group(events(cases(100), latency_ms=[0.0, *lognormal(99, 1)]))
    found = compared(base, latency(100, 1))
    assert found["latency"].scale == "difference"
    assert found["latency.p95"].reason == "a percentile's change is a ratio: needs values above 0"


def test_invalid_values_are_told() -> None:
    """Text and NaN among the numbers: left out, and said so."""
    values = [*lognormal(20, 1), "text", math.nan]
    same = group(events(cases(22), {"score": values}))
    found = compared(same, same)
    assert found["score.mean"].reason == "4 values were not finite numbers and were left out"
    words = group(events(cases(4), {"score": ["a"] * 4}))
    assert "score.mean" not in compared(words, words)


@pytest.mark.parametrize(("common", "n"), [(20, (20,)), (10, (10,)), (3, (3,)), (0, (20, 20))])
def test_paired_over_the_cases_that_match(common: int, n: tuple[int, ...]) -> None:
    """Matched cases are compared pair by pair; if there are none, all cases are compared."""
    base, cand = (
        {f"{'both' if i < common else mark}{i}": "p" for i in range(20)} for mark in ("a", "b")
    )
    found = compared(
        group(events(base, latency_ms=lognormal(20, 1))),
        group(events(cand, latency_ms=lognormal(20, 2))),
    )
    assert found["latency"].n == n


def test_repeats_of_few_cases_are_no_evidence() -> None:
    """A hundred trials of two cases on either side: the cases differ, not the code."""
    base, cand = (
        group(events(cases(2, "p" * 50, mark), latency_ms=[v for v in levels for _ in range(50)]))
        for mark, levels in (("a", (10.0, 11.0)), ("b", (20.0, 24.0)))
    )
    assert compared(base, cand)["latency"].verdict == INCONCLUSIVE


def test_verdicts_survive_the_number_of_metrics() -> None:
    """What regresses alone is open among forty metrics, and the line says why."""
    others = {f"m{i}": lognormal(7, i) for i in range(40)}
    base, cand = [1.0] * 7, [1.2, 1.4, 1.2, 1.9, 1.1, 1.3, 1.8]
    alone, found = (
        compared(
            group(events(cases(7), {"loss": base, **more})),
            group(events(cases(7), {"loss": cand, **more})),
        )
        for more in ({}, others)
    )
    assert alone["loss.mean"].verdict == REGRESSED
    assert found["loss.mean"].verdict == INCONCLUSIVE
    assert found["loss.mean"].reason == (
        "REGRESSED by its interval, but not after correction for 42 metrics"
    )


@given(st.integers(2, 40), st.floats(0.3, 3), st.floats(0.01, 1), st.integers(0, 99), st.booleans())
def test_verdicts_never_contradict_their_numbers(
    n: int, factor: float, sigma: float, seed: int, paired: bool
) -> None:
    """Interval, p and verdict say the same, and "needs" asks for more than there is."""
    base = group(events(cases(n), latency_ms=lognormal(n, seed, 1, sigma)))
    mark = "c" if paired else "d"
    cand = group(events(cases(n, mark=mark), latency_ms=lognormal(n, seed + 1, factor, sigma)))
    for each in compare_groups(base, cand):
        if each.low is None or each.high is None or each.change is None:
            assert each.verdict == INCONCLUSIVE
            assert each.reason
            continue
        margin = each.margin
        lower, upper = (
            (1 / (1 + margin), 1 + margin) if each.scale == "ratio" else (-margin, margin)
        )
        assert each.low <= each.change <= each.high
        if each.verdict in (REGRESSED, IMPROVED):
            assert each.low > upper or each.high < lower
            assert each.p is not None
            assert each.p <= 0.05
        elif each.verdict == EQUIVALENT:
            assert lower < each.low <= each.high < upper
        elif not each.reason:
            assert each.needs is None or each.needs > max(each.n)


def test_needs_falls_as_the_change_grows() -> None:
    """The further the change lies beyond the margin, the fewer cases settle it."""
    needs = []
    for shift in (0.10, 0.15, 0.2):
        rng = np.random.default_rng(5)
        noise = rng.normal(0, 0.5, 20)
        noise -= np.median(noise)
        base = sample(np.full(20, 100.0) * np.exp(rng.normal(0, 0.1, 20)), list(range(20)))
        cand = sample(base.values * np.exp(noise + shift), list(range(20)))
        change = change_of(base, cand, typical=True)
        found = cases_needed(change, 0.05, 1.05)
        assert found is not None
        needs.append(found)
    assert needs == sorted(needs, reverse=True)
    assert needs[0] > needs[-1]


def test_rate_and_score_of_the_same_name() -> None:
    """Right-or-wrong before, shades after: compared as means, with a relative margin."""
    base = group(events(cases(20), {"score": [0.0, 1.0] * 10}))
    cand = group(events(cases(20), {"score": lognormal(20, 1)}))
    assert compared(base, cand)["score.mean"].absolute is False
    assert compared(base, base)["score.mean"].absolute is True


# --- size --------------------------------------------------------------------------------------


def large(n: int, repeats: int, factor: float, mark: str) -> Group:
    """A group of n observations without a million event objects."""
    found = Group("exp", "x")
    count = n // repeats
    found.cases = {f"{mark}{case}": case for case in range(count)}
    rng = np.random.default_rng(len(mark))
    index = np.repeat(np.arange(count), repeats)
    values = factor * np.exp(rng.normal(0, 0.5, n))
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


@pytest.mark.parametrize("kind", [RATE, MEAN])
def test_samples_without_cases(kind: str) -> None:
    """Observations outside trials are compared as independent ones."""
    change = change_of(sample([0, 1] * 30, kind=kind), sample([1, 1] * 30, kind=kind))
    assert change.n == (60, 60)
    assert change.estimate == 0.5
