"""``crucible merge``: make one run from the shards of a CI matrix."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_crucible._text import plural
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.cli.arguments import path_argument
from pytest_crucible.cli.printing import Print, summary_of
from pytest_crucible.report.lines import Line
from pytest_crucible.runs.run import open_folder
from pytest_crucible.runs.shards import merge_shards


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``merge`` to the parser."""
    merge = commands.add_parser("merge", help="make one run from the shards of a CI matrix")
    merge.add_argument(
        "shards", type=path_argument, nargs="+", help="run folders, or output folders"
    )
    merge.add_argument(
        "--output", "-o", type=path_argument, required=True, help="run folder to make"
    )
    merge.set_defaults(run=_merge)


def _merge(options: argparse.Namespace, show: Print) -> int:
    def describe(folder: Path) -> dict[str, Any]:
        results = analyse(open_folder(folder))
        # The folder has a temporary name, which reasons must not show.
        reasons = tuple(reason.replace(f"{folder}{os.sep}", "") for reason in results.incomplete)
        return replace(results, incomplete=reasons).to_dict()

    manifest = merge_shards(options.shards, options.output, describe)
    merged = plural(len(manifest["merged"]), "run")
    results = analyse(open_folder(options.output))
    show([*summary_of(results), Line(f"merged: {merged} into {options.output}")])
    return 0
