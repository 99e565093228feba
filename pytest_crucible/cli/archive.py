"""``crucible archive``: a run folder as one checksummed file."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_crucible._errors import ArtifactError, DefinitionError
from pytest_crucible._files import make_output_folder
from pytest_crucible.cli.printing import Print
from pytest_crucible.report.terminal import Line
from pytest_crucible.runs.archive import SUFFIX, pack
from pytest_crucible.runs.run import newest_run, run_files


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``archive``."""
    archive = commands.add_parser("archive", help="write a run folder to one checksummed file")
    archive.add_argument("path", type=Path, help="run folder, or output folder: its newest run")
    archive.add_argument("--output", "-o", type=Path, required=True, help="file to write (.zip)")
    archive.set_defaults(run=_archive)


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
