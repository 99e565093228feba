"""Read, convert and judge what runs left behind, without running anything again.

Exit codes: 0 fine; 1 regression, or an expectation rejected; 2 usage, or unreadable input;
3 nothing to compare or to judge; 4 inconclusive, where --fail-on or --inconclusive asks for it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_crucible import cli_events, cli_export, cli_judge, cli_plan
from pytest_crucible._errors import ArtifactError, CrucibleError, DefinitionError
from pytest_crucible.artifact.archive import SUFFIX, pack
from pytest_crucible.artifact.files import make_output_folder
from pytest_crucible.artifact.merge import merge_shards
from pytest_crucible.artifact.run import Run, newest_run, open_folder, open_run, run_files
from pytest_crucible.artifact.trace import Trace
from pytest_crucible.report.numbers import plural
from pytest_crucible.report.recover import recover, unfinished_runs
from pytest_crucible.report.results import analyse
from pytest_crucible.report.terminal import Line, has_sparklines, render

_COLOURS = {"green": "32", "red": "31", "yellow": "33", "bold": "1"}
Print = Callable[[Iterable[Line]], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options, print_lines)
        print_lines(())
        return code
    except (CrucibleError, OSError) as error:
        print(f"crucible: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crucible", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    show = commands.add_parser("show", help="print the summary of a run")
    show.add_argument("path", type=Path, help=PATH_HELP)
    show.add_argument("--trace", metavar="ID", help="print one trace instead, as a tree")
    show.set_defaults(run=_show)

    cli_export.add_command(commands)

    merge = commands.add_parser("merge", help="make one run of the shards of a CI matrix")
    merge.add_argument("shards", type=Path, nargs="+", help="run folders, or output folders")
    merge.add_argument("--output", "-o", type=Path, required=True, help="run folder to make")
    merge.set_defaults(run=_merge)

    archive = commands.add_parser("archive", help="write a run folder to one checksummed file")
    archive.add_argument("path", type=Path, help="run folder, or output folder: its newest run")
    archive.add_argument("--output", "-o", type=Path, required=True, help="file to write (.zip)")
    archive.set_defaults(run=_archive)

    recovery = commands.add_parser("recover", help="finish runs whose pytest was killed")
    recovery.add_argument("path", type=Path, help="run folder, or output folder: all runs in it")
    recovery.set_defaults(run=_recover)

    cli_judge.add_commands(commands)
    cli_plan.add_command(commands)
    cli_events.add_command(commands)
    return parser


PATH_HELP = cli_judge.PATH_HELP


def _show(options: argparse.Namespace, show: Print) -> int:
    run = open_run(options.path)
    if options.trace is not None:
        show(map(Line, _trace(run, options.trace).lines()))
        return 0
    results = analyse(run)
    sparklines = has_sparklines(sys.stdout.encoding)
    show([*render(results, sparklines), Line(f"run: {results.run}")])
    return 0


def _trace(run: Run, id: str) -> Trace:
    try:
        return run.events().trace(id)
    except LookupError as error:
        raise ArtifactError(f"{run.path}: {error}") from error


def _merge(options: argparse.Namespace, show: Print) -> int:
    def describe(folder: Path) -> dict[str, Any]:
        results = analyse(open_folder(folder))
        # The folder is in its place only later.
        reasons = tuple(each.replace(f"{folder}{os.sep}", "") for each in results.incomplete)
        return replace(results, incomplete=reasons).to_dict()

    manifest = merge_shards(options.shards, options.output, describe)
    merged = plural(len(manifest["merged"]), "run")
    results = analyse(open_folder(options.output))
    show([*render(results), Line(f"merged: {merged} into {options.output}")])
    return 0


def _archive(options: argparse.Namespace, show: Print) -> int:
    if options.output.suffix != SUFFIX:
        raise DefinitionError(f"{options.output}: an archive is a {SUFFIX} file")
    if not options.path.is_dir():
        raise ArtifactError(f"{options.path}: not a run folder, nor an output folder")
    folder = newest_run(options.path)
    files = run_files(folder)
    make_output_folder(options.output.parent)
    show([Line(str(pack(folder, files, options.output)))])
    return 0


def _recover(options: argparse.Namespace, show: Print) -> int:
    runs = unfinished_runs(options.path)
    if not runs:
        show([Line(f"{options.path}: nothing to recover, every run has its manifest")])
    for folder in runs:
        show([*render(recover(folder)), Line(f"recovered: {folder}")])
    return 0


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines, in colour where the terminal has it."""
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    try:
        for line in lines:
            code = _COLOURS.get(line.style) if coloured else None
            print(f"\033[{code}m{line.text}\033[0m" if code else line.text)
        sys.stdout.flush()
    except BrokenPipeError:
        # `crucible compare … | head`: nobody reads any more. The exit code still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
