"""Printing lines, in colour on terminals, and the summary of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from pytest_crucible.analysis.results import Results
from pytest_crucible.hooks.installed import installed
from pytest_crucible.report.lines import Line
from pytest_crucible.report.terminal import render

Print = Callable[[Iterable[Line]], None]

_COLOURS = {"green": "32", "red": "31", "yellow": "33", "bold": "1"}


def summary_of(
    results: Results, sparklines: bool = True, by: Sequence[str] | None = None
) -> Iterator[Line]:
    """Yield the summary of a run, as its session printed it, with lines of installed plugins.

    Arguments and errors as for `render`.
    """
    yield from render(results, sparklines, by)
    yield from map(Line, installed().summary(results))


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines; in colour if standard output is a terminal and ``NO_COLOR`` is not set."""
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    try:
        for line in lines:
            code = _COLOURS.get(line.style) if coloured else None
            print(f"\033[{code}m{line.text}\033[0m" if code else line.text)
        sys.stdout.flush()
    except BrokenPipeError:
        # `crucible compare … | head`: nobody reads the rest, but the exit code still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
