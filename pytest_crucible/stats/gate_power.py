"""Planning of claims on numbers: ``success_rate > 0.9``, ``score.mean > 0.8``.

A claim is CONFIRMED when the near bound, at a one-sided 5 %, clears the threshold, and REJECTED
when the bound on the other side misses it, at the level of the session's decisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.distributions import normal_isf
from pytest_crucible.stats.power import MOST, Aim, means_power, smallest

Counts = NDArray[np.int64]

CONFIRMED, REJECTED = "CONFIRMED", "REJECTED"
UNBOUNDED_LEAST = 60
"""Cases without which the mean of numbers without an upper limit has no upper bound."""
_SMALL = 20_000


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim on a number, and what is true.

    Attributes:
        threshold: what the number is compared with.
        truth: the true value.
        wants_more: whether the number has to be above the threshold.
        aim: power and alpha: CONFIRMED at alpha one-sided, REJECTED at its ``level``.
    """

    threshold: float
    truth: float
    wants_more: bool
    aim: Aim

    def __post_init__(self) -> None:
        """Refuse a truth that neither confirms nor rejects.

        Raises:
            ValueError: it equals the threshold, or is not a number.
        """
        if not math.isfinite(self.truth) or self.truth == self.threshold:
            raise ValueError(
                f"a true value of {self.truth:g} at a threshold of {self.threshold:g} decides "
                "nothing: give one that differs"
            )

    @property
    def above(self) -> bool:
        """Whether the truth lies above the threshold."""
        return self.truth > self.threshold

    @property
    def outcome(self) -> str:
        """The verdict that enough cases bring: CONFIRMED or REJECTED."""
        return CONFIRMED if self.above == self.wants_more else REJECTED

    @property
    def level(self) -> float:
        """The one-sided level of the outcome."""
        return self.aim.alpha if self.outcome == CONFIRMED else self.aim.level


@dataclass(frozen=True, slots=True)
class RatePlan:
    """The cases for a claim on a rate.

    Attributes:
        cases: so many, and any larger number, reach the power.
        all_alike: so many are enough if all of them pass, or none does.
        exceptions: so many of ``cases`` may do the opposite.
    """

    cases: int
    all_alike: int
    exceptions: int


def cases_for_rate_gate(claim: Claim) -> RatePlan | None:
    """Return the cases for a claim on a rate, by Clopper and Pearson's bound.

    Exact: the power of binomial counts goes up and down with the number of cases, like a saw, and
    this is the number from which on it stays (Chernick and Liu 2002).

    Returns:
        None if more than `MOST` cases are needed.

    Raises:
        ValueError: threshold or truth is no rate.
    """
    if not (0 < claim.threshold < 1 and 0 <= claim.truth <= 1):
        raise ValueError(
            f"a rate of {claim.truth:g} at a threshold of {claim.threshold:g}: the rate must lie "
            "between 0 and 1, and the threshold inside"
        )
    # Counted are successes where the truth is above the threshold, else failures.
    threshold, truth = claim.threshold, claim.truth
    if not claim.above:
        threshold, truth = 1 - threshold, 1 - truth
    all_alike = math.ceil(math.log(claim.level) / math.log(threshold) - 1e-12)
    gap = truth - threshold
    spread = normal_isf(claim.level) * math.sqrt(threshold * (1 - threshold))
    spread += normal_isf(1 - claim.aim.power) * math.sqrt(truth * (1 - truth))
    about = max((spread / gap) ** 2, all_alike)
    if about > MOST:
        return None
    # One count more or less is as much as 1 / gap cases.
    first = all_alike if about < _SMALL else math.floor(about - 10 / gap - 0.02 * about)
    last = math.ceil(about + 10 / gap + (about if about < _SMALL else 0.02 * about)) + 100
    sizes = np.arange(max(all_alike, first), last + 1)
    needed = _counts_needed(sizes, threshold, claim.level)
    short = np.flatnonzero(_exceeds(needed - 1, sizes, truth) < claim.aim.power)
    place = int(short[-1]) + 1 if short.size else 0
    cases = int(sizes[place])
    return RatePlan(cases, all_alike, cases - int(needed[place]))


def _counts_needed(sizes: Counts, threshold: float, level: float) -> Counts:
    """Return the smallest count of each size whose lower bound clears the threshold."""
    from scipy.special import bdtrik

    counts = np.ceil(bdtrik(1 - level, sizes, threshold)).astype(np.int64) + 1
    # The inverse is found to some digits only: put it right by one.
    counts = np.where(_exceeds(counts - 2, sizes, threshold) <= level, counts - 1, counts)
    return np.where(_exceeds(counts - 1, sizes, threshold) > level, counts + 1, counts)


def _exceeds(counts: Counts, sizes: Counts, rate: float) -> NDArray[np.float64]:
    """Return P(X > count) of binomial counts."""
    from scipy.special import bdtrc

    inside = np.clip(counts, 0, np.maximum(sizes - 1, 0))
    return np.where(counts < 0, 1.0, np.where(counts >= sizes, 0.0, bdtrc(inside, sizes, rate)))


def cases_for_mean_gate(
    claim: Claim, sd: float, limits: tuple[float | None, float | None] = (None, None)
) -> int | None:
    """Return the cases for a claim on a mean, by t or, where the range has an end, Gaffke's bound.

    Both are approximated from the deviation alone: simulated power was 71 % to 98 % where 80 % was
    asked, the least for narrow, the most for skewed numbers.

    Args:
        claim: threshold and true mean.
        sd: standard deviation of the numbers.
        limits: the ends of their range; None where they have none.

    Returns:
        None if more than `MOST` cases are needed.

    Raises:
        ValueError: the deviation is not above 0, or threshold or truth lies outside the limits.
    """
    if not (sd > 0 and math.isfinite(sd)):
        raise ValueError(f"a deviation of {sd:g} plans nothing: it must be above 0")
    low, high = limits
    for value in (claim.truth, claim.threshold):
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"a mean of {value:g} lies outside its range")
    gap = abs(claim.truth - claim.threshold)
    end = low if claim.above else high
    if end is not None:
        z_beta, far = normal_isf(1 - claim.aim.power), abs(claim.threshold - end)
        return smallest(
            lambda n: _gaffke_p(n, gap - z_beta * sd / math.sqrt(n), sd, far) <= claim.level, 2
        )
    aim = Aim(0.0, 1, claim.aim.power, 2 * claim.level)
    least = 2 if claim.above else UNBOUNDED_LEAST
    return smallest(lambda n: means_power(n, gap, sd, aim) >= aim.power, least)


def _gaffke_p(n: int, gap: float, sd: float, far: float) -> float:
    """Return Gaffke's p for ``n`` numbers whose mean lies ``gap`` beyond the threshold, about.

    P(Σ Eᵢ(xᵢ − m) ≤ E₀ · far), with the sum taken for normal and E₀ exponential: the exponentially
    modified normal distribution.

    Args:
        n: number of numbers.
        gap: distance of their mean from the threshold m.
        sd: their standard deviation.
        far: distance of the threshold from the end of the range.
    """
    from scipy.special import log_ndtr, ndtr

    if gap <= 0:
        return 1.0
    total, spread = n * gap, math.sqrt(n * (sd**2 + gap**2))
    p = float(ndtr(-total / spread))
    if far:
        tail = (spread / far) ** 2 / 2 - total / far
        p += math.exp(tail + float(log_ndtr(total / spread - spread / far)))
    return p
