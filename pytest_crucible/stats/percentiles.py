"""How much a percentile changed: a bootstrap over cases; large samples by order statistics."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.changes import RATIO, Change
from pytest_crucible.stats.distributions import normal_isf, normal_sf
from pytest_crucible.stats.intervals import (
    Interval,
    NoIntervalError,
    quantile,
    quantile_size,
    smallest_n,
)
from pytest_crucible.stats.samples import Floats, Ints, Sample

ALPHA = 0.05
MOST = 5_000
"""Above this many values per side cases are not drawn; order statistics do."""
RESAMPLES = 2_000
SEED = 20_240_601
"""Of every resampling; fixed, so that judging an artifact again gives the same verdict."""
_BATCH = 200


def quantile_ratio(base: Sample, cand: Sample, q: float, paired: bool) -> Change:
    """The ratio of a percentile of positive values, candidate to baseline.

    Cases, with all their trials, are drawn with replacement (the same for both sides if paired).

    Raises:
        NoIntervalError: too few observations to say anything about this percentile.
    """
    needed = smallest_n(q, ALPHA)
    if min(base.n, cand.n) < needed:
        raise NoIntervalError(
            f"p{q * 100:g} needs at least {needed} observations per side, has {base.n} and {cand.n}"
        )
    for side in (base, cand):
        clusters = side.clusters()
        if clusters is not None:
            quantile_size(side.values, clusters, q, ALPHA)
    units = (base.units, cand.units)
    ends = [math.log(float(np.quantile(side.values, q))) for side in (base, cand)]
    estimate = ends[1] - ends[0]
    together = paired or base.clusters() is not None or cand.clusters() is not None
    if together and max(base.n, cand.n) > MOST:
        return _large(base, cand, q, estimate)
    rng = np.random.default_rng(SEED)
    if paired:
        logs = _resampled_pairs(base, cand, q, rng)
    else:
        logs = _resampled_alone(cand, q, rng) - _resampled_alone(base, q, rng)

    def interval(alpha: float) -> Interval:
        if alpha < 4 / RESAMPLES:
            raise NoIntervalError(f"{RESAMPLES} resamples are too few for this level")
        low, high = np.quantile(logs, (alpha / 2, 1 - alpha / 2))
        return math.exp(float(low)), math.exp(float(high))

    tail = min(int((logs <= 0).sum()), int((logs >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (RESAMPLES + 1))
    method = f"bootstrap over cases, {RESAMPLES} resamples, seed {SEED}"
    return Change(RATIO, math.exp(estimate), interval, p, None, method, units)


def _resampled_alone(sample: Sample, q: float, rng: np.random.Generator) -> Floats:
    if sample.clusters() is not None:
        assert sample.cases is not None
        return _resampled(sample.values, sample.cases, q, rng)
    # Which value is the percentile of a resample: an order statistic of draws from 0 … n − 1.
    rank = math.ceil(q * sample.n)
    drawn = rng.beta(rank, sample.n + 1 - rank, RESAMPLES) * sample.n
    found: Floats = np.log(np.sort(sample.values)[np.minimum(drawn.astype(int), sample.n - 1)])
    return found


def _resampled_pairs(base: Sample, cand: Sample, q: float, rng: np.random.Generator) -> Floats:
    """Log ratios; a case has the same number on both sides, whatever order it appeared in."""
    assert base.cases is not None
    assert cand.cases is not None
    numbers = {name: number for number, name in enumerate(base.names)}
    theirs = np.array([numbers.setdefault(name, len(numbers)) for name in cand.names])
    sides = (base.values, base.cases), (cand.values, theirs[cand.cases])
    together = np.concatenate([cases for _, cases in sides])
    values = np.concatenate([values for values, _ in sides])
    return _resampled(values, together, q, rng, base.n)


def _resampled(
    values: Floats, cases: Ints, q: float, rng: np.random.Generator, split: int | None = None
) -> Floats:
    """Logs of the percentile in every resample; with ``split``, of those after less those before.

    In batches, so that memory stays bounded.
    """
    kinds, index = np.unique(cases, return_inverse=True)
    size = kinds.size
    rows = np.arange(_BATCH)[:, None] * size
    parts = [slice(None)] if split is None else [slice(split), slice(split, None)]
    orders = [np.argsort(values[part]) for part in parts]
    found = []
    for _ in range(RESAMPLES // _BATCH):
        drawn = rows + rng.integers(size, size=(_BATCH, size))
        draws = np.bincount(drawn.ravel(), minlength=_BATCH * size).reshape(_BATCH, size)
        logs = [
            _weighted_log(values[part][order], draws[:, index[part][order]], q)
            for part, order in zip(parts, orders, strict=True)
        ]
        found.append(logs[-1] - logs[0] if split is not None else logs[0])
    return np.concatenate(found)


def _weighted_log(ordered: Floats, weights: NDArray[np.int64], q: float) -> Floats:
    cumulative = np.cumsum(weights, axis=1)
    index = (cumulative < q * cumulative[:, -1:]).sum(axis=1)
    found: Floats = np.log(ordered[np.minimum(index, ordered.size - 1)])
    return found


def _large(base: Sample, cand: Sample, q: float, estimate: float) -> Change:
    """Independent order-statistic intervals, put together by their widths (Woodruff 1952)."""
    error, level = 0.0, ALPHA
    for level in (ALPHA, 1e-6):  # where many values are the same, only a wide interval has a width
        error = math.hypot(*(_log_width(side, q, level) for side in (base, cand)))
        if error:
            break

    def interval(alpha: float) -> Interval:
        half = normal_isf(alpha / 2) * error
        return math.exp(estimate - half), math.exp(estimate + half)

    p = 1.0 if estimate == 0 else level
    if error:
        p = 2 * normal_sf(abs(estimate) / error)
    units = (base.units, cand.units)
    return Change(RATIO, math.exp(estimate), interval, p, None, "order statistics", units)


def _log_width(sample: Sample, q: float, alpha: float) -> float:
    """The standard error that an interval of this level has the width of."""
    low, high = quantile(sample.values, sample.clusters(), q, alpha)
    return (math.log(high) - math.log(low)) / (2 * normal_isf(alpha / 2))
