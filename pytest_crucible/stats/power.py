"""Planning: how many cases find an effect, and how large an effect some cases can find."""

from __future__ import annotations

import math

from pytest_crucible.stats.distributions import normal_isf, student_isf

MOST = 100_000_000


def proportions_n(p1: float, p2: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Cases per arm to tell two proportions apart (as R's ``power.prop.test``).

    Raises:
        ValueError: the proportions are equal or no proportions, or power is no probability.
    """
    _check(power, alpha)
    if not (0 <= p1 <= 1 and 0 <= p2 <= 1) or p1 == p2:
        raise ValueError("needs two different proportions between 0 and 1")
    z_alpha, z_beta = normal_isf(alpha / 2), normal_isf(1 - power)
    spread = z_alpha * math.sqrt((p1 + p2) * (1 - (p1 + p2) / 2))
    spread += z_beta * math.sqrt(p1 * (1 - p1) + p2 * (1 - p2))
    return (spread / (p1 - p2)) ** 2


def t_power(n: float, effect: float, alpha: float = 0.05, paired: bool = False) -> float:
    """Power of a two-sided t test with ``n`` cases (per arm, or pairs).

    Args:
        n: cases per arm; for paired designs, pairs.
        effect: difference of means in standard deviations (of differences, if paired).
        alpha: level of the test.
        paired: whether cases are paired.

    R's ``power.t.test`` counts only the tail on the effect's side, and so does this.
    """
    from scipy.stats import nct

    if n < 2:
        return 0.0
    df = n - 1 if paired else 2 * (n - 1)
    noncentrality = abs(effect) * math.sqrt(n if paired else n / 2)
    critical = student_isf(alpha / 2, df)
    return float(nct.sf(critical, df, noncentrality))


def t_n(effect: float, power: float = 0.8, alpha: float = 0.05, paired: bool = False) -> int:
    """Smallest number of cases per arm (pairs, if paired) that reaches ``power``.

    Raises:
        ValueError: no effect, or power is no probability, or more than 100 million are needed.
    """
    _check(power, alpha)
    if not effect or not math.isfinite(effect):
        raise ValueError("needs an effect other than 0")
    low, high = 1, 4
    while t_power(high, effect, alpha, paired) < power:
        low, high = high, high * 2
        if high > MOST:
            raise ValueError("the effect is too small: more than 100 million cases")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if t_power(middle, effect, alpha, paired) >= power else (
            middle, high
        )  # fmt: skip
    return high


def mcnemar_n(
    first_only: float, second_only: float, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Pairs to tell paired proportions apart (Connor 1987).

    Args:
        first_only, second_only: shares of pairs in which only one side succeeds.
        power: wanted.
        alpha: level of the test.

    Raises:
        ValueError: the shares are equal or no shares.
    """
    _check(power, alpha)
    if first_only == second_only or min(first_only, second_only) < 0:
        raise ValueError("needs two different shares of at least 0")
    discordant, difference = first_only + second_only, second_only - first_only
    if discordant > 1:
        raise ValueError("the shares add up to more than 1")
    z_alpha, z_beta = normal_isf(alpha / 2), normal_isf(1 - power)
    spread = z_alpha * math.sqrt(discordant)
    spread += z_beta * math.sqrt(max(0.0, discordant - difference**2))
    return (spread / difference) ** 2


def _check(power: float, alpha: float) -> None:
    if not 0 < power < 1 or not 0 < alpha < 1:
        raise ValueError("power and alpha must lie between 0 and 1")
