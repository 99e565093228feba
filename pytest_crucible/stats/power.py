"""Planning: how many cases the verdict of a comparison needs, and which change it can find.

The verdict compares the interval of a change with a margin, at the level that is left for one of
several decisions. So an effect outside the margin is REGRESSED or IMPROVED when the near bound of
the interval clears the margin, and one inside it is EQUIVALENT when both bounds stay within. An
effect at the margin is never found, by any number of cases.

`rate_power` has the exact form for rates of few cases, `gate_power` plans claims on numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pytest_crucible.stats.distributions import normal_isf, student_isf
from pytest_crucible.stats.rate_power import exact_power

MOST = 10_000_000
"""A plan with more cases than this is out of reach."""
FARTHEST = 20
"""A pilot of so many times fewer cases does not tell how many are needed."""
RANK_EFFICIENCY = 3 / math.pi
"""Cases that t needs per case that a rank test needs, on normal data (Hodges and Lehmann 1956)."""
TOO_CLOSE = "the change seen is too close to your margin; more cases will not decide it"
_EXACT_UP_TO = 1_000
"""The normal form of rates is refined up to so many cases, where it errs by more than a few %."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What a plan aims at.

    Attributes:
        margin: the largest change that does not matter, on the scale of the effect.
        decisions: number of decisions that share the error of the session.
        power: probability of reaching the verdict.
        alpha: error of both sides together, of all decisions.
    """

    margin: float = 0.05
    decisions: int = 1
    power: float = 0.8
    alpha: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what no plan can aim at.

        Raises:
            ValueError: an attribute is out of its range.
        """
        if not (0 < self.power < 1 and 0 < self.alpha < 1):
            raise ValueError("power and alpha must lie between 0 and 1")
        if not (self.margin >= 0 and math.isfinite(self.margin)):
            raise ValueError(f"the margin {self.margin:g} is not a number of at least 0")
        if self.decisions < 1:
            raise ValueError(f"{self.decisions} decisions: needs at least 1")
        if self.level < 1e-12:
            raise ValueError("alpha is too small for so many decisions")

    @property
    def level(self) -> float:
        """The one-sided level of each decision: half of alpha over their number (Bonferroni)."""
        return self.alpha / 2 / self.decisions

    def finds(self, effect: float) -> bool:
        """Whether the verdict on this effect is a change: it lies outside the margin."""
        return abs(effect) > self.margin and self.gap(effect) > 0

    def gap(self, effect: float) -> float:
        """Distance of an effect from the margin, which the interval has to fit into.

        What rounding leaves of a distance (0.9 − 0.85 against 0.05) is none.
        """
        gap = abs(abs(effect) - self.margin)
        return gap if gap > 1e-9 * max(abs(effect), self.margin) else 0.0


# --- means and ratios -------------------------------------------------------------------------


def means_power(
    n: float, effect: float, sd: float, aim: Aim, *, paired: bool = True, ranks: bool = False
) -> float:
    """Return the probability that ``n`` cases reach the verdict on a difference of means.

    Noncentral t at the margin. With margin 0 and one decision this is R's ``power.t.test``. For
    EQUIVALENT it is the sum of what both one-sided tests lack (Schuirmann 1987), a lower bound.

    Args:
        n: cases per side; pairs, if paired.
        effect: the true difference, on the scale of the margin.
        sd: standard deviation of the differences of pairs; unpaired: of the numbers of a side.
        aim: margin, decisions and level.
        paired: whether cases are compared in pairs.
        ranks: whether a rank test decides where it can reach the level, as for latencies.
    """
    if ranks and _ranks_can(n, aim.level, paired):
        n *= RANK_EFFICIENCY
    if n < 2 or 4.0**-n > aim.level:  # the smallest p of t that comparisons believe
        return 0.0
    error = sd / math.sqrt(n if paired else n / 2)
    df = n - 1 if paired else 2 * (n - 1)
    if aim.finds(effect):
        return _t_power(aim.gap(effect) / error, df, aim.level)
    sides = (aim.margin - effect) / error, (aim.margin + effect) / error
    return max(0.0, sum(_t_power(side, df, aim.level) for side in sides) - 1)


def _t_power(noncentrality: float, df: float, level: float) -> float:
    from scipy.special import nctdtr

    critical = student_isf(level, df)
    if noncentrality - critical > 30:  # far out, where nctdtr gives no number
        return 1.0
    return 1 - float(nctdtr(df, noncentrality, critical))


def _ranks_can(n: float, level: float, paired: bool) -> bool:
    """Whether the smallest p of a rank test with ``n`` cases lies well below the level."""
    whole = math.floor(n)
    return whole > 50 or (2.0**-whole if paired else 1 / math.comb(2 * whole, whole)) <= level / 4


