"""Planning: the number of cases that a test needs to find an effect, and the power of a test."""

from __future__ import annotations

import math

from pytest_crucible.stats.distributions import normal_isf, student_isf

MOST = 100_000_000


def proportions_n(p1: float, p2: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the cases per arm that tell two proportions apart (as R's ``power.prop.test``).

    Args:
        p1, p2: the proportions, between 0 and 1.
        power: probability of finding the difference.
        alpha: two-sided level of the test.

    Returns:
        The number of cases, not rounded.

    Raises:
        ValueError: the proportions are equal, or an argument is not between 0 and 1.
    """
    _check(power, alpha)
    if not (0 <= p1 <= 1 and 0 <= p2 <= 1) or p1 == p2:
        raise ValueError("needs two different proportions between 0 and 1")
    z_alpha, z_beta = normal_isf(alpha / 2), normal_isf(1 - power)
    spread = z_alpha * math.sqrt((p1 + p2) * (1 - (p1 + p2) / 2))
    spread += z_beta * math.sqrt(p1 * (1 - p1) + p2 * (1 - p2))
    return (spread / (p1 - p2)) ** 2


def t_power(n: float, effect: float, alpha: float = 0.05, paired: bool = False) -> float:
    """Return the power of a two-sided t test.

    Like R's ``power.t.test``, this counts only the tail on the side of the effect.

    Args:
        n: cases per arm; for paired designs, pairs.
        effect: difference of means in standard deviations (of differences, if paired).
        alpha: two-sided level of the test.
        paired: whether cases are paired.
    """
    from scipy.stats import nct

    if n < 2:
        return 0.0
    df = n - 1 if paired else 2 * (n - 1)
    noncentrality = abs(effect) * math.sqrt(n if paired else n / 2)
    critical = student_isf(alpha / 2, df)
    return float(nct.sf(critical, df, noncentrality))


def t_n(effect: float, power: float = 0.8, alpha: float = 0.05, paired: bool = False) -> int:
    """Return the smallest number of cases per arm (pairs, if paired) that reaches ``power``.

    Arguments as for `t_power`.

    Raises:
        ValueError: the effect is 0 or not finite, power or alpha is not between 0 and 1, or more
            than 100 million cases are needed.
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
    """Return the number of pairs that tells paired proportions apart (Connor 1987).

    Args:
        first_only, second_only: shares of pairs in which only this side succeeds.
        power: probability of finding the difference.
        alpha: two-sided level of the test.

    Returns:
        The number of pairs, not rounded.

    Raises:
        ValueError: the shares are equal, below 0, or add up to more than 1; or power or alpha is
            not between 0 and 1.
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
