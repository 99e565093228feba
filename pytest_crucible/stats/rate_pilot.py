"""How many cases a change of a success rate needs, given the cases of a pilot."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.distributions import beta_isf, beta_ppf
from pytest_crucible.stats.power import MOST, Aim, Needed, rates_n
from pytest_crucible.stats.samples import Floats

_RANGE = 0.1
"""What the range of a plan leaves out on either side: it is one of 80 %."""
Plan = Callable[[float, float, Aim, float | None], int | None]
"""From two rates, the aim and the share of discordant pairs to a number of cases."""


def quick_plan(before: float, after: float, aim: Aim, discordant: float | None) -> int | None:
    """Return the cases by the normal form, which takes no time: for rows, and where n is large."""
    cases = rates_n(before, after, aim, discordant=discordant)
    return math.ceil(cases) if cases <= MOST else None


def needed_for_rates(
    before: Floats, after: Floats | None, size: float, aim: Aim, plan: Plan
) -> Needed | None:
    """Return the cases for a change of a success rate, and their range.

    The range is over what the pilot leaves uncertain (80 %, Clopper and Pearson 1934): the share of
    pairs that go the other way, or the baseline's rate.

    Args:
        before: successes (1) and failures (0) of the pilot's cases, shape ``(n,)``.
        after: those of the same cases on the second arm; None for unpaired cases.
        size: the change to find.
        aim: what is aimed at.
        plan: how a number of cases is worked out.

    Returns:
        None if more than `MOST` cases are needed.
    """
    n, rate = before.size, float(before.mean())
    if after is None:
        ends = [_within(end, size) for end in _share_interval(float(before.sum()), n)]
        plans = [plan(each, each + size, aim, None) for each in (rate, *ends)]
    else:
        step = after - before
        # What goes either way is noise, and the effect comes on top of it.
        count = float(min((step > 0).sum(), (step < 0).sum()))
        most = min(2 * rate + size, 2 - 2 * rate - size)
        shares = [count / n, *_share_interval(count, n)]
        plans = [plan(rate, rate + size, aim, min(most, 2 * each + abs(size))) for each in shares]
    cases, *others = [MOST if each is None else each for each in plans]
    return Needed(cases, min(cases, *others), max(cases, *others)) if cases < MOST else None


def _within(rate: float, size: float) -> float:
    """Return the nearest rate to which an effect can be added."""
    return min(max(rate, -min(size, 0.0)), 1 - max(size, 0.0))


def _share_interval(count: float, n: int) -> NDArray[np.float64]:
    low = beta_ppf(_RANGE, count, n - count + 1) if count else 0.0
    high = beta_isf(_RANGE, count + 1, n - count) if count < n else 1.0
    return np.array([low, high])
