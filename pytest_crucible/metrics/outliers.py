"""Anomalies: which of many numbers lie far from the others, by four methods.

========== ================================================ ==================================
``mad``     modified z-score, 0.6745 (x − median) / MAD      Iglewicz and Hoaglin 1993: 3.5
``zscore``  (x − mean) / standard deviation                  Shewhart 1931: 3
``iqr``     distance beyond the quartiles, in their ranges   Tukey 1977: 1.5; far out: 3
``ewma``    a weighted moving average that drifts away       Lucas and Saccucci 1990: λ 0.2, L 3
========== ================================================ ==================================

Among n ordinary values some lie far out by chance alone: at 3.5, a quarter of all experiments with
600 ordinary latencies had an alarm. So ``mad`` without a threshold of your own takes the one that
n values of a normal distribution exceed in 5 % of all cases (Davies and Gather 1993), but at least
3.5: 4.8 for 10 values, 4.0 for 600, 5.4 for a million. On a log scale a value must also be twice
or half the median: where all others agree to a percent, one that is 5 % off is far out, and of no
interest. Measured shares of false alarms are in docs/anomalies.md.
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
_FEWEST_BY_DEFAULT = 5  # the default threshold of `mad` keeps its word from there on
_FACTOR = math.log(2)
_FALSE_ALARMS = 0.05
_NORMAL = NormalDist()
_MAD_TO_SIGMA = 1 / 0.6745
# How much further the score strays because median and MAD are estimated from so few: 1 + 7 / n,
# fitted to 20,000 normal samples for each of n = 8 … 10,000.
_FEW = 7.0
_LAMBDA = 0.2
_DEFAULTS = {ZSCORE: 3.0, IQR: 1.5, EWMA: 3.0}
_LARGEST = 1e150  # its square is still a number


def _none() -> Ints:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What became of some numbers.

    Attributes:
        rows: positions of those that lie far from the others, ascending.
        scores: of those, in units of the method's own spread, with the sign of the side.
        judged: how many numbers were held against each other.
        left_out: how many were not: no finite numbers; on a log scale, also those not above zero.
        threshold: of the score.
        centre, low, high: what is usual, and from where on a number is not, in the numbers' own
            unit. ``ewma`` has no fixed limits.
        reason: why nothing could be judged.
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
class _Asked:
    """The threshold that the caller wants, if any, and whether the numbers are logarithms."""

    threshold: float | None
    log: bool


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores of all numbers, and what they mean in the numbers' unit."""

    scores: Floats
    centre: float
    limits: tuple[float, float] | None
    threshold: float


class _CannotJudgeError(Exception):
    """The reason."""


