"""``crucible show``: print the summary of a run, or one of its traces."""

from __future__ import annotations

import argparse
import sys

from pytest_crucible._errors import ArtifactError
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.cli.arguments import (
    PATH_HELP,
    add_by,
    add_prices,
    path_argument,
    prices_of,
)
from pytest_crucible.cli.printing import Print, summary_of
from pytest_crucible.events.pricing import pricers
from pytest_crucible.queries.trace import Trace
from pytest_crucible.report.lines import Line, has_sparklines
from pytest_crucible.runs.run import RecordedRun, open_recorded


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``show`` to the parser."""
    show = commands.add_parser("show", help="print the summary of a run")
    show.add_argument("path", type=path_argument, help=PATH_HELP)
    show.add_argument("--trace", metavar="ID", help="print one trace instead, as a tree")
    add_by(show)
    add_prices(show)
    show.set_defaults(run=_show)


def _show(options: argparse.Namespace, show: Print) -> int:
    run = open_recorded(options.path)
    if options.trace is not None:
        show(map(Line, _trace(run, options.trace).lines()))
        return 0
    prices = prices_of(options)
    results = analyse(run, () if prices is None else pricers(prices))
    results.check_slices(options.by or ())
    sparklines = has_sparklines(sys.stdout.encoding)
    show([*summary_of(results, sparklines, options.by), Line(f"run: {results.run}")])
    return 0


def _trace(run: RecordedRun, id: str) -> Trace:
    try:
        return run.events.trace(id)
    except LookupError as error:
        raise ArtifactError(f"{run.path}: {error}") from error
