"""Numbers that stand for others: what a sample says about everything it was drawn from.

Totals are sums of number × weight (Horvitz and Thompson 1952), means are ratios of two such totals
(Hájek 1971), and a quantile is the smallest number at which that share of all weight is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def weights_of(weight: Iterable[float], rows: int) -> Floats | None:
    """The weight of each row; None if every row stands for itself."""
    found = np.array(weight, dtype=np.float64)
    return None if not found.size or not rows or (found == 1.0).all() else found


def row_weights(weight: Sequence[float], rows: int) -> Floats:
    """The weight of each row, 1 where none is given."""
    return np.array(weight, dtype=np.float64) if weight else np.ones(rows)


def mean(values: Floats, weights: Floats) -> float:
    """The mean of everything that the values stand for."""
    return float((values * weights).sum() / weights.sum())


def std_dev(values: Floats, weights: Floats) -> float | None:
    """The standard deviation, divided by n − 1 where n is how many the values stand for."""
    total = float(weights.sum())
    if values.size < 2:
        return None
    return float(np.sqrt((weights * (values - mean(values, weights)) ** 2).sum() / (total - 1)))


def quantiles(values: Floats, weights: Floats, shares: Iterable[float]) -> list[float]:
    """Numbers at which these shares of all weight are reached."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    # A share of 0.1 + 0.2 must not miss the number that reaches 0.3.
    places = np.searchsorted(reached, np.array(list(shares)) * reached[-1] * (1 - 1e-12))
    return [float(each) for each in values[order][np.minimum(places, values.size - 1)]]
