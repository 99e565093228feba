"""``crucible archive``: write a run folder to one checksummed file."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_crucible._errors import ArtifactError, DefinitionError, OutputError
from pytest_crucible._files import make_output_folder
from pytest_crucible.cli.arguments import path_argument
from pytest_crucible.cli.printing import Print
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.hooks.plugins import NO_PLUGINS
from pytest_crucible.report.lines import Line
from pytest_crucible.runs.archive import SUFFIX, pack
from pytest_crucible.runs.overwrite_guard import obstacle_at
from pytest_crucible.runs.run import newest_run, open_folder, open_recorded, run_files


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``archive`` to the parser."""
    archive = commands.add_parser("archive", help="write a run folder to one checksummed file")
    archive.add_argument(
        "path", type=path_argument, help="run folder, or output folder: its newest run"
    )
    archive.add_argument(
        "--output", "-o", type=path_argument, required=True, help="file to write (.zip)"
    )
    archive.set_defaults(run=_archive)


def _archive(options: argparse.Namespace, show: Print) -> int:
    if options.output.suffix != SUFFIX:
        raise DefinitionError(f"{options.output}: an archive is a {SUFFIX} file")
    if not options.path.is_dir():
        raise ArtifactError(f"{options.path}: not a run folder, nor an output folder")
    folder = newest_run(options.path)
    files = run_files(folder)
    _check_target(options.output, folder)
    make_output_folder(options.output.parent)
    show([Line(str(pack(folder, files, options.output)))])
    return 0


def _check_target(target: Path, folder: Path) -> None:
    """Allow to replace only an archive of the same run: another archive may be the only copy."""
    obstacle = obstacle_at(target, FORMATS)
    if obstacle is not None and not obstacle.replaceable:
        raise OutputError(f"{target} is {obstacle.what}; write it elsewhere")
    if not target.exists():
        return
    run = open_folder(folder, plugins=NO_PLUGINS)
    try:
        same = open_recorded(target, plugins=NO_PLUGINS).id == run.id
    except ArtifactError:
        same = False
    if not same:
        raise OutputError(
            f"{target}: exists and is no archive of run {run.id}; nothing was written"
        )
