"""Tests of the difference of two samples of numbers, by their names: for exploration.

Verdicts come from rows (`stats.change`), not from here. Each test compares ``a`` with ``b`` as R
and SciPy do: an estimate above 0 means more in ``a``. Arrays have the shapes ``(n,)`` and ``(m,)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pytest_crucible._errors import DefinitionError
from pytest_crucible.stats import tests
from pytest_crucible.stats.change import Floats
from pytest_crucible.stats.distributions import normal_sf, student_isf, student_sf
from pytest_crucible.stats.rank_changes import (
    MAX_PAIRWISE,
    Null,
    rank_biserial,
    rank_sums,
    signed_ranks,
    walsh_averages,
)
from pytest_crucible.stats.tests import (
    ALTERNATIVES,
    GREATER,
    LESS,
    TWO_SIDED,
    Alternative,
    Tails,
    p_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignificanceResult:
    """What a test found; ``print`` shows it in a line.

    Attributes:
        method: name of the test, as it was made: exact, with a correction, …
        statistic: name and value of its statistic.
        p: probability of a statistic that is at least as extreme, if there is no difference.
        n: number of pairs, or of values per side.
        df: degrees of freedom; None if it has none.
        estimate: name and value of the difference, in the unit of the values; None if it has none.
        low, high: confidence interval of the estimate; infinite on the side that a one-sided
            alternative leaves open. None if there is none.
        effect: name and value of an effect size, which does not depend on units.
        alternative: ``two-sided``, ``greater`` or ``less``.
    """

    method: str
    statistic: tuple[str, float]
    p: float
    n: tuple[int, ...]
    df: float | None = None
    estimate: tuple[str, float] | None = None
    low: float | None = None
    high: float | None = None
    effect: tuple[str, float] | None = None
    alternative: Alternative = TWO_SIDED

    def __str__(self) -> str:
        facts = ["{} = {:.4g}".format(*self.statistic)]
        facts += [] if self.df is None else [f"df = {self.df:.4g}"]
        facts.append(f"p = {self.p:.3g}" if self.p >= 1e-4 else "p < 0.0001")
        if self.estimate is not None:
            interval = "" if self.low is None else f" [{self.low:.4g}, {self.high:.4g}]"
            facts.append("{} {:.4g}".format(*self.estimate) + interval)
        facts += [] if self.effect is None else ["{} {:.3g}".format(*self.effect)]
        facts.append(f"n = {' + '.join(map(str, self.n))}")
        side = "" if self.alternative == TWO_SIDED else f", {self.alternative}"
        return f"{self.method}{side}: {', '.join(facts)}"


def errors_of(alternative: Alternative, confidence: float) -> tuple[float, float]:
    """Return the errors of the lower and of the upper bound of an interval.

    Raises:
        DefinitionError: there is no such alternative, or the confidence is no share.
    """
    if alternative not in ALTERNATIVES:
        raise DefinitionError(
            f"alternative={alternative!r} is not one of {', '.join(ALTERNATIVES)}"
        )
    if not 0 < confidence < 1:
        raise DefinitionError(f"confidence={confidence!r} is not between 0 and 1")
    error = 1 - confidence
    return {TWO_SIDED: (error / 2, error / 2), GREATER: (error, 0.0), LESS: (0.0, error)}[
        alternative
    ]


def t_test(
    a: Floats,
    b: Floats,
    *,
    paired: bool = False,
    alternative: Alternative = TWO_SIDED,
    confidence: float = 0.95,
) -> SignificanceResult:
    """Test the difference of means: Student's t on pairs (Student 1908), or Welch's (Welch 1947).

    Raises:
        DefinitionError: there are too few values, their numbers differ, or nothing varies.
    """
    errors = errors_of(alternative, confidence)
    if min(a.size, b.size) < 2:
        raise DefinitionError(f"t_test needs two values a side, not {a.size} and {b.size}")
    n: tuple[int, ...] = (a.size, b.size)
    if paired:
        found = _differences("t_test(paired=True)", a, b)
        mean, spread = float(found.mean()), float(found.std(ddof=1))
        error, df, n = spread / math.sqrt(a.size), a.size - 1.0, (a.size,)
        method, effect = "paired t test", "Cohen's d_z"
    else:
        v1, v2 = float(a.var(ddof=1)), float(b.var(ddof=1))
        mean, spread = float(a.mean() - b.mean()), math.sqrt((v1 + v2) / 2)
        error = math.sqrt(v1 / a.size + v2 / b.size)
        df = tests.welch_df(v1 / a.size, a.size - 1, v2 / b.size, b.size - 1) if error else 0.0
        method, effect = "Welch's t test", "Cohen's d"
    if not error:
        raise DefinitionError("t_test: nothing varies, so there is no spread to measure")
    t = mean / error
    below, above = (student_isf(each, df) if each else math.inf for each in errors)
    return SignificanceResult(
        method=method,
        statistic=("t", t),
        p=p_of((student_sf(-t, df), student_sf(t, df)), alternative),
        n=n,
        df=df,
        estimate=("mean difference", mean),
        low=mean - below * error,
        high=mean + above * error,
        effect=(effect, mean / spread),
        alternative=alternative,
    )


def wilcoxon_signed_rank(
    a: Floats, b: Floats, *, alternative: Alternative = TWO_SIDED, confidence: float = 0.95
) -> SignificanceResult:
    """Test whether the differences of pairs lie around 0: signed ranks (Wilcoxon 1945).

    The statistic is V, the sum of the ranks of the positive differences; zeros are left out. Exact,
    through ties, for up to `tests.EXACT_PAIRS` pairs. The estimate is the pseudo-median of the
    differences (Hodges and Lehmann 1963).

    Raises:
        DefinitionError: there is no value, or the numbers of values differ.
    """
    from scipy.stats import rankdata

    errors = errors_of(alternative, confidence)
    found = _differences("wilcoxon_signed_rank", a, b)
    nonzero = found[found != 0]
    ranks = rankdata(np.abs(nonzero))
    v = float(ranks[nonzero > 0].sum())
    exact = nonzero.size <= tests.EXACT_PAIRS
    if exact:
        tails = tests.signed_rank_exact(nonzero)
    else:
        tails = _normal_tails(v, float(ranks.sum()) / 2, math.sqrt(float((ranks**2).sum()) / 4))
    shift: tuple[float | None, ...] = None, None, None
    if found.size <= MAX_PAIRWISE:
        shift = _shift(walsh_averages(found), signed_ranks(found.size), errors)
    return SignificanceResult(
        method=f"Wilcoxon signed rank test, {_how(exact)}",
        statistic=("V", v),
        p=p_of(tails, alternative),
        n=(found.size,),
        estimate=None if shift[0] is None else ("pseudo-median difference", shift[0]),
        low=shift[1],
        high=shift[2],
        effect=("rank-biserial r", rank_biserial(found)),
        alternative=alternative,
    )


def mann_whitney(
    a: Floats, b: Floats, *, alternative: Alternative = TWO_SIDED, confidence: float = 0.95
) -> SignificanceResult:
    """Test whether values of ``a`` tend to be larger than those of ``b`` (Mann and Whitney 1947).

    The statistic is U (R's W), the number of pairs in which ``a`` is larger; ties count a half.
    Exact, through ties, for up to `tests.EXACT_TIES_N` values a side. The estimate is the shift
    (Hodges and Lehmann 1963), the effect Cliff's delta, P(a > b) − P(a < b).

    Raises:
        DefinitionError: a side has no value.
    """
    errors = errors_of(alternative, confidence)
    if not a.size or not b.size:
        raise DefinitionError("mann_whitney: a side has no value")
    delta = tests.cliffs_delta(b, a)
    u = round((delta + 1) * a.size * b.size) / 2
    exact = max(a.size, b.size) <= tests.EXACT_TIES_N
    if exact:
        tails = tests.rank_sum_exact(a, b)
    else:
        tails = _normal_tails(u, a.size * b.size / 2, _spread_of_u(a, b))
    shift: tuple[float | None, ...] = None, None, None
    if max(a.size, b.size) <= MAX_PAIRWISE:
        shift = _shift(np.subtract.outer(a, b).ravel(), rank_sums(a.size, b.size), errors)
    return SignificanceResult(
        method=f"Mann-Whitney test, {_how(exact)}",
        statistic=("U", u),
        p=p_of(tails, alternative),
        n=(a.size, b.size),
        estimate=None if shift[0] is None else ("Hodges-Lehmann shift", shift[0]),
        low=shift[1],
        high=shift[2],
        effect=("Cliff's delta", delta),
        alternative=alternative,
    )


def _differences(test: str, a: Floats, b: Floats) -> Floats:
    if a.size != b.size or not a.size:
        raise DefinitionError(f"{test} needs pairs, not {a.size} and {b.size} values")
    found: Floats = a - b
    return found


def _how(exact: bool) -> str:
    return "exact" if exact else "normal approximation"


def _normal_tails(observed: float, mean: float, spread: float) -> Tails:
    """Return the tails of a count of halves, with correction for continuity."""
    if not spread:
        return 1.0, 1.0
    return (
        normal_sf((mean - observed - 0.5) / spread),
        normal_sf((observed - mean - 0.5) / spread),
    )


def _spread_of_u(a: Floats, b: Floats) -> float:
    """Return the standard deviation of U, with ties (Lehmann 1975)."""
    n, m = a.size, b.size
    counts = np.unique(np.concatenate([a, b]), return_counts=True)[1].astype(np.float64)
    total = n + m
    tied = float((counts**3 - counts).sum()) / (total * (total - 1))
    return math.sqrt(n * m / 12 * (total + 1 - tied))


def _shift(
    shifts: Floats, null: Null, errors: tuple[float, float]
) -> tuple[float, float | None, float | None]:
    """Return the median of all shifts, and the interval that counts them from either end.

    None for an interval that so few values do not have.
    """
    ordered = np.sort(shifts)
    below, above = (null.cut(error) if error else None for error in errors)
    middle = float(np.median(ordered))
    if below == 0 or above == 0:
        return middle, None, None
    low = -math.inf if below is None else float(ordered[below - 1])
    high = math.inf if above is None else float(ordered[ordered.size - above])
    return middle, low, high
