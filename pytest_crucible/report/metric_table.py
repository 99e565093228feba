"""The catalogue of metrics as a table: for the command line, and for the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from pytest_crucible.metrics.catalog import Metric

HEADER = ("metric", "unit", "better", "range", "interval", "compared")


def metric_rows(metrics: Iterable[Metric]) -> list[list[str]]:
    """Return a row of cells for every metric, in the order of `HEADER`.

    The last cell says whether comparisons have a row for the metric; ``only`` means that
    expectations cannot name it.
    """
    return [
        [
            metric.path,
            metric.unit or "–",
            metric.better or "–",
            _range(metric),
            "yes" if metric.drawn else "a fact",
            ("yes" if metric.claimed else "only") if metric.compared else "–",
        ]
        for metric in metrics
    ]


def metric_table(metrics: Iterable[Metric], style: str = "plain") -> str:
    """Return the rows as a table.

    Args:
        metrics: one per row.
        style: a table format of tabulate: ``plain``, or ``github`` for Markdown.
    """
    return tabulate(metric_rows(metrics), headers=HEADER, tablefmt=style, disable_numparse=True)


def _range(metric: Metric) -> str:
    low, high = metric.range
    if low is None and high is None:
        return "–"
    if high is None:
        return f"≥ {low:g}"
    return f"≤ {high:g}" if low is None else f"{low:g} to {high:g}"
