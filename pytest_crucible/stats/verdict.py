"""Verdicts on claims and on whole experiments, as every report shows them."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_crucible.stats.claim_needs import ClaimNeeds
from pytest_crucible.stats.expression import Expectation
from pytest_crucible.stats.intervals import Interval

CONFIRMED, REJECTED, INCONCLUSIVE = "CONFIRMED", "REJECTED", "INCONCLUSIVE"
ERRORED, NOT_RUN = "ERRORED", "NOT RUN"
"""Verdicts on whole experiments: too many trials broke, or none ran."""
WORST_FIRST = (ERRORED, REJECTED, INCONCLUSIVE, CONFIRMED, NOT_RUN)
FATAL = frozenset({ERRORED, REJECTED})
"""Verdicts that fail a session and a gate, whatever their settings."""

ALPHA = 0.05
"""Error of CONFIRMED. So 299 of 299 confirm ``success_rate > 0.99``, and 298 of 298 do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on an expectation for one condition.

    Attributes:
        expectation: text of the expectation.
        condition: the condition that was judged.
        metric: path of the metric.
        verdict: CONFIRMED, REJECTED or INCONCLUSIVE; ERRORED if too many trials broke, NOT RUN if
            none ran.
        observed: the metric, in its unit; None if there is no such number.
        low, high: its bounds: that which confirms at 95 %, that which rejects at `level`. None if
            there are none. For a relative expectation, the bounds of the change against the other
            condition, as its comparison shows them: a difference or a ratio.
        bound: the number that it was compared with; None if it is unknown.
        against, change: for a relative expectation, the metric of the other condition, and the
            change from there.
        basis: the method that gave the verdict.
        reason: why the verdict is not a better one.
        note: what the bounds assume.
        needs: of an open claim on a number, the cases that decide it.
        unit: of the metric.
        scale: for a relative expectation, whether ``low`` and ``high`` are a ``ratio`` or a
            ``difference``; None for others.
        level: one-sided error of REJECTED; for a relative expectation, of either side.
        decisions: how many decisions share the false alarms with this one.
        primary: whether it decides, or is only shown.
    """

    expectation: str
    condition: str
    metric: str
    verdict: str
    observed: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    against: float | None = None
    change: float | None = None
    basis: str = ""
    reason: str | None = None
    note: str | None = None
    needs: ClaimNeeds | None = None
    unit: str = ""
    scale: str | None = None
    level: float = ALPHA
    decisions: int = 1
    primary: bool = True


def verdict_of(expectation: Expectation, interval: Interval, bound: float) -> str:
    """Return the verdict: does the claim hold at both bounds, at one, at none?"""
    low, high = interval
    least_favourable, most_favourable = (low, high) if expectation.wants_more else (high, low)
    if expectation.holds(least_favourable, bound):
        return CONFIRMED
    return INCONCLUSIVE if expectation.holds(most_favourable, bound) else REJECTED