def cases_for_means(
    effect: float,
    sd: float,
    aim: Aim,
    *,
    paired: bool = True,
    ranks: bool = False,
    width: float | None = None,
) -> int | None:
    """Return the smallest number of cases per side (pairs, if paired) that reaches the power.

    Arguments as for `means_power`, and ``width``: of the range of the numbers, if both its ends are
    known. Then bounds count half a case at the far end (Gaffke's, `bounded_changes`), which moves
    them by that case's share: about far / gap pairs make up for it. Without them, plans for scores
    found the effect in 67 to 73 % instead of 80 %.

    Returns:
        None if the effect lies at the margin, or more than `MOST` cases are needed.

    Raises:
        ValueError: the effect is not finite, or the deviation is not above 0.
    """
    if not math.isfinite(effect):
        raise ValueError(f"the effect {effect:g} is not a number")
    if not (sd > 0 and math.isfinite(sd)):
        raise ValueError(f"a deviation of {sd:g} plans nothing: it must be above 0")
    least = 2 if aim.finds(effect) else cases_for_guard(aim)
    found = smallest(
        lambda n: means_power(n, effect, sd, aim, paired=paired, ranks=ranks) >= aim.power, least
    )
    if found is None or width is None or not aim.finds(effect):
        return found
    far = (width + aim.margin) / aim.gap(effect)
    return found + math.ceil(far if paired else 2 * far)


def cases_for_ratio(
    ratio: float, sd_log: float, aim: Aim, *, paired: bool = True, ranks: bool = True
) -> int | None:
    """Return the cases for a change by a factor, as those of latencies.

    Args:
        ratio: the true factor: 1.2 is 20 % more.
        sd_log: standard deviation of the logarithms of the ratios of pairs; unpaired: of the
            logarithms of the numbers of a side.
        aim: its margin is relative: 0.05 stands for factors between 1/1.05 and 1.05.
        paired: whether cases are compared in pairs.
        ranks: whether a rank test decides where it can.

    Raises:
        ValueError: the ratio is not above 0, or the deviation is not above 0.
    """
    if not (ratio > 0 and math.isfinite(ratio)):
        raise ValueError(f"the ratio {ratio:g} is not above 0")
    return cases_for_means(math.log(ratio), sd_log, of_logs(aim), paired=paired, ranks=ranks)


def of_logs(aim: Aim) -> Aim:
    """Return the same aim with its relative margin on the scale of logarithms."""
    return Aim(math.log1p(aim.margin), aim.decisions, aim.power, aim.alpha)


def cases_for_guard(aim: Aim) -> int:
    """Return the cases without which EQUIVALENT is never said, however alike the sides are.

    If a share u of cases differs, ``n`` cases all look alike with probability (1 − u)ⁿ. So unseen
    differences may be as common as u = 1 − levelⁿ⁻¹, the rule of three (Hanley and
    Lippman-Hand 1983), and u must lie below the margin.
    """
    if not 0 < aim.margin < 1:
        return 2 if aim.margin else MOST + 1
    return max(2, math.floor(math.log(aim.level) / math.log1p(-aim.margin)) + 1)


# --- rates ------------------------------------------------------------------------------------


def cases_for_rates(
    before: float, after: float, aim: Aim, *, discordant: float | None = None
) -> int | None:
    """Return the cases per side (pairs, if paired) for the verdict on two rates.

    Up to 1,000 cases exactly, from the distribution of the counts (`rate_power`); beyond by the
    normal form `rates_n`. In simulations it needs no correction: the bounds that comparisons use
    give half the weight of a case to the end point, unlike those of Clopper and Pearson.

    Args:
        before, after: the true rates, between 0 and 1.
        aim: its margin is a difference of rates: 0.05 is 5 percentage points.
        discordant: share of pairs that succeed on one side only; None for unpaired cases.

    Returns:
        None if the difference lies at the margin, or more than `MOST` cases are needed.

    Raises:
        ValueError: a rate is not between 0 and 1, or the share does not go with the rates.
    """
    normal = rates_n(before, after, aim, discordant=discordant)
    if not aim.finds(after - before):
        if normal > MOST:
            return None
        return max(math.ceil(normal), cases_for_guard(aim))
    if normal > _EXACT_UP_TO:
        return math.ceil(normal) if normal <= MOST else None
    return smallest(
        lambda n: (
            exact_power(n, before, after, aim.margin, aim.level, discordant=discordant) >= aim.power
        ),
        2,
        guess=math.ceil(normal),
    )


