"""How to compare: margins, directions, and which metrics decide."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pytest_crucible._text import did_you_mean
from pytest_crucible.metrics.catalog import BUILT_IN, STATISTICS, Metric
from pytest_crucible.metrics.declared import bounded

MARGIN = 0.05
PRIMARY = ("success_rate", "latency", "cost")
"""The metrics that decide, if nobody names others; with them whatever was measured."""
Setting = TypeVar("Setting", float, str)


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge.

    Attributes:
        margin: the largest change that does not matter: relative to the baseline; for rates the
            difference itself. None: nobody has set one; `MARGIN`.
        margins: margins of single metrics, by path, or by name for all statistics of a number: in
            place of `Metric.margin`, so in the unit of the metric if its range has two ends.
        better: overrides the direction of metrics, keyed like ``margins``: lower or higher.
        primary: the metrics that decide, beside the success rate: those that somebody named. If
            empty: `PRIMARY`.
        every: whether all metrics decide.
    """

    margin: float | None = None
    margins: Mapping[str, float] | None = None
    better: Mapping[str, str] | None = None
    primary: tuple[str, ...] = ()
    every: bool = False

    def margin_of(self, metric: Metric) -> tuple[float, bool]:
        """Return the margin of a metric, and whether it is in the unit of the metric.

        It is that of ``margins``, else of the metric, else ``margin``, which is never in a unit.
        """
        own = _setting_of(metric.path, self.margins)
        own = metric.margin if own is None else own
        if own is not None:
            return own, bounded(metric.range)
        return MARGIN if self.margin is None else self.margin, False

    def decides(self, path: str) -> bool:
        """Whether the row of a metric decides; the others are shown."""
        if self.every or path == "success_rate":
            return True
        if not self.primary:
            return path in PRIMARY
        return path in rows_of(self.primary)

    def better_of(self, metric: Metric) -> str | None:
        """Return the direction of a metric: of ``better``, else of the catalogue."""
        return _setting_of(metric.path, self.better) or metric.better


def _setting_of(path: str, settings: Mapping[str, Setting] | None) -> Setting | None:
    """Return the setting of a metric, or of the number that it is a statistic of."""
    for name, value in (settings or {}).items():
        if path == name or path.startswith(f"{name}."):
            return value
    return None


def unknown_metric(names: Iterable[str], rows: Collection[str]) -> str | None:
    """Say which of the metrics that somebody named has no row; None if all have one."""
    for name in names:
        if rows and not rows_of([name]) & {*rows}:
            return f"{name!r} is not compared; {did_you_mean(name, rows)}valid: {', '.join(rows)}"
    return None


def rows_of(names: Iterable[str]) -> set[str]:
    """Return the rows that metrics may have by which somebody names them; ``score`` is its mean."""
    return {row for name in names for row in (row_of(name), f"{name}.mean")}


def row_of(name: str) -> str:
    """Return the row that is about a metric: ``latency`` for ``latency.p50``, ``score.mean``."""
    metric, head = BUILT_IN.get(name), name.partition(".")[0]
    if metric is not None and metric.compared is not None:
        return name
    if head in BUILT_IN and BUILT_IN[head].compared is not None:
        return head
    number, _, statistic = name.rpartition(".")
    # Recorded numbers have one row, about their mean.
    return f"{number}.mean" if number and metric is None and statistic in STATISTICS else name
