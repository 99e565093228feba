"""``crucible recover``: finish runs whose pytest was killed."""

from __future__ import annotations

import argparse

from pytest_crucible.analysis.recover import recover, unfinished_runs
from pytest_crucible.cli.arguments import add_prices, path_argument, prices_of
from pytest_crucible.cli.printing import Print, summary_of
from pytest_crucible.report.lines import Line


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``recover`` to the parser."""
    recovery = commands.add_parser("recover", help="finish runs whose pytest was killed")
    recovery.add_argument(
        "path", type=path_argument, help="run folder, or output folder: all runs in it"
    )
    add_prices(recovery)
    recovery.set_defaults(run=_recover)


def _recover(options: argparse.Namespace, show: Print) -> int:
    runs = unfinished_runs(options.path)
    if not runs:
        show([Line(f"{options.path}: nothing to recover, every run has its manifest")])
    for folder in runs:
        show([*summary_of(recover(folder, prices_of(options))), Line(f"recovered: {folder}")])
    return 0
