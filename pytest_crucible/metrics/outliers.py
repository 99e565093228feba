"""Outliers: four methods to find the numbers that lie far from the others.

========== ================================================ ==================================
``mad``     modified z-score, 0.6745 (x − median) / MAD      Iglewicz and Hoaglin 1993: 3.5
``zscore``  (x − mean) / standard deviation                  Shewhart 1931: 3
``iqr``     distance beyond the quartiles, in their ranges   Tukey 1977: 1.5; far out: 3
``ewma``    a weighted moving average that drifts away       Lucas and Saccucci 1990: λ 0.2, L 3
========== ================================================ ==================================

Among n ordinary values some lie far out by chance alone: at 3.5, a quarter of all experiments with
600 ordinary latencies had an alarm. So the default threshold of ``mad`` grows with n: any of n
normal values exceeds it in 5 % of all samples (Davies and Gather 1993). It is at least 3.5: 4.8
for 10 values, 4.0 for 600, 5.4 for a million. On a log scale an outlier must also be at least
twice or at most half the median: if all other values agree to a percent, one that is 5 % off is
far out, but of no interest. docs/anomalies.md has measured shares of false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Method = Literal["mad", "zscore", "iqr", "ewma"]
MAD: Final = "mad"
ZSCORE: Final = "zscore"
IQR: Final = "iqr"
EWMA: Final = "ewma"
METHODS = (MAD, ZSCORE, IQR, EWMA)
FEWEST = 3
_FEWEST_BY_DEFAULT = 5  # from here on the default threshold of `mad` keeps its 5 %
_FACTOR = math.log(2)
_FALSE_ALARMS = 0.05
_NORMAL = NormalDist()
_MAD_TO_SIGMA = 1 / 0.6745
# Median and MAD of few values are uncertain, which widens the scores by a factor 1 + 7 / n:
# fitted to 20,000 normal samples for each of n = 8 … 10,000.
_FEW = 7.0
_LAMBDA = 0.2
_DEFAULTS = {ZSCORE: 3.0, IQR: 1.5, EWMA: 3.0}
_LARGEST = 1e150  # its square is still a number


def _none() -> Ints:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The outliers among some numbers.

    Attributes:
        rows: positions of the outliers, ascending, shape ``(k,)``.
        scores: of the outliers, shape ``(k,)``: their distance from the centre in units of the
            method's spread, negative below the centre.
        judged: how many numbers were compared with each other.
        left_out: how many were not: not finite or, on a log scale, not above zero.
        threshold: a number is an outlier if its score exceeds this, on either side.
        centre: the usual value, in the unit of the numbers.
        low, high: a number outside these limits is an outlier, in the unit of the numbers; None
            for ``ewma``, which has no fixed limits.
        reason: why nothing could be judged; None if it could.
    """

    rows: Ints = field(default_factory=_none)
    scores: Floats = field(default_factory=lambda: np.empty(0))
    judged: int = 0
    left_out: int = 0
    threshold: float | None = None
    centre: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """The threshold that the caller wants, if any, and whether the numbers are logarithms."""

    threshold: float | None
    log: bool


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores of all numbers, shape ``(n,)``; centre and limits in the unit of the numbers."""

    scores: Floats
    centre: float
    limits: tuple[float, float] | None
    threshold: float


class _CannotJudgeError(Exception):
    """The message says why the numbers cannot be judged."""


def _above_zero(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf


def detect(
    values: Floats, method: str = MAD, threshold: float | None = None, *, log: bool = False
) -> Detection:
    """Find the numbers that lie far from the others.

    Args:
        values: shape (n,), in order of time for ``ewma``.
        method: one of `METHODS`.
        threshold: of the score; None for the default of the method, see above.
        log: compare logarithms, which is right for amounts that multiply: latency, cost.

    Raises:
        ValueError: ``method`` is unknown, or ``threshold`` is not above zero.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is not one of {', '.join(METHODS)}")
    if threshold is not None and not _above_zero(threshold):
        raise ValueError(f"threshold={threshold!r} is not a number above zero")
    score = _SCORES[method]
    usable = np.abs(values) < _LARGEST
    if log:
        usable &= values > 0
    rows = np.flatnonzero(usable)
    kept = np.log(values[rows]) if log else values[rows]
    left_out = int(values.size - rows.size)
    try:
        scored = _checked(score, kept, _Request(threshold, log))
    except _CannotJudgeError as why:
        return Detection(left_out=left_out, reason=str(why))
    flagged = np.flatnonzero(np.abs(scored.scores) > scored.threshold)
    to_unit: Callable[[float], float] = _exp if log else float
    low, high = (None, None) if scored.limits is None else map(to_unit, scored.limits)
    return Detection(
        rows=rows[flagged],
        scores=scored.scores[flagged],
        judged=int(rows.size),
        left_out=left_out,
        threshold=scored.threshold,
        centre=to_unit(scored.centre),
        low=low,
        high=high,
    )


