"""Comparisons and expectations as rows of text, the verdict first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from pytest_crucible._text import one_line, plural
from pytest_crucible.metrics.catalog import CURVE_STATISTICS, STATISTICS
from pytest_crucible.report.lines import STYLES, Line
from pytest_crucible.report.numbers import Format, format_of, show_p
from pytest_crucible.stats.comparison import (
    CHANGED,
    Comparison,
)
from pytest_crucible.stats.expectations import (
    Verdict,
)


def comparison_lines(
    comparisons: Sequence[Comparison], indent: str, values: bool = True
) -> Iterator[Line]:
    """Yield a table of changes, the verdict first.

    Args:
        comparisons: one per row.
        indent: written before every line.
        values: also show the metric on both sides.
    """
    rows = [change_cells(comparison, values) for comparison in comparisons]
    header = change_header(values)
    align = ["left", "left", *["right"] * (len(header) - 3), "left"]
    table = tabulate(
        rows, headers=header, tablefmt="plain", disable_numparse=True, colalign=align
    )  # fmt: skip
    head, *lines = table.splitlines()
    yield Line((indent + head).rstrip())
    for comparison, line in zip(comparisons, lines, strict=True):
        yield Line((indent + line).rstrip(), STYLES[comparison.verdict])
    undeclared = undeclared_note(comparisons)
    if undeclared:
        yield Line(indent + undeclared)


def undeclared_note(comparisons: Iterable[Comparison]) -> str:
    """Say once for all CHANGED metrics how to declare which direction is better; empty if none."""
    changed = [row.metric for row in comparisons if row.verdict == CHANGED]
    names = dict.fromkeys(_declarable(path) for path in changed)
    if not names:
        return ""
    entries = ", ".join(f'{_quoted(name)}: "lower"' for name in names)
    return f'CHANGED: better or worse? Declare it, "lower" or "higher": metrics={{{entries}}}'


def _quoted(name: str) -> str:
    return f'"{one_line(name)}"'


def _declarable(path: str) -> str:
    """``words`` for ``words.mean``: the name that a declaration has."""
    name, _, statistic = path.rpartition(".")
    return name if statistic in (*STATISTICS, *CURVE_STATISTICS) and name else path


def change_header(values: bool = True) -> list[str]:
    """Return the names of the columns of `change_cells`."""
    sides = ["before", "after"] if values else []
    return ["", "metric", *sides, "change", "95 % interval", "p", "n", ""]


def change_cells(row: Comparison, values: bool = True) -> list[str]:
    """Return the comparison of one metric as text, one cell per column.

    Args:
        row: the comparison.
        values: also show the metric on both sides.
    """
    sides, form = (row.baseline, row.candidate), comparison_format(row)
    return [
        row.verdict,
        one_line(row.metric),
        *(map(form.show, sides) if values else []),
        form.change(row.change, row.scale),
        form.change_interval(row.low, row.high, row.scale),
        show_p(row.p),
        " + ".join(f"{n:,}" for n in row.n),
        comparison_note(row),
    ]


def comparison_format(row: Comparison) -> Format:
    """Return how the numbers of a comparison are shown, its change included."""
    bounds = (row.low, row.high) if row.scale != "ratio" else ()
    return format_of(row.unit, (row.baseline, row.candidate), bounds)


def comparison_note(comparison: Comparison) -> str:
    """Say why there is no better verdict, or how many cases would probably give one."""
    if comparison.reason:
        return comparison.reason
    if comparison.needs:
        return f"needs about {plural(comparison.needs, 'case')}"
    return ""


def verdict_lines(verdicts: Sequence[Verdict], indent: str) -> Iterator[Line]:
    """Yield a table of expectations, the verdict first."""
    cells = [
        [
            verdict.verdict,
            one_line(verdict.condition),
            one_line(verdict.expectation),
            one_line(verdict_text(verdict)),
        ]
        for verdict in verdicts
    ]
    table = tabulate(cells, tablefmt="plain", disable_numparse=True)
    for verdict, line in zip(verdicts, table.splitlines(), strict=True):
        yield Line((indent + line).rstrip(), STYLES[verdict.verdict])


def verdict_text(verdict: Verdict) -> str:
    """``83.3 % [66.4, 92.7] · needs at least 120``: the metric, its interval, what is missing."""
    low, high = verdict.low, verdict.high
    scale = "ratio" if verdict.basis.endswith("ratio") else "difference"
    bounds = () if _relative(verdict) and scale == "ratio" else (low, high)
    shown = (verdict.observed, verdict.bound if _relative(verdict) else None)
    form = format_of(verdict.unit, shown, bounds)
    parts = []
    if verdict.observed is not None:
        parts.append(form.show(verdict.observed))
    if low is not None and not _relative(verdict):
        parts[-1] += " " + form.interval(low, high)
    elif _relative(verdict):
        interval = form.change_interval(low, high, scale)
        parts[-1] += f" against {form.show(verdict.bound)}, change {interval}"
    if verdict.reason:
        parts.append(verdict.reason)
    elif verdict.needs:
        cases = " cases" if verdict.basis.endswith("clustered by case") else ""
        parts.append(f"needs at least {verdict.needs:,}{cases}")
    return " · ".join(parts)


def _relative(verdict: Verdict) -> bool:
    """Whether the interval is that of the change against another condition."""
    return verdict.low is not None and verdict.basis.endswith((", ratio", ", difference"))
