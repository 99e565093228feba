"""Estimates from a sample: statistics of weighted numbers.

The weight of a number says how many numbers it stands for, itself included. Totals are sums of
number × weight (Horvitz and Thompson 1952), means are ratios of two such totals (Hájek 1971), and a
quantile is the smallest number at which the cumulated weight reaches that share of all weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def weights_of(weight: Iterable[float], rows: int) -> Floats | None:
    """Return the weights, shape ``(rows,)``; None if every row stands only for itself."""
    weights = np.array(weight, dtype=np.float64)
    return None if not weights.size or not rows or (weights == 1.0).all() else weights


def row_weights(weight: Sequence[float], rows: int) -> Floats:
    """Return the weights, shape ``(rows,)``; all are 1 if ``weight`` is empty."""
    return np.array(weight, dtype=np.float64) if weight else np.ones(rows)


def mean(values: Floats, weights: Floats) -> float:
    """Estimate the mean of all numbers that the values stand for (Hájek 1971).

    Args:
        values: shape ``(n,)``.
        weights: shape ``(n,)``.
    """
    return float((values * weights).sum() / weights.sum())


def std_dev(values: Floats, weights: Floats) -> float | None:
    """Estimate the standard deviation of all numbers that the values stand for.

    The sum of squares is divided by n − 1, where n is the total weight. None for fewer than two
    values.
    """
    total = float(weights.sum())
    if values.size < 2:
        return None
    return float(np.sqrt((weights * (values - mean(values, weights)) ** 2).sum() / (total - 1)))


def quantiles(values: Floats, weights: Floats, shares: Iterable[float]) -> list[float]:
    """Return the smallest values at which the cumulated weight reaches the shares.

    Args:
        values: shape ``(n,)``, at least one.
        weights: shape ``(n,)``.
        shares: of all weight, between 0 and 1: 0.5 is the median.
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    # A share of 0.1 + 0.2 must not miss the number that reaches 0.3.
    ranks = np.searchsorted(reached, np.array(list(shares)) * reached[-1] * (1 - 1e-12))
    return [float(value) for value in values[order][np.minimum(ranks, values.size - 1)]]
