"""How much something changed, as an interval: one function per method.

Each takes baseline and candidate and gives a `Change`. ``interval(alpha)`` of a change may be asked
for at any level: the p-value of "worse than the margin" is the level at which the interval touches
the margin, so that interval and p-value never contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pytest_crucible.stats import tests
from pytest_crucible.stats.intervals import (
    Interval,
    NoIntervalError,
    effective_size,
    newcombe,
    newcombe_paired,
    quantile,
    smallest_n,
)
from pytest_crucible.stats.samples import Sample

Floats = NDArray[np.float64]

RATIO, DIFFERENCE = "ratio", "difference"
MAX_PAIRWISE = 5_000
"""Above this many values per side, methods that look at all pairs give way to the central limit."""
RESAMPLES = 2_000
SEED = 20_240_601
"""Of every resampling; fixed, so that judging an artifact again gives the same verdict."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change from baseline to candidate.

    Attributes:
        scale: RATIO (``estimate`` 1.2 is 20 % more) or DIFFERENCE (in the metric's unit).
        estimate: the change.
        interval: its confidence interval for a given alpha of both sides together.
        p: two-sided p-value of "no change"; None where there is no test.
        effect: name and value of a size that does not depend on units.
        method: what was done, for the report.
        n: pairs, or observations of the two sides.
    """

    scale: str
    estimate: float
    interval: Callable[[float], Interval]
    p: float | None
    effect: tuple[str, float] | None
    method: str
    n: tuple[int, ...]


# --- positive, skewed numbers: latency, cost, tokens ------------------------------------------


def paired_log_ratio(base: Floats, cand: Floats) -> Change:
    """Wilcoxon's signed rank on log ratios, with the Walsh-average interval (Lehmann 1975).

    ``base`` and ``cand`` are logarithms, one per case, in the same order.
    """
    differences = cand - base
    n = differences.size
    if n < 6:
        return _paired_t_change(differences, RATIO, np.exp)
    if n > MAX_PAIRWISE:
        return _paired_t_change(differences, RATIO, np.exp)
    walsh = np.sort(_walsh(differences))
    p = tests.signed_rank(differences)

    def interval(alpha: float) -> Interval:
        return _exp(_rank_interval(walsh, _signed_rank_cut(n, alpha)))

    effect = ("rank-biserial r", _rank_biserial(differences))
    name = "Wilcoxon signed rank on log ratios"
    return Change(RATIO, math.exp(float(np.median(walsh))), interval, p, effect, name, (n,))


def log_shift(base: Floats, cand: Floats) -> Change:
    """Mann-Whitney U with the Hodges-Lehmann shift of the logarithms (Hodges and Lehmann 1963)."""
    n, m = base.size, cand.size
    if min(n, m) < 4:
        raise NoIntervalError(f"needs at least 4 observations per side, has {n} and {m}")
    effect = ("Cliff's delta", tests.cliffs_delta(base, cand))
    if max(n, m) > MAX_PAIRWISE:
        change = _welch_change(base, cand, RATIO, np.exp, "Welch on logs")
        return Change(
            RATIO, change.estimate, change.interval, change.p, effect, change.method, (n, m)
        )
    shifts = np.sort(np.subtract.outer(cand, base).ravel())
    p = tests.mann_whitney(base, cand)

    def interval(alpha: float) -> Interval:
        return _exp(_rank_interval(shifts, _mann_whitney_cut(n, m, alpha)))

    name = "Mann-Whitney, Hodges-Lehmann ratio"
    return Change(RATIO, math.exp(float(np.median(shifts))), interval, p, effect, name, (n, m))


def _walsh(values: Floats) -> Floats:
    rows, columns = np.triu_indices(values.size)
    averages: Floats = (values[rows] + values[columns]) / 2
    return averages


def _rank_interval(ordered: Floats, cut: int) -> Interval:
    if cut < 1:
        raise NoIntervalError("too few observations for an interval at this level")
    return float(ordered[cut - 1]), float(ordered[ordered.size - cut])


def _signed_rank_cut(n: int, alpha: float) -> int:
    """How many Walsh averages to leave out on each side; exact up to 50, then normal."""
    mean, variance = n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24
    if n > 50:
        return int(mean - float(stats.norm.isf(alpha / 2)) * math.sqrt(variance))
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1.0
    for rank in range(1, n + 1):
        counts[rank:] += counts[:-rank].copy()
    cumulative = np.cumsum(counts) / 2.0**n
    return int(np.searchsorted(cumulative, alpha / 2, side="right"))


def _mann_whitney_cut(n: int, m: int, alpha: float) -> int:
    """How many pairwise shifts to leave out on each side; exact up to 25 per side, then normal."""
    if max(n, m) > tests.EXACT_TIES_N:
        spread = math.sqrt(n * m * (n + m + 1) / 12)
        return int(n * m / 2 - float(stats.norm.isf(alpha / 2)) * spread)
    counts = np.zeros(n * m + 1)
    counts[0] = 1.0
    # The generating function of U: the Gaussian binomial coefficient.
    for i in range(1, m + 1):
        shifted = counts.copy()
        shifted[n + i :] -= counts[: max(0, counts.size - n - i)]
        counts = shifted
        for position in range(i, counts.size):
            counts[position] += counts[position - i]
    cumulative = np.cumsum(counts) / counts.sum()
    return int(np.searchsorted(cumulative, alpha / 2, side="right"))


def _rank_biserial(differences: Floats) -> float:
    nonzero = differences[differences != 0]
    if not nonzero.size:
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def _exp(interval: Interval) -> Interval:
    return math.exp(interval[0]), math.exp(interval[1])


# --- means ------------------------------------------------------------------------------------


def _identity(value: float) -> float:
    return value


def paired_means(base: Floats, cand: Floats) -> Change:
    """Paired t on differences per case."""
    return _paired_t_change(cand - base, DIFFERENCE, _identity)


def means(base: Floats, cand: Floats) -> Change:
    """Welch's interval of a difference of means (Welch 1947)."""
    return _welch_change(base, cand, DIFFERENCE, _identity, "Welch")


def _paired_t_change(differences: Floats, scale: str, back: Callable[[float], float]) -> Change:
    n = differences.size
    if n < 2:
        raise NoIntervalError(f"{n} pair{'s' * (n != 1)}: no spread to measure")
    spread, mean = float(differences.std(ddof=1)), float(differences.mean())

    def interval(alpha: float) -> Interval:
        half = float(stats.t.isf(alpha / 2, n - 1)) * spread / math.sqrt(n)
        return back(mean - half), back(mean + half)

    effect = ("Cohen's d of pairs", mean / spread) if spread else None
    method = "paired t on log ratios" if scale == RATIO else "paired t"
    return Change(scale, back(mean), interval, tests.paired_t(differences), effect, method, (n,))


def _welch_change(
    base: Floats, cand: Floats, scale: str, back: Callable[[float], float], method: str
) -> Change:
    n, m = base.size, cand.size
    if min(n, m) < 2:
        raise NoIntervalError(f"needs at least 2 observations per side, has {n} and {m}")
    v1, v2 = float(base.var(ddof=1)) / n, float(cand.var(ddof=1)) / m
    difference, error = float(cand.mean() - base.mean()), math.sqrt(v1 + v2)

    def interval(alpha: float) -> Interval:
        if not error:
            return back(difference), back(difference)
        df = (v1 + v2) ** 2 / (v1**2 / (n - 1) + v2**2 / (m - 1))
        half = float(stats.t.isf(alpha / 2, df)) * error
        return back(difference - half), back(difference + half)

    pooled = math.sqrt((v1 * n + v2 * m) / 2)
    effect = ("Cohen's d", difference / pooled) if pooled else None
    p = tests.welch(base, cand)
    return Change(scale, back(difference), interval, p, effect, method, (n, m))


# --- rates ------------------------------------------------------------------------------------


def paired_rates(base: dict[str, float], cand: dict[str, float]) -> Change:
    """Exact McNemar with Newcombe's paired interval; with repeated trials t on case rates."""
    cases = [case for case in base if case in cand]
    first = np.array([base[case] for case in cases])
    second = np.array([cand[case] for case in cases])
    single = set(np.unique(np.concatenate([first, second]))) <= {0.0, 1.0}
    if not single and float(np.ptp(second - first)) > 0:
        return _paired_t_change(second - first, DIFFERENCE, _identity)
    b, c = (
        int(((first >= 0.5) & (second < 0.5)).sum()),
        int(((first < 0.5) & (second >= 0.5)).sum()),
    )
    both = int(((first >= 0.5) & (second >= 0.5)).sum())
    neither = len(cases) - both - b - c

    def interval(alpha: float) -> Interval:
        return newcombe_paired(both, b, c, neither, alpha)

    effect = ("discordant pairs", float(b + c))
    estimate = float((second - first).mean())
    return Change(
        DIFFERENCE, estimate, interval, tests.mcnemar(b, c), effect, "exact McNemar", (len(cases),)
    )


def rates(base: Sample, cand: Sample) -> Change:
    """Fisher's exact test with Newcombe's interval; clusters by their effective size."""
    n1, n2 = base.n, cand.n
    if not n1 or not n2:
        raise NoIntervalError(f"no trials on one side ({n1} and {n2})")
    e1, e2 = (effective_size(each.values, each.clusters()) for each in (base, cand))
    p1, p2 = float(base.values.mean()), float(cand.values.mean())

    def interval(alpha: float) -> Interval:
        return newcombe(p1 * e1, e1, p2 * e2, e2, alpha)

    clustered = e1 < n1 or e2 < n2
    p = tests.fisher(round(p1 * e1), round(e1), round(p2 * e2), round(e2))
    method = "Fisher, Newcombe interval" + (" on effective sizes" if clustered else "")
    return Change(DIFFERENCE, p2 - p1, interval, p, None, method, (n1, n2))


# --- percentiles ------------------------------------------------------------------------------


def quantile_ratio(base: Sample, cand: Sample, q: float, paired: bool) -> Change:
    """The ratio of a percentile, by a bootstrap over cases; large samples by order statistics.

    Cases, with all their trials, are drawn with replacement (the same for both sides if paired).

    Raises:
        NoIntervalError: too few observations to say anything about this percentile.
    """
    needed = smallest_n(q, 0.05)
    if min(base.n, cand.n) < needed:
        raise NoIntervalError(
            f"p{q * 100:g} needs at least {needed} observations per side, has {base.n} and {cand.n}"
        )
    estimate = math.log(float(np.quantile(cand.values, q)) / float(np.quantile(base.values, q)))
    if max(base.n, cand.n) > MAX_PAIRWISE:
        return _quantile_large(base, cand, q, estimate)
    rng = np.random.default_rng(SEED)
    drawn_base, groups = _cluster_draws(base, rng, None)
    same = paired and _same_cases(base, cand)
    drawn_cand, _ = _cluster_draws(cand, rng, groups if same else None)
    logs = np.log(_weighted_quantile(cand, drawn_cand, q)) - np.log(
        _weighted_quantile(base, drawn_base, q)
    )

    def interval(alpha: float) -> Interval:
        low, high = np.quantile(logs, (alpha / 2, 1 - alpha / 2))
        return math.exp(float(low)), math.exp(float(high))

    tail = min(float((logs <= 0).mean()), float((logs >= 0).mean()))
    p = min(1.0, 2 * max(tail, 1 / RESAMPLES))
    method = f"bootstrap over cases, {RESAMPLES} resamples, seed {SEED}"
    return Change(RATIO, math.exp(estimate), interval, p, None, method, (base.n, cand.n))


def _same_cases(base: Sample, cand: Sample) -> bool:
    return base.cases is not None and cand.cases is not None and base.names == cand.names


def _cluster_draws(
    sample: Sample, rng: np.random.Generator, draws: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each value is drawn in each resample, and how often each case is."""
    cases = np.arange(sample.n) if sample.cases is None else sample.cases
    size = int(cases.max()) + 1
    if draws is None or draws.shape[1] != size:
        present = np.bincount(cases, minlength=size) > 0
        share = present / present.sum()
        draws = rng.multinomial(int(present.sum()), share, size=RESAMPLES)
    return draws[:, cases], draws


def _weighted_quantile(sample: Sample, weights: NDArray[np.int64], q: float) -> Floats:
    order = np.argsort(sample.values)
    ordered = sample.values[order]
    cumulative = np.cumsum(weights[:, order], axis=1)
    target = q * cumulative[:, -1:]
    index = (cumulative < target).sum(axis=1)
    found: Floats = ordered[np.minimum(index, ordered.size - 1)]
    return found


def _quantile_large(base: Sample, cand: Sample, q: float, estimate: float) -> Change:
    """Independent order-statistic intervals, put together by their widths (Woodruff 1952)."""
    low_b, high_b = quantile(base.values, base.clusters(), q, 0.05)
    low_c, high_c = quantile(cand.values, cand.clusters(), q, 0.05)
    z = float(stats.norm.isf(0.025))
    widths = [math.log(high / low) / (2 * z) for low, high in ((low_b, high_b), (low_c, high_c))]
    error = math.hypot(*widths)

    def interval(alpha: float) -> Interval:
        half = float(stats.norm.isf(alpha / 2)) * error
        return math.exp(estimate - half), math.exp(estimate + half)

    p = 2 * float(stats.norm.sf(abs(estimate) / error)) if error else None
    method = "order statistics"
    return Change(RATIO, math.exp(estimate), interval, p, None, method, (base.n, cand.n))