def _checked(
    score: Callable[[Floats, _Request], _Scored], values: Floats, request: _Request
) -> _Scored:
    if values.size < FEWEST:
        raise _few(values.size, FEWEST)
    if values.min() == values.max():
        raise _CannotJudgeError(f"all {values.size} numbers are the same")
    with np.errstate(over="ignore"):  # `_over` clips infinite scores
        return score(values, request)


def _few(n: int, needed: int) -> _CannotJudgeError:
    return _CannotJudgeError(f"needs at least {needed} numbers, has {n}")


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _over(distance: Floats, spread: float) -> Floats:
    """Return distance / spread, clipped to finite floats."""
    largest = np.finfo(np.float64).max
    return np.clip(distance / spread, -largest, largest)


def usual_threshold(n: int) -> float:
    """Return the default threshold of ``mad`` (Davies and Gather 1993).

    In 95 % of all samples none of ``n`` normal values exceeds it; it is at least 3.5.
    """
    tail = -math.expm1(math.log1p(-_FALSE_ALARMS) / n) / 2
    return max(3.5, -_NORMAL.inv_cdf(tail) * (1 + _FEW / n))


def _middle(values: Floats) -> tuple[float, float]:
    """Return the median, and a standard deviation worked out from the MAD, robust to outliers."""
    median = float(np.median(values))
    spread = float(np.median(np.abs(values - median))) * _MAD_TO_SIGMA
    if spread == 0.0:
        raise _CannotJudgeError(
            f"at least half of the {values.size} numbers are the same (MAD is 0)"
        )
    return median, spread


def _mad(values: Floats, request: _Request) -> _Scored:
    median, spread = _middle(values)
    threshold = request.threshold
    if threshold is None:
        if values.size < _FEWEST_BY_DEFAULT:
            raise _few(values.size, _FEWEST_BY_DEFAULT)
        threshold = usual_threshold(values.size)
        if request.log:
            threshold = max(threshold, _FACTOR / spread)
    limits = median - threshold * spread, median + threshold * spread
    return _Scored(_over(values - median, spread), median, limits, threshold)


def _zscore(values: Floats, request: _Request) -> _Scored:
    threshold = request.threshold or _DEFAULTS[ZSCORE]
    n = values.size
    if threshold >= (n - 1) / math.sqrt(n):  # the largest possible score, Shiffler 1988
        raise _CannotJudgeError(
            f"none of {n} numbers can lie {threshold:g} standard deviations off"
        )
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread == 0.0:  # the squares underflow
        raise _CannotJudgeError(f"the {n} numbers are too close together")
    limits = mean - threshold * spread, mean + threshold * spread
    return _Scored(_over(values - mean, spread), mean, limits, threshold)


def _iqr(values: Floats, request: _Request) -> _Scored:
    threshold = request.threshold or _DEFAULTS[IQR]
    low, median, high = (float(quartile) for quartile in np.percentile(values, (25, 50, 75)))
    spread = high - low
    if spread == 0.0:
        raise _CannotJudgeError(
            f"the middle half of the {values.size} numbers are the same (IQR is 0)"
        )
    beyond = np.maximum(values - high, 0.0) + np.minimum(values - low, 0.0)
    limits = low - threshold * spread, high + threshold * spread
    return _Scored(_over(beyond, spread), median, limits, threshold)


def _ewma(values: Floats, request: _Request) -> _Scored:
    """Score by an EWMA chart (NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.4).

    Centre and spread are the median and the MAD of the same values, as there is no earlier data:
    a drift would pull mean and standard deviation along and so hide itself.
    """
    threshold = request.threshold or _DEFAULTS[EWMA]
    median, spread = _middle(values)
    moving = accumulate(
        (values - median).tolist(), lambda past, new: past + _LAMBDA * (new - past), initial=0.0
    )
    average = np.fromiter(moving, dtype=np.float64, count=values.size + 1)[1:]
    age = np.arange(1, values.size + 1, dtype=np.float64)
    width = np.sqrt(_LAMBDA / (2 - _LAMBDA) * -np.expm1(2 * age * math.log1p(-_LAMBDA)))
    return _Scored(_over(average / width, spread), median, None, threshold)


_SCORES: dict[str, Callable[[Floats, _Request], _Scored]] = {
    MAD: _mad, ZSCORE: _zscore, IQR: _iqr, EWMA: _ewma,
}  # fmt: skip
