"""Change of a percentile: by a bootstrap over cases; for large samples by order statistics."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.change import RATIO, Change, guarded, noise
from pytest_crucible.stats.distributions import normal_isf, normal_sf
from pytest_crucible.stats.intervals import (
    NoIntervalError,
    quantile_bounds,
    quantile_size,
    smallest_n,
)
from pytest_crucible.stats.samples import Floats, Ints, Sample

MOST = 5_000
"""With more values per side, order statistics replace the bootstrap over cases."""
RESAMPLES, MOST_RESAMPLES = 2_000, 10_000
"""How many resamples; more where decisions are many, so that levels are small."""
_FINEST = 40 / MOST_RESAMPLES
FLOOR = 20 / MOST_RESAMPLES
"""The smallest one-sided p that so many resamples tell well enough."""
SEED = 20_240_601
"""Seed of every bootstrap; fixed, so that judging an artifact again gives the same verdict."""
_BATCH = 200


def quantile_ratio(base: Sample, cand: Sample, q: float, alpha: float, *, paired: bool) -> Change:
    """Return the ratio of a percentile of positive values, candidate to baseline.

    Percentile bootstrap (Efron 1979): draw cases (or clusters) with replacement, with all their
    trials; if paired, the same cases on both sides.

    Args:
        base: the baseline.
        cand: the candidate.
        q: which quantile, between 0 and 1.
        alpha: error of both sides together.
        paired: whether the cases of both sides match.

    Raises:
        NoIntervalError: there are too few observations for this percentile.
    """
    needed = smallest_n(q, alpha)
    if min(base.n, cand.n) < needed:
        have = " and ".join(dict.fromkeys(f"{side.n}" for side in (base, cand)))
        raise NoIntervalError(f"too few for p{q * 100:g}: {have} of {needed}")
    for side in (base, cand):
        clusters = side.clusters()
        if clusters is not None:
            quantile_size(side.values, clusters, q, alpha)
    if alpha < _FINEST:
        raise NoIntervalError(f"p{q * 100:g}: too many decisions for {MOST_RESAMPLES:,} resamples")
    units = (base.units, cand.units)
    tiny = noise(np.log(base.values), np.log(cand.values), logs=True)
    ends = [math.log(float(np.quantile(side.values, q))) for side in (base, cand)]
    estimate = ends[1] - ends[0] if abs(ends[1] - ends[0]) > tiny else 0.0
    together = paired or base.clusters() is not None or cand.clusters() is not None
    if together and max(base.n, cand.n) > MOST:
        change = _large(base, cand, q, alpha, estimate)
    else:
        change = _bootstrap(base, cand, q, alpha, tiny, paired=paired)
    same = max(float(np.ptp(side.values)) for side in (base, cand)) == 0.0
    change = replace(
        change,
        estimate=math.exp(estimate),
        low=min(math.exp(change.low), math.exp(estimate)),
        high=max(math.exp(change.high), math.exp(estimate)),
        n=(units[0],) if paired else units,
        alike=min(units) if same else None,
    )
    return guarded(change, min(units), alpha)


def _bootstrap(
    base: Sample, cand: Sample, q: float, alpha: float, tiny: float, *, paired: bool
) -> Change:
    """Return the change of the logarithm by resampling; changes up to ``tiny`` are rounding."""
    resamples = RESAMPLES if alpha >= 40 / RESAMPLES else MOST_RESAMPLES
    rng = np.random.default_rng(SEED)
    if paired:
        logs = _resampled_pairs(base, cand, q, rng, resamples)
    else:
        logs = _resampled_alone(cand, q, rng, resamples) - _resampled_alone(base, q, rng, resamples)
    logs[np.abs(logs) <= tiny] = 0.0
    logs.sort()
    cut = math.floor(alpha / 2 * (resamples + 1))
    low, high = float(logs[cut - 1]), float(logs[resamples - cut])
    tail = min(int((logs <= 0).sum()), int((logs >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (resamples + 1))
    method = f"bootstrap over cases, {resamples:,} resamples, seed {SEED}"
    error = (high - low) / 2 / normal_isf(alpha / 2)
    return Change(RATIO, 0.0, low, high, p, error, None, method, ())


def _resampled_alone(sample: Sample, q: float, rng: np.random.Generator, resamples: int) -> Floats:
    """Return the log of the percentile in every resample of one side, shape ``(resamples,)``."""
    clusters = sample.clusters()
    if clusters is not None:
        return _resampled(sample.values, clusters, q, rng, resamples)
    # Draw the rank of the resample's percentile directly: an order statistic of n uniform ranks.
    rank = math.ceil(q * sample.n)
    drawn = rng.beta(rank, sample.n + 1 - rank, resamples) * sample.n
    logs: Floats = np.log(np.sort(sample.values)[np.minimum(drawn.astype(int), sample.n - 1)])
    return logs


def _resampled_pairs(
    base: Sample, cand: Sample, q: float, rng: np.random.Generator, resamples: int
) -> Floats:
    """Return the log ratio in every resample, shape ``(resamples,)``; match cases by name."""
    assert base.cases is not None
    assert cand.cases is not None
    indices = {name: index for index, name in enumerate(base.names)}
    renumbered = np.array([indices.setdefault(name, len(indices)) for name in cand.names])
    first, second = base.cases, renumbered[cand.cases]
    if base.belongs is not None:
        # A case that only the candidate has is a cluster of its own.
        alone = np.arange(len(indices) - base.belongs.size) + base.belongs.max() + 1
        belongs = np.concatenate([base.belongs, alone])
        first, second = belongs[first], belongs[second]
    together = np.concatenate([first, second])
    values = np.concatenate([base.values, cand.values])
    return _resampled(values, together, q, rng, resamples, base.n)


def _resampled(
    values: Floats,
    cases: Ints,
    q: float,
    rng: np.random.Generator,
    resamples: int,
    split: int | None = None,
) -> Floats:
    """Return the log of the percentile in every resample, shape ``(resamples,)``.

    Works in batches, so that memory stays bounded.

    Args:
        values: shape ``(n,)``.
        cases: case of every value, shape ``(n,)``.
        q: which quantile.
        rng: source of random numbers.
        resamples: how many.
        split: row of the first value of the candidate. If given, the result is the log of the
            candidate's percentile minus that of the baseline, which is before this row.
    """
    different, index = np.unique(cases, return_inverse=True)
    size = different.size
    rows = np.arange(_BATCH)[:, None] * size
    sides = [slice(None)] if split is None else [slice(split), slice(split, None)]
    orders = [np.argsort(values[side]) for side in sides]
    batches = []
    for _ in range(resamples // _BATCH):
        drawn = rows + rng.integers(size, size=(_BATCH, size))
        draws = np.bincount(drawn.ravel(), minlength=_BATCH * size).reshape(_BATCH, size)
        logs = [
            _weighted_log(values[side][order], draws[:, index[side][order]], q)
            for side, order in zip(sides, orders, strict=True)
        ]
        batches.append(logs[-1] - logs[0] if split is not None else logs[0])
    return np.concatenate(batches)


def _weighted_log(ordered: Floats, weights: NDArray[np.int64], q: float) -> Floats:
    """Return the log of the quantile under every row of weights.

    Args:
        ordered: ascending values, shape ``(n,)``.
        weights: how often every value was drawn, shape ``(resamples, n)``.
        q: which quantile.
    """
    cumulative = np.cumsum(weights, axis=1)
    index = (cumulative < q * cumulative[:, -1:]).sum(axis=1)
    logs: Floats = np.log(ordered[np.minimum(index, ordered.size - 1)])
    return logs


def _large(base: Sample, cand: Sample, q: float, alpha: float, estimate: float) -> Change:
    """Combine the order-statistic intervals of both sides by their widths (Woodruff 1952)."""
    error, level = 0.0, alpha
    for level in (alpha, 1e-6):  # with many equal values, a narrow interval has no width
        error = math.hypot(*(_log_width(side, q, level) for side in (base, cand)))
        if error:
            break
    half = normal_isf(alpha / 2) * error
    p = 1.0 if estimate == 0 else level
    if error:
        p = 2 * normal_sf(abs(estimate) / error)
    return Change(
        RATIO, 0.0, estimate - half, estimate + half, p, error, None, "order statistics", ()
    )


def _log_width(sample: Sample, q: float, alpha: float) -> float:
    """Return the standard error of the log percentile for which a normal interval is as wide."""
    low, high = quantile_bounds(sample.values, sample.clusters(), q, alpha / 2, alpha / 2)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise NoIntervalError(f"too few for p{q * 100:g}: {sample.n}")
    return (math.log(high) - math.log(low)) / (2 * normal_isf(alpha / 2))
