"""The guard of records: no output of a command overwrites a record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_crucible._errors import ArtifactError
from pytest_crucible._layout import NODES, SUFFIX
from pytest_crucible.events.schema import REQUIRED
from pytest_crucible.exports.formats import ARCHIVE, FORMATS, Format, format_of_file
from pytest_crucible.runs.manifest import read_manifest

_JSON = FORMATS["json"]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a command may not write to a path.

    Attributes:
        what: what the path is, for messages: ``a folder``, ``a record``.
        elsewhere: whether every file in this folder would be refused, not only this one.
        replaceable: whether the command may write if the user insists (``--force``).
    """

    what: str
    elsewhere: bool = False
    replaceable: bool = False


def obstacle_at(
    target: Path, known: Mapping[str, Format], inputs: Iterable[Path] = ()
) -> Obstacle | None:
    """Return why a command may not write a file; None if it may, also over an existing file.

    Args:
        target: the file that the command wants to write.
        known: the formats by name, with those of plugins.
        inputs: the files and folders that the command reads.

    Raises:
        OSError: an existing file cannot be read.
    """
    if target.is_dir():
        return Obstacle("a folder")
    run = run_folder_around(target)
    if run is not None:
        return Obstacle(f"in the run folder {str(run)!r}", elsewhere=True)
    if not target.exists():
        return None
    if any(source.exists() and target.samefile(source) for source in inputs):
        return Obstacle("what is to be read", replaceable=True)
    if _is_record(target, known):
        return Obstacle("a record", replaceable=True)
    return None


def run_folder_around(target: Path) -> Path | None:
    """Return the run folder that contains a path, with or without following symbolic links."""
    named = Path(os.path.realpath(target.parent)) / target.name
    for path in (named, Path(os.path.realpath(target))):
        for folder in path.parents:
            if _is_run_folder(folder):
                return folder
    return None


def has_record_ending(target: Path, known: Mapping[str, Format]) -> bool:
    """Return whether the ending of a file is that of a record.

    False for ``.json``: reports have that ending, too.
    """
    if target.suffix == ARCHIVE:
        return True
    form = format_of_file(target, known)
    return form is not None and form.read is not None and not _is_plain_json(target)


def _is_record(target: Path, known: Mapping[str, Format]) -> bool:
    """Judge by the ending: even a torn record is worth more than a report."""
    for name in (target, Path(os.path.realpath(target))):
        if has_record_ending(name, known):
            return True
        if _is_plain_json(name) and target.is_file() and _is_json_record(target):
            return True
    return False


def _is_plain_json(target: Path) -> bool:
    return target.name.endswith(_JSON.endings)


def _is_json_record(target: Path) -> bool:
    reader = _JSON.reader()
    assert reader is not None
    try:
        _, row = next(iter(reader(target)), (0, {}))
    except ArtifactError:
        return False
    return all(column in row for column in REQUIRED)


def _is_run_folder(folder: Path) -> bool:
    """Look inside: other programs also write a ``manifest.json`` or a folder ``nodes``."""
    if any((folder / NODES).glob(f"*{SUFFIX}")):
        return True
    try:
        return read_manifest(folder) is not None
    except (ArtifactError, OSError):
        return False
