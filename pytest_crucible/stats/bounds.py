"""Confidence bounds of one metric: each side at a level of its own, with what they assume.

Intervals that are shown and verdicts on claims both come from here, so they cannot disagree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pytest_crucible._text import plural
from pytest_crucible.stats import gaffke
from pytest_crucible.stats.distributions import student_isf
from pytest_crucible.stats.formula_samples import formula_bounds
from pytest_crucible.stats.intervals import (
    NoIntervalError,
    cluster_means,
    quantile_bounds,
    refuse_nearly_one,
    variance_of_mean,
    worth,
)
from pytest_crucible.stats.samples import (
    FORMULA,
    QUANTILE,
    Floats,
    Sample,
    refuse_unusable,
)
from pytest_crucible.stats.sequential import METHOD, bounds_at_any_look

FEWEST_BELOW = 10
"""Fewest values of at least 0 that give their mean a lower bound."""
FEWEST_ABOVE = 60
"""Fewest values that give a mean without a known largest value an upper bound."""
FEWEST_WORTH = 5.0
"""Of so many equal values, at least, must the mean be worth, for an upper bound."""
REACH = 2.0
"""The largest possible value is taken for so many times the largest one seen."""

LARGEST = "assumes that no value exceeds twice the largest seen; declare range= to be sure"
NORMAL = "assumes no rare, extreme values (Student's t); declare range= to be sure"
_GAFFKE = "Gaffke's bound"
SCORE = "taken for a score between 0 and 1, as all its values are; if it is not, declare range="


@dataclass(frozen=True, slots=True)
class Bounds:
    """One-sided confidence bounds of a metric, in its unit.

    Attributes:
        low, high: the bounds; −∞ and ∞ where there is none.
        method: name of the method, for reports.
        why_no_low, why_no_high: why a bound is missing.
        note: what the bounds assume; None if nothing.
    """

    low: float
    high: float
    method: str
    why_no_low: str | None = None
    why_no_high: str | None = None
    note: str | None = None

    @property
    def shown(self) -> tuple[float | None, float | None]:
        """Both bounds; None where there is none."""
        low, high = (end if math.isfinite(end) else None for end in (self.low, self.high))
        return low, high


def bounds_of(sample: Sample, below: float, above: float) -> Bounds:
    """Return the bounds of the metric behind a sample.

    Args:
        sample: the observations.
        below: probability that the lower bound lies above the true value, at most.
        above: the same for the upper bound.

    Raises:
        NoIntervalError: there is no bound on either side, with the reason.
    """
    refuse_unusable(sample)
    if sample.began is not None:
        return _at_any_look(sample, below, above)
    if sample.kind == FORMULA:
        found = _formula(sample, below, above)
    elif sample.kind == QUANTILE:
        found = _quantile(sample, below, above)
    else:
        found = _mean(sample, below, above)
        found = replace(found, low=found.low * sample.factor, high=found.high * sample.factor)
    if not (math.isfinite(found.low) or math.isfinite(found.high)):
        raise NoIntervalError(found.why_no_high or found.why_no_low or "no bound on either side")
    clustered = sample.clusters() is not None
    return replace(found, method=found.method + _CLUSTERED[sample.belongs is not None] * clustered)


def _at_any_look(sample: Sample, below: float, above: float) -> Bounds:
    low, high = bounds_at_any_look(sample, below, above)
    short = None
    if sample.kind == QUANTILE:
        short = f"too few for p{sample.q * 100:g} at any look: {sample.n}"
    return Bounds(
        low * sample.factor,
        high * sample.factor,
        METHOD,
        None if math.isfinite(low) else short,
        None if math.isfinite(high) else short,
        SCORE if sample.assumed else None,
    )


_CLUSTERED = {True: ", cases clustered", False: ", trials clustered by case"}


def _formula(sample: Sample, below: float, above: float) -> Bounds:
    low, high = formula_bounds(sample, below, above)
    if None in sample.limits:
        return Bounds(low, high, "Student's t, jackknife over cases", note=NORMAL)
    return Bounds(low, high, "Clopper-Pearson on effective size, jackknife over cases")


def _quantile(sample: Sample, below: float, above: float) -> Bounds:
    clusters = sample.clusters()
    low, high = quantile_bounds(sample.values, clusters, sample.q, below, above)
    name = f"p{sample.q * 100:g}"
    short = [
        _too_few(name, sample, level, q) for level, q in ((below, sample.q), (above, 1 - sample.q))
    ]
    return Bounds(
        low,
        high,
        "order statistics",
        None if math.isfinite(low) else short[0],
        None if math.isfinite(high) else short[1],
    )


def _too_few(name: str, sample: Sample, level: float, beyond: float) -> str:
    needed = math.ceil(math.log(level) / math.log(1 - beyond))
    if sample.clusters() is None:
        return f"too few for {name}: {sample.n} of {needed}"
    related = f"{sample.n} values in {plural(sample.units, 'case')} or clusters"
    return f"too few for {name}: {related} count as fewer than the {needed} that it takes"


# --- means ------------------------------------------------------------------------------------


def _mean(sample: Sample, below: float, above: float) -> Bounds:
    values, sizes = independent(sample)
    low, high = sample.ends
    if low is not None and high is not None:
        lower, upper = _gaffke(values, sizes, below, above, (low, high))
        note = SCORE if sample.assumed else None
        return Bounds(lower, upper, _GAFFKE, note=note)
    if low is not None and values.min() >= low:
        return _one_ended(values - low, sizes, below, above).shifted(low)
    if high is not None and values.max() <= high:
        return _one_ended(high - values, sizes, above, below).mirrored(high)
    refuse_nearly_one(sample.clusters())
    variance, df = variance_of_mean(sample.values, sample.clusters())
    if float(np.ptp(values)) == 0.0:
        raise NoIntervalError(f"all {sample.n} values are the same: no spread to measure")
    mean, error = sample.mean(), math.sqrt(variance)
    lower, upper = (mean - student_isf(below, df) * error, mean + student_isf(above, df) * error)
    return Bounds(lower, upper, "Student's t", note=NORMAL)


def independent(sample: Sample) -> tuple[Floats, Floats | None]:
    """Return the means of the independent units, and the number of values of each.

    The sizes are None if every value is a unit.
    """
    clusters = sample.clusters()
    if clusters is None:
        return sample.values, None
    return cluster_means(sample.values, clusters)


def _gaffke(
    values: Floats,
    sizes: Floats | None,
    below: float,
    above: float,
    ends: tuple[float | None, float | None],
) -> tuple[float, float]:
    try:
        low = gaffke.bounds(values, sizes, 2 * below, ends[0], None)[0]
        high = gaffke.bounds(values, sizes, 2 * above, None, ends[1])[1]
    except ValueError as error:
        raise NoIntervalError("values outside its range") from error
    return low, high


@dataclass(frozen=True, slots=True)
class _OneEnded:
    """Bounds of a mean of values of at least 0, and why one is missing."""

    low: float
    high: float
    why_no_low: str | None
    why_no_high: str | None

    @property
    def note(self) -> str | None:
        """What the upper bound assumes."""
        return LARGEST if math.isfinite(self.high) else None

    def shifted(self, start: float) -> Bounds:
        """Return the bounds if values start at ``start``."""
        whys = self.why_no_low, self.why_no_high
        return Bounds(start + self.low, start + self.high, _GAFFKE, *whys, self.note)

    def mirrored(self, end: float) -> Bounds:
        """Return the bounds if values end at ``end``."""
        whys = self.why_no_high, self.why_no_low
        return Bounds(end - self.high, end - self.low, _GAFFKE, *whys, self.note)


def _one_ended(values: Floats, sizes: Floats | None, below: float, above: float) -> _OneEnded:
    """Bound the mean of values of at least 0 whose largest possible value nobody knows.

    Without an assumption, no method can (Bahadur and Savage 1956). With many values, of which no
    few carry the mean, the largest possible one is taken for `REACH` times the largest seen.
    """
    n = values.size
    low, why_no_low = -math.inf, None
    if n >= FEWEST_BELOW:
        low = _gaffke(values, sizes, below, above, (0.0, None))[0]
    else:
        why_no_low = f"too few for a mean ({FEWEST_BELOW} needed, {n} seen)"
    largest = float(values.max())
    carrying = worth(values) if largest else 0.0
    high, why_no_high = math.inf, None
    if n < FEWEST_ABOVE:
        why_no_high = (
            f"too few for a mean that may have large values ({FEWEST_ABOVE} needed, {n} seen); "
            "ask for the median, or declare range="
        )
    elif carrying < FEWEST_WORTH:
        why_no_high = (
            "all values are 0" if not largest else "very few values carry the mean"
        ) + "; ask for the median, or declare range="
    else:
        high = _gaffke(values, sizes, below, above, (None, REACH * largest))[1]
    return _OneEnded(low, high, why_no_low, why_no_high)
