"""Curves for the terminal: numbers logged step by step, a row per number and condition."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from pytest_crucible._text import plural
from pytest_crucible.analysis.results import ExperimentResult
from pytest_crucible.metrics.curves import Logged
from pytest_crucible.report.numbers import decimals, show

_BARS = "▁▂▃▄▅▆▇█"
_GAP = "·"  # an interval of steps without a finite value


def logged_lines(experiment: ExperimentResult, sparklines: bool) -> Iterator[tuple[str, bool]]:
    """Yield the lines of a table of all logged numbers.

    Args:
        experiment: the experiment that logged them.
        sparklines: draw curves; if False, show only their range, for terminals without these
            characters.

    Yields:
        A line, and whether it deserves attention.
    """
    rows: list[list[str]] = []
    oddities: list[str] = []
    arms = len(experiment.conditions) > 1
    by_condition = experiment.metrics.values()
    for name in dict.fromkeys(name for metrics in by_condition for name in metrics.logged):
        for condition in experiment.conditions:
            logged = experiment.metrics[condition].logged.get(name)
            if logged is not None:
                rows.append(_row(name, condition, logged, sparklines))
                if logged.not_finite:
                    owner = f" of {condition}" if arms else ""
                    oddities.append(
                        f"{logged.not_finite:,} of {plural(logged.points, 'value')} "
                        f"of {name}{owner} "
                        f"{'is' if logged.not_finite == 1 else 'are'} not finite"
                    )
    if not rows:
        return
    header = ["logged", "", "trials", "steps", "first", "last", "best (step)", "curve"]
    align = ["left", "left", *["right"] * 5, "left"]
    shown = [i for i in range(len(header)) if (i != 1 or arms) and (i != 2 or _several(rows))]
    table = tabulate(
        [[row[i] for i in shown] for row in rows],
        headers=[header[i] for i in shown],
        colalign=[align[i] for i in shown],
        tablefmt="plain",
        disable_numparse=True,
    )
    for line in table.splitlines():
        yield line.rstrip(), False
    for oddity in oddities:
        yield oddity, True


def _several(rows: list[list[str]]) -> bool:
    return any(row[2] != "1" for row in rows)


def _row(name: str, condition: str, logged: Logged, sparklines: bool) -> list[str]:
    numbers = [logged.first, logged.last, logged.best]
    digits = decimals([number for number in numbers if number is not None])
    best = show(logged.best, "", digits)
    if logged.best_step is not None:
        whole = logged.best_step.is_integer()
        best += f" ({show(logged.best_step, '', 0 if whole else 1)})"
    values = [value for _, value in logged.curve]
    return [
        " ".join(name.split()),
        " ".join(condition.split()),
        f"{logged.trials:,}",
        show(logged.steps, "", 0 if logged.steps is None or logged.steps.is_integer() else 1),
        show(logged.first, "", digits),
        show(logged.last, "", digits),
        best,
        sparkline(values) if sparklines else span(values, digits),
    ]


def sparkline(values: Sequence[float | None]) -> str:
    """``▁▃▅·█``: values as bars, scaled from lowest to highest; ``·`` for None."""
    present = [value for value in values if value is not None]
    if not present:
        return ""
    low, high = min(present), max(present)
    # Halved, because the difference of two large floats may overflow.
    size = high / 2 - low / 2
    bars = []
    for value in values:
        if value is None:
            bars.append(_GAP)
        else:
            share = (value / 2 - low / 2) / size if size else 0.0
            bars.append(_BARS[min(math.floor(share * len(_BARS)), len(_BARS) - 1)])
    return "".join(bars)


def span(values: Sequence[float | None], digits: int) -> str:
    """``0.21 to 2.30``: the lowest and the highest value, in plain characters."""
    present = [value for value in values if value is not None]
    if not present:
        return ""
    return f"{show(min(present), '', digits)} to {show(max(present), '', digits)}"
