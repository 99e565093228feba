"""Change of a percentile: by a bootstrap over cases; for large samples by order statistics."""

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
"""With more values per side, order statistics replace the bootstrap over cases."""
RESAMPLES = 2_000
SEED = 20_240_601
"""Seed of every bootstrap; fixed, so that judging an artifact again gives the same verdict."""
_BATCH = 200


def quantile_ratio(base: Sample, cand: Sample, q: float, paired: bool) -> Change:
    """Return the ratio of a percentile of positive values, candidate to baseline.

    Percentile bootstrap (Efron 1979): draw cases (or clusters) with replacement, with all their
    trials; if paired, the same cases on both sides.

    Args:
        base: the baseline.
        cand: the candidate.
        q: which quantile, between 0 and 1.
        paired: whether the cases of both sides match.

    Raises:
        NoIntervalError: there are too few observations for this percentile.
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
    """Return the log of the percentile in every resample of one side, shape ``(RESAMPLES,)``."""
    clusters = sample.clusters()
    if clusters is not None:
        return _resampled(sample.values, clusters, q, rng)
    # Draw the rank of the resample's percentile directly: an order statistic of n uniform ranks.
    rank = math.ceil(q * sample.n)
    drawn = rng.beta(rank, sample.n + 1 - rank, RESAMPLES) * sample.n
    logs: Floats = np.log(np.sort(sample.values)[np.minimum(drawn.astype(int), sample.n - 1)])
    return logs


def _resampled_pairs(base: Sample, cand: Sample, q: float, rng: np.random.Generator) -> Floats:
    """Return the log ratio in every resample, shape ``(RESAMPLES,)``; match cases by name."""
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
    return _resampled(values, together, q, rng, base.n)


def _resampled(
    values: Floats, cases: Ints, q: float, rng: np.random.Generator, split: int | None = None
) -> Floats:
    """Return the log of the percentile in every resample, shape ``(RESAMPLES,)``.

    Works in batches, so that memory stays bounded.

    Args:
        values: shape ``(n,)``.
        cases: case of every value, shape ``(n,)``.
        q: which quantile.
        rng: source of random numbers.
        split: row of the first value of the candidate. If given, the result is the log of the
            candidate's percentile minus that of the baseline, which is before this row.
    """
    different, index = np.unique(cases, return_inverse=True)
    size = different.size
    rows = np.arange(_BATCH)[:, None] * size
    sides = [slice(None)] if split is None else [slice(split), slice(split, None)]
    orders = [np.argsort(values[side]) for side in sides]
    batches = []
    for _ in range(RESAMPLES // _BATCH):
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


def _large(base: Sample, cand: Sample, q: float, estimate: float) -> Change:
    """Combine the order-statistic intervals of both sides by their widths (Woodruff 1952)."""
    error, level = 0.0, ALPHA
    for level in (ALPHA, 1e-6):  # with many equal values, a narrow interval has no width
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
    """Return the standard error of the log percentile for which a normal interval is as wide."""
    low, high = quantile(sample.values, sample.clusters(), q, alpha)
    return (math.log(high) - math.log(low)) / (2 * normal_isf(alpha / 2))
