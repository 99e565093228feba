"""Slices as a table: one row per slice and condition."""

from __future__ import annotations

from collections.abc import Iterator

from tabulate import tabulate

from pytest_crucible._text import one_line, plural
from pytest_crucible.analysis.slices import Slices
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.report.numbers import Format, format_of


def slice_title(slices: Slices) -> str:
    """What stands above the table."""
    count, more = len(slices.slices), slices.left_out
    some = f", the {count} largest of {count + more:,} slices" if more else ""
    corrected = f", intervals corrected for {plural(count, 'slice')}" if count > 1 else ""
    return one_line(f"by {slices.name}{some}{corrected}")


def slice_cells(slices: Slices) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table, the text columns first."""
    shown = slices.slices
    several = any(len(each.subjects) > 1 for each in shown)
    header = ["slice", *(["condition"] if several else [])]
    header += ["cases", *(metric.path for metric in slices.metrics)]
    forms = {metric.path: _format(slices, metric) for metric in slices.metrics}
    rows = []
    for each in shown:
        for condition, estimates in each.estimates.items():
            cells = [
                f"{form.show(found.value)} {form.interval(found.low, found.high)}".rstrip()
                for found, form in ((estimates[path], form) for path, form in forms.items())
            ]
            rows.append([each.value, *([condition] if several else []), f"{len(each.cases):,}"])
            rows[-1] += cells
    return header, rows


def slice_table(slices: Slices) -> Iterator[str]:
    """Yield the table for a terminal, its title first."""
    yield slice_title(slices)
    header, rows = slice_cells(slices)
    numbers = len(slices.metrics) + 1
    align = ["left"] * (len(header) - numbers) + ["right"] * numbers
    rows = [list(map(one_line, row)) for row in rows]
    yield from tabulate(
        rows, headers=header, tablefmt="plain", disable_numparse=True, colalign=align
    ).splitlines()


def _format(slices: Slices, metric: Metric) -> Format:
    estimates = [found[metric.path] for each in slices.slices for found in each.estimates.values()]
    bounds = [bound for each in estimates for bound in (each.low, each.high)]
    return format_of(metric.unit, [each.value for each in estimates], bounds)