def rates_n(before: float, after: float, aim: Aim, *, discordant: float | None = None) -> float:
    """Return the cases by the normal form, not rounded; infinity at the margin.

    ((z_α √s₀ + z_β √s₁) / gap)², where s₁ is the variance of a difference and s₀ that variance with
    the rates moved to a difference as large as the margin. With margin 0 it is R's
    ``power.prop.test``, for pairs Connor (1987). Where everything happens at 0 or 1 it is on the
    safe side.

    Arguments and errors as for `cases_for_rates`.
    """
    if not (0 <= before <= 1 and 0 <= after <= 1):
        raise ValueError(f"{before:g} and {after:g} are no two rates between 0 and 1")
    difference = abs(after - before)
    if discordant is None:
        middle = (before + after) / 2
        moved = min(1.0, middle + aim.margin / 2), max(0.0, middle - aim.margin / 2)
        at_margin = sum(rate * (1 - rate) for rate in moved)
        variance = before * (1 - before) + after * (1 - after)
    else:
        _check_discordant(before, after, discordant)
        at_margin = max(0.0, discordant - aim.margin**2)
        variance = max(0.0, discordant - difference**2)
    gap = aim.gap(difference)
    if not gap:
        return math.inf
    missed = 1 - aim.power
    z_beta = normal_isf(missed if aim.finds(difference) or difference else missed / 2)
    return (
        (normal_isf(aim.level) * math.sqrt(at_margin) + z_beta * math.sqrt(variance)) / gap
    ) ** 2


def discordant_shares(before: float, after: float) -> tuple[float, float]:
    """Return the smallest share of discordant pairs that two rates allow, and that by chance.

    The smallest: no case changes but in the direction of the rate. By chance: whether a case
    succeeds on one side says nothing about the other. Real cases lie between, as hard ones tend to
    fail on both sides.
    """
    return abs(after - before), before * (1 - after) + after * (1 - before)


def _check_discordant(before: float, after: float, discordant: float) -> None:
    least, most = abs(after - before), min(before + after, 2 - before - after)
    if not least - 1e-9 <= discordant <= most + 1e-9:
        raise ValueError(
            f"with rates of {before:g} and {after:g} the share of discordant pairs lies between "
            f"{least:.3g} and {most:.3g}, not at {discordant:g}"
        )


# --- the change that a row could find; the cases that a pilot asks for ------------------------


def minimal_effect(error: float, df: float | None, aim: Aim) -> float:
    """Return the smallest effect that is found with the power: the MDE of a row (Bloom 1995).

    δ + (t_level + t_power) · standard error, on the scale of the margin.

    Args:
        error: standard error of the change.
        df: its degrees of freedom; None for the normal distribution.
        aim: margin, decisions, power.
    """
    return aim.margin + _reach(df, aim) * error


def _reach(df: float | None, aim: Aim) -> float:
    if df is None:
        return normal_isf(aim.level) + normal_isf(1 - aim.power)
    return student_isf(aim.level, df) + student_isf(1 - aim.power, df)


@dataclass(frozen=True, slots=True)
class Needed:
    """The cases that a pilot asks for.

    Attributes:
        cases: the number of cases, which reaches the power on average over pilots.
        low, high: the numbers at the ends of the 80 % interval of the pilot's deviation.
    """

    cases: int
    low: int
    high: int


def needed(
    sd: float, pilot: int, plan: Callable[[float], int | None], aim: Aim, *, paired: bool = True
) -> Needed | None:
    """Return how many cases find a named effect, given the deviation that a pilot saw.

    The deviation of a pilot is uncertain, so it is enlarged by (t + t) / (z + z), which keeps the
    power on average. The range is that of the χ² interval of the deviation (80 %).

    Args:
        sd: the deviation that the pilot saw.
        pilot: cases of the pilot, per side, or pairs; at least 2.
        plan: from a deviation to a number of cases, e.g. `cases_for_means` of a named effect.
        aim: what ``plan`` aims at.
        paired: whether the pilot's cases were compared in pairs.

    Returns:
        None if it takes more than `FARTHEST` times the pilot, see `TOO_CLOSE`.
    """
    from scipy.special import gammaincinv

    df = pilot - 1 if paired else 2 * (pilot - 1)
    cases = plan(sd * _reach(df, aim) / _reach(None, aim))
    if cases is None or cases > FARTHEST * pilot:
        return None
    ends = [plan(sd * math.sqrt(df / (2 * float(gammaincinv(df / 2, p))))) for p in (0.9, 0.1)]
    low, high = (MOST if end is None else end for end in ends)
    return Needed(cases, min(low, cases), max(high, cases))


def smallest(enough: Callable[[int], bool], least: int, guess: int | None = None) -> int | None:
    """Return the smallest number from ``least`` on that is enough; None beyond `MOST`.

    What counts decide goes up and down a little as their number grows: one of its steps up is
    found.

    Args:
        enough: whether a number is; once true, it stays true but for such steps.
        least: the smallest number to try.
        guess: a number to start from, where it is known about.
    """
    low, high = least - 1, max(least, guess or 0)
    while high <= MOST and not enough(high):
        low, high = high, high * 2
    if high > MOST:
        return None
    while low < least and high > least:  # the first was enough, so look below it
        lower = max(least, high * 3 // 4) if guess else least
        if not enough(lower):
            low = lower
        else:
            high = lower
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