def _above_zero(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf


def detect(
    values: Floats, method: str = MAD, threshold: float | None = None, *, log: bool = False
) -> Detection:
    """Find the numbers that lie far from the others.

    Args:
        values: shape (n,), in order of time for ``ewma``.
        method: one of `METHODS`.
        threshold: of the score; default: that of the literature, see above.
        log: work on logarithms, which is right for amounts that multiply: latency, cost.

    Raises:
        ValueError: another method, or a threshold that is not above zero.
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
        scored = _checked(score, kept, _Asked(threshold, log))
    except _CannotJudgeError as why:
        return Detection(left_out=left_out, reason=str(why))
    flagged = np.flatnonzero(np.abs(scored.scores) > scored.threshold)
    back: Callable[[float], float] = _exp if log else float
    low, high = (None, None) if scored.limits is None else map(back, scored.limits)
    return Detection(
        rows=rows[flagged],
        scores=scored.scores[flagged],
        judged=int(rows.size),
        left_out=left_out,
        threshold=scored.threshold,
        centre=back(scored.centre),
        low=low,
        high=high,
    )


def _checked(score: Callable[[Floats, _Asked], _Scored], values: Floats, asked: _Asked) -> _Scored:
    if values.size < FEWEST:
        raise _few(values.size, FEWEST)
    if values.min() == values.max():
        raise _CannotJudgeError(f"all {values.size} numbers are the same")
    with np.errstate(over="ignore"):  # a score beyond all floats is the largest
        return score(values, asked)


def _few(n: int, needed: int) -> _CannotJudgeError:
    return _CannotJudgeError(f"{n} of at least {needed} numbers")


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _over(distance: Floats, spread: float) -> Floats:
    largest = np.finfo(np.float64).max
    return np.clip(distance / spread, -largest, largest)


def usual_threshold(n: int) -> float:
    """The score that none of ``n`` normal values exceeds, in 95 % of all cases; at least 3.5."""
    tail = -math.expm1(math.log1p(-_FALSE_ALARMS) / n) / 2
    return max(3.5, -_NORMAL.inv_cdf(tail) * (1 + _FEW / n))


def _middle(values: Floats) -> tuple[float, float]:
    """Median, and a standard deviation that outliers cannot stretch."""
    median = float(np.median(values))
    spread = float(np.median(np.abs(values - median))) * _MAD_TO_SIGMA
    if spread == 0.0:
        raise _CannotJudgeError(
            f"at least half of the {values.size} numbers are the same (MAD is 0)"
        )
    return median, spread


def _mad(values: Floats, asked: _Asked) -> _Scored:
    median, spread = _middle(values)
    far = asked.threshold
    if far is None:
        if values.size < _FEWEST_BY_DEFAULT:
            raise _few(values.size, _FEWEST_BY_DEFAULT)
        far = usual_threshold(values.size)
        if asked.log:
            far = max(far, _FACTOR / spread)
    limits = median - far * spread, median + far * spread
    return _Scored(_over(values - median, spread), median, limits, far)


def _zscore(values: Floats, asked: _Asked) -> _Scored:
    far = asked.threshold or _DEFAULTS[ZSCORE]
    n = values.size
    if far >= (n - 1) / math.sqrt(n):  # Shiffler 1988
        raise _CannotJudgeError(f"none of {n} numbers can lie {far:g} standard deviations off")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread == 0.0:  # squares below all floats
        raise _CannotJudgeError(f"the {n} numbers are too close together")
    return _Scored(
        _over(values - mean, spread), mean, (mean - far * spread, mean + far * spread), far
    )


def _iqr(values: Floats, asked: _Asked) -> _Scored:
    far = asked.threshold or _DEFAULTS[IQR]
    low, median, high = (float(each) for each in np.percentile(values, (25, 50, 75)))
    spread = high - low
    if spread == 0.0:
        raise _CannotJudgeError(
            f"the middle half of the {values.size} numbers are the same (IQR is 0)"
        )
    beyond = np.maximum(values - high, 0.0) + np.minimum(values - low, 0.0)
    limits = low - far * spread, high + far * spread
    return _Scored(_over(beyond, spread), median, limits, far)


def _ewma(values: Floats, asked: _Asked) -> _Scored:
    """NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.4.

    Centre and spread are median and MAD: there is no earlier data to take them from, and a drift
    must not hide itself.
    """
    far = asked.threshold or _DEFAULTS[EWMA]
    median, spread = _middle(values)
    moving = accumulate(
        (values - median).tolist(), lambda past, new: past + _LAMBDA * (new - past), initial=0.0
    )
    average = np.fromiter(moving, dtype=np.float64, count=values.size + 1)[1:]
    age = np.arange(1, values.size + 1, dtype=np.float64)
    width = np.sqrt(_LAMBDA / (2 - _LAMBDA) * -np.expm1(2 * age * math.log1p(-_LAMBDA)))
    return _Scored(_over(average / width, spread), median, None, far)


_SCORES: dict[str, Callable[[Floats, _Asked], _Scored]] = {
    MAD: _mad, ZSCORE: _zscore, IQR: _iqr, EWMA: _ewma,
}  # fmt: skip
