"""The exact power of comparisons of success rates: from the distribution of the counts.

With few cases, or rates at 0 or 1, normal forms are poor. Here a verdict is worked out for every
count. Its bounds are those of Gaffke (2005), which for successes and failures are Beta and
Dirichlet distributions in closed form; unpaired they are melded (Fay, Proschan and Brittain 2015).
The end point has the weight of half a case, as in comparisons (the mid-p of Lancaster 1961).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.bounded_changes import END_WEIGHT
from pytest_crucible.stats.distributions import normal_isf
from pytest_crucible.stats.gaffke import quadrature

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TINY = 1e-9
_REACH = 4.5
"""Counts further than so many standard deviations from their mean do not matter for a plan."""

_MOST_COUNTS = 50
"""Of more counts every second, third … stands for its neighbours."""


def unpaired_p(
    before: Ints, cases_before: int, after: Ints, cases_after: int, margin: float
) -> Floats:
    """Return the one-sided p of "the rate fell by at most the margin".

    P(lower − upper ≤ margin) of the rates' two confidence distributions.

    Args:
        before, after: numbers of successes, shape ``(m,)``.
        cases_before, cases_after: numbers of cases.
        margin: fall of the rate, between −1 and 1.

    Returns:
        Shape ``(m,)``.
    """
    from scipy.special import betaincc, betaincinv

    quantiles, shares = quadrature()
    a, b = before[:, None].astype(float), after[:, None].astype(float)
    low = betaincinv(np.maximum(a, _TINY), cases_before - a + END_WEIGHT, quantiles[None])
    low = np.where(a == 0, 0.0, low) - margin
    above = betaincc(b + END_WEIGHT, np.maximum(cases_after - b, _TINY), np.clip(low, 0, 1))
    above = np.where((b == cases_after) & (low <= 1), 1.0, above)
    above = np.where(low <= 0, 1.0, np.where(low > 1, 0.0, above))
    return np.asarray(above @ shares, dtype=np.float64)


def paired_p(worse: Ints, better: Ints, cases: int, margin: float) -> Floats:
    """Return the one-sided p of "the rate fell by at most the margin", from pairs.

    With margin 0 and a whole end point it is the exact McNemar test.

    Args:
        worse, better: numbers of pairs of which only the first, only the second succeeds;
            shape ``(m,)``.
        cases: number of pairs.
        margin: fall of the rate, between −1 and 1.

    Returns:
        Shape ``(m,)``.
    """
    from scipy.special import betainc, betaincc, betaincinv

    quantiles, shares = quadrature()
    w, b = worse[:, None].astype(float), better[:, None].astype(float)
    alike = cases - w - b
    gained = betaincinv(b + END_WEIGHT, np.maximum(w + alike, _TINY), quantiles[None])
    # Of the rest a share of `lost` got worse; the fall is lost · (1 − gained) − gained.
    lost = np.clip((margin + gained) / np.maximum(1 - gained, _TINY), 0, 1)
    within = betainc(np.maximum(w, _TINY), np.maximum(alike, _TINY), lost)
    found = np.where(w == 0, 1.0, within) @ shares
    # Without pairs that are alike, all the rest is lost: a step, which no quadrature follows.
    step = betaincc(b + END_WEIGHT, np.maximum(w, _TINY), np.clip((1 - margin) / 2, 0, 1))
    found = np.where((alike == 0) & (w > 0), step, found[:, None])[:, 0]
    return np.asarray(found, dtype=np.float64)


def exact_power(
    cases: int,
    before: float,
    after: float,
    margin: float,
    level: float,
    *,
    discordant: float | None = None,
) -> float:
    """Return the probability that a change of rates beyond the margin is found.

    Args:
        cases: cases per side, or pairs.
        before, after: the true rates.
        margin: as a difference of rates.
        level: one-sided level.
        discordant: share of pairs that succeed on one side only; None for unpaired cases.
    """
    from scipy.special import bdtr, bdtrc

    if after > before:  # a rise of successes is a fall of failures
        before, after = 1 - before, 1 - after
    if discordant is None:
        likely, weights = _likely(cases, before)
        most = _most_after(likely, cases, cases, margin, level)
        found = np.where(most < 0, 0.0, bdtr(np.maximum(most, 0), cases, after))
        return float(weights @ found)
    gains = max(0.0, (discordant - (before - after)) / 2)
    losses = discordant - gains
    likely, weights = _likely(cases, gains)
    least = _least_worse(likely, cases, margin, level)
    share = min(1.0, losses / (1 - gains))
    rest = cases - likely
    missed = np.minimum(least - 1, rest)
    found = np.where(missed >= rest, 0.0, bdtrc(np.minimum(missed, rest - 1), rest, share))
    return float(weights @ np.where(least == 0, 1.0, found))


def _likely(cases: int, rate: float) -> tuple[Ints, Floats]:
    """Return the likely counts of a binomial distribution, and their probabilities."""
    from scipy.special import bdtr

    reach = _REACH * math.sqrt(cases * rate * (1 - rate)) + 2
    low = max(0, math.floor(cases * rate - reach)) if rate < 1 else cases
    high = min(cases, math.ceil(cases * rate + reach)) if rate > 0 else 0
    counts = np.arange(low, high + 1)
    counts = counts[:: math.ceil(counts.size / _MOST_COUNTS)]
    weights = bdtr(counts, cases, rate) - np.where(counts > 0, bdtr(counts - 1, cases, rate), 0.0)
    return counts, weights / weights.sum()


def _first(true_from: Callable[[Ints], NDArray[np.bool_]], size: int, most: int) -> Ints:
    """Return, for each of ``size`` rows, the smallest count to ``most`` that fulfils, or most + 1.

    Args:
        true_from: of counts, shape ``(size,)``; once true it stays true as a count grows.
        size: number of rows.
        most: the largest count.
    """
    low, high = np.full(size, -1), np.full(size, most + 1)
    while (high - low > 1).any():
        middle = (low + high) // 2
        inside = np.clip(middle, 0, most)
        fulfilled = true_from(inside) & (middle >= 0)
        high = np.where(fulfilled & (high - low > 1), middle, high)
        low = np.where(~fulfilled & (high - low > 1), middle, low)
    return high


def _most_after(
    before: Ints, cases_before: int, cases_after: int, margin: float, level: float
) -> Ints:
    """Return the largest number of successes after each count that is found; −1 for none."""

    def found(failures: Ints) -> NDArray[np.bool_]:
        after = cases_after - failures
        return unpaired_p(before, cases_before, after, cases_after, margin) <= level

    return np.asarray(cases_after - _first(found, before.size, cases_after), dtype=np.int64)


def _least_worse(better: Ints, cases: int, margin: float, level: float) -> Ints:
    """Return the smallest number of pairs that got worse that is found; above the rest for none."""

    def found(worse: Ints) -> NDArray[np.bool_]:
        fitting = np.minimum(worse, cases - better)
        return (paired_p(fitting, better, cases, margin) <= level) & (worse <= cases - better)

    beyond = _first(found, better.size, cases)
    return np.where(beyond > cases - better, cases + 1, beyond)


@dataclass(frozen=True, slots=True)
class FoundFall:
    """Which fall of a success rate a row would find.

    Attributes:
        count: so few successes, or so many pairs that got worse, are found.
        seen: the fall of the rate that this is.
        true: the true fall that is found with the power.
    """

    count: int
    seen: float
    true: float


def paired_fall(
    cases: int, margin: float, level: float, power: float = 0.8, better: int = 0
) -> FoundFall | None:
    """Return the smallest fall that a row of pairs would find.

    In place of `minimal_effect` where few cases, or none, differ.

    Args:
        cases: number of pairs.
        margin: as a difference of rates.
        level: one-sided level of the row.
        power: probability of finding the true fall.
        better: number of pairs that got better, taken as given.

    Returns:
        None if not even all other pairs getting worse would be found.
    """
    count = int(_least_worse(np.array([better]), cases, margin, level)[0])
    if count > cases - better:
        return None
    share = _rate_reaching(count, cases - better, power)
    return FoundFall(count, (count - better) / cases, (share * (cases - better) - better) / cases)


def unpaired_fall(
    successes: int,
    cases_before: int,
    cases_after: int,
    margin: float,
    level: float,
    power: float = 0.8,
) -> FoundFall | None:
    """Return the smallest fall that a row of unpaired cases would find, at the baseline's rate.

    Arguments and result as for `paired_fall`.

    Args:
        successes: of the baseline.
        cases_before, cases_after: cases of baseline and candidate.
        margin: as a difference of rates.
        level: one-sided level of the row.
        power: probability of finding the true fall.
    """
    before = np.array([successes])
    most = int(_most_after(before, cases_before, cases_after, margin, level)[0])
    if most < 0:
        return None
    rate = successes / cases_before
    failing = _rate_reaching(cases_after - most, cases_after, power)
    seen, reached = rate - most / cases_after, rate - (1 - failing)
    # The next run's baseline varies, too, by as much as its own rate tells.
    varies = normal_isf(1 - power) ** 2 * rate * (1 - rate) / cases_before
    true = seen + math.copysign(math.sqrt((reached - seen) ** 2 + varies), reached - seen)
    return FoundFall(most, seen, min(true, rate))


def _rate_reaching(count: int, cases: int, power: float) -> float:
    """Return the rate with which at least ``count`` of ``cases`` happen with this probability."""
    from scipy.special import betaincinv

    return 0.0 if count == 0 else float(betaincinv(count, cases - count + 1, power))
