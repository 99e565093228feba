"""Comparison: one metric, baseline against candidate, and the verdict on its change.

The verdict compares the confidence interval of the change with a margin: a change that is certain
but smaller than the margin is no regression, nor is a change that looks large but is uncertain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_crucible.metrics.catalog import HIGHER
from pytest_crucible.stats.change import RATIO, Change, unseen_share
from pytest_crucible.stats.comparison_options import MARGIN

REGRESSED, IMPROVED = "REGRESSED", "IMPROVED"
EQUIVALENT, INCONCLUSIVE = "EQUIVALENT", "INCONCLUSIVE"
ADDED, REMOVED = "ADDED", "REMOVED"
CHANGED = "CHANGED"
"""Beyond the margin, and nobody declared which direction is better."""
NO_INTERVAL = "NO INTERVAL"
"""A plugin gave only the numbers of both sides: they decide nothing."""

WORSE, BETTER, DIFFERENT, UNSEEN = "worse", "better", "different", "unseen"
TOO_FEW, LACKING = "too few", "lacking"
"""What an INCONCLUSIVE row knows."""

POWER = 0.8
"""How often the minimal detectable effect of a row is found."""


@dataclass(frozen=True, slots=True)
class Needs:
    """How many cases find a change of twice the margin, for the worse.

    The change is named: for the change that was seen, no number could be promised.

    Attributes:
        effect: the change, on the scale of the row's.
        cases: pairs, or cases per side; None if it takes so many more that these do not tell.
        low, high: range of the number, as what varies is itself only estimated (80 %).
    """

    effect: float
    cases: int | None = None
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric, baseline against candidate.

    Attributes:
        metric: path, e.g. ``latency`` (typical latency), ``latency.p95``, ``score.mean``.
        baseline, candidate: the metric on both sides, in its unit; None if it does not exist.
        verdict: REGRESSED, IMPROVED, CHANGED, EQUIVALENT, INCONCLUSIVE, ADDED, REMOVED or
            NO INTERVAL.
        scale: whether ``change`` and its interval are a ``ratio`` or a ``difference``.
        change, low, high: the change and its interval. The intervals of all rows that decide hold
            together: see `pytest_crucible.stats.family`.
        p: two-sided p-value of "no change", corrected as the interval is: at most 0.05 if and only
            if the interval excludes "no change".
        effect: name and value of the effect size.
        n: number of pairs, or the sizes of both sides.
        margin: the margin that the interval was compared with.
        method: name of the method.
        reason: why the verdict is not a better one.
        open: of INCONCLUSIVE, which of these it is: `WORSE` or `BETTER` (maybe within the margin),
            `DIFFERENT` (the same without a direction), `UNSEEN` (no difference seen), `TOO_FEW` (no
            interval), `LACKING` (data are missing). None for other verdicts.
        mde: the minimal detectable effect, on the scale of ``change``: a change for the worse that
            would have been found in 80 % of runs. None if nothing tells how much the metric varies.
        regresses_at: of success rates, the rate up to which the candidate would be REGRESSED.
        needs: of INCONCLUSIVE rows that decide, the cases that find twice the margin.
        primary: whether the row decides, or is only shown.
        level: confidence level of the interval; 0.95 if nothing else is decided with it.
        decisions: how many decisions share the false alarms with this one.
        better: which direction is good, ``lower`` or ``higher``; None if nobody declared it.
        absolute: whether the margin is in the unit of the metric, as that of shares always is.
        width: of a metric with a range of two ends: the margin is a share of it. None without.
        unit: of the metric.
        alike: how many pairs, or observations per side, are all alike; None if they are not.
    """

    metric: str
    baseline: float | None
    candidate: float | None
    verdict: str
    scale: str = RATIO
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: tuple[str, float] | None = None
    n: tuple[int, ...] = ()
    margin: float = MARGIN
    method: str | None = None
    reason: str | None = None
    open: str | None = None
    mde: float | None = None
    regresses_at: float | None = None
    needs: Needs | None = None
    primary: bool = True
    level: float = 0.95
    decisions: int = 1
    better: str | None = None
    absolute: bool = False
    width: float | None = None
    unit: str = ""
    alike: int | None = None


def with_verdict(row: Comparison, change: Change, alpha: float) -> Comparison:
    """Return the row with the verdict that the interval of its change gives."""
    lower, upper = limits_of(row)
    if change.low > upper or change.high < lower:
        if row.better is None:
            return replace(row, verdict=CHANGED)
        better = (change.low > upper) == (row.better == HIGHER)
        return replace(row, verdict=IMPROVED if better else REGRESSED)
    inside = lower < change.low and change.high < upper
    if inside or lower == change.low == change.high == upper:  # 0 on both sides
        unseen = 0.0 if change.alike is None else unseen_share(change.alike, alpha)
        if unseen < row.margin:
            return replace(row, verdict=EQUIVALENT)
    return replace(row, verdict=INCONCLUSIVE, open=_open(row, change))


def _open(row: Comparison, change: Change) -> str:
    """Return what is known of a change that may be within the margin or beyond it."""
    same = 1.0 if change.scale == RATIO else 0.0
    if change.low <= same <= change.high:
        return UNSEEN
    if row.better is None:
        return DIFFERENT
    return BETTER if (change.low > same) == (row.better == HIGHER) else WORSE


def limits_of(row: Comparison) -> tuple[float, float]:
    """Return the limits of the margin around "no change", on the scale of the change."""
    margin = row.margin
    if row.scale == RATIO:
        return 1 / (1 + margin), 1 + margin
    size = margin_size(row)
    return -size, size


def margin_size(row: Comparison) -> float:
    """Return the margin of a difference, in the unit of the metric.

    Of a metric with a range of two ends: a share of the range, so that 5 % of a score between 0 and
    1 are 0.05, as 5 pp of a share. Else relative to the baseline; no change of a baseline of 0 is
    relatively small, so any change that is certain lies beyond.
    """
    if row.absolute:
        return row.margin
    if row.width is not None:
        return row.margin * row.width
    return row.margin * abs(row.baseline or 0.0)
