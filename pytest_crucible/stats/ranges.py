"""Values outside a declared range: the data contradict the declaration, so there is no verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pytest_crucible.metrics import formula
from pytest_crucible.metrics.catalog import BUILT_IN, CURVE_STATISTICS, Catalog, Metric, Range
from pytest_crucible.metrics.curves import LoggedSeries
from pytest_crucible.metrics.groups import NO_CASE, Group, Series


@dataclass(frozen=True, slots=True)
class Outside:
    """Values of one number that lie outside its declared range.

    Attributes:
        name: of the number.
        count, total: how many values lie outside, and how many there are.
        value: the one that lies farthest out.
        case: where it happened; None outside cases.
        limits: the declared range.
    """

    name: str
    count: int
    total: int
    value: float
    case: str | None
    limits: Range

    def __str__(self) -> str:
        where = f" in {self.case}" if self.case is not None else ""
        low, high = self.limits
        limits = f"{'–∞' if low is None else f'{low:g}'} to {'∞' if high is None else f'{high:g}'}"
        return (
            f"{self.count} of {self.total} values of {self.name} outside its range {limits}: "
            f"{self.value:g}{where}"
        )


def outside_range(group: Group, catalog: Catalog, path: str) -> Outside | None:
    """Return the values behind a metric that lie outside a declared range; None if none does.

    Args:
        group: the observations of one condition.
        catalog: has the declared ranges.
        path: of the metric. Behind a formula are the numbers that it names.
    """
    if path in BUILT_IN:
        return None
    metric = catalog.declared.get(path)
    if metric is None:
        name, _, statistic = path.rpartition(".")
        metric = catalog.declared.get(name)
        if metric is None:
            return None
        return _outside(group, metric, logged=statistic in CURVE_STATISTICS)
    if metric.formula is None:
        return _outside(group, metric)
    inputs = (catalog.declared.get(name) for name in formula.variables(metric.formula))
    found = (_outside(group, each) for each in inputs if each is not None)
    return next((each for each in found if each is not None), None)


def all_outside(group: Group, catalog: Catalog) -> Iterator[Outside]:
    """Yield the declared numbers of a condition that have values outside their range."""
    for metric in catalog.declared.values():
        for logged in (False, True):
            found = _outside(group, metric, logged=logged)
            if found is not None:
                yield found


def _outside(group: Group, metric: Metric, *, logged: bool = False) -> Outside | None:
    series: Series | LoggedSeries | None = group.logged.get(metric.path)
    if not logged:
        series = group.recorded.get(metric.path) or group.declared.get(metric.path)
    low, high = metric.range
    if series is None or not series.values or (low is None and high is None):
        return None
    values = np.frombuffer(series.values, dtype=np.float64)
    excess = np.zeros(values.size)
    if low is not None:
        excess = np.fmax(excess, low - values)
    if high is not None:
        excess = np.fmax(excess, values - high)
    count = int(np.count_nonzero(excess > 0))  # NaN, which `log` keeps, is told elsewhere
    if not count:
        return None
    worst = int(np.argmax(excess))
    case = series.cases[worst]
    name = None if case == NO_CASE else list(group.cases)[case]
    return Outside(metric.path, count, values.size, float(values[worst]), name, metric.range)
