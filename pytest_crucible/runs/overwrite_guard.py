"""The guard of records: no output of a command overwrites a record."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_crucible._errors import ArtifactError
from pytest_crucible._files import SPECIAL, is_special
from pytest_crucible._layout import NODES, SUFFIX
from pytest_crucible.exports.formats import ARCHIVE, FORMATS, Format, format_of_file
from pytest_crucible.runs.manifest import read_manifest

_JSON = FORMATS["json"]
_RECORD_BEGINS = re.compile(rb'(?:\xef\xbb\xbf)?\s*\[?\s*\{\s*"run"\s*:\s*"')
_ENOUGH = 256  # bytes


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
    if is_special(target):
        return Obstacle(SPECIAL, elsewhere=True)
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

    Upper case counts, too: a record that was renamed is still one. False for ``.json``: reports
    have that ending, too.
    """
    for name in (target, _in_lower_case(target)):
        form = format_of_file(name, known)
        readable = form is not None and form.read is not None and not _is_plain_json(name)
        if readable or name.suffix == ARCHIVE:
            return True
    return False


def _is_record(target: Path, known: Mapping[str, Format]) -> bool:
    """Judge by the ending: even a torn record is worth more than a report."""
    for name in (target, Path(os.path.realpath(target))):
        if has_record_ending(name, known):
            return True
        if _is_plain_json(name) and target.is_file() and _is_json_record(target):
            return True
    return False


def _is_plain_json(target: Path) -> bool:
    return target.name.lower().endswith(_JSON.endings)


def _in_lower_case(target: Path) -> Path:
    return target.parent / target.name.lower()


def _is_json_record(target: Path) -> bool:
    """Look at the beginning, which a torn record still has. Our reports begin otherwise."""
    with open(target, "rb") as file:
        return _RECORD_BEGINS.match(file.read(_ENOUGH)) is not None


def _is_run_folder(folder: Path) -> bool:
    """Look inside: other programs also write a ``manifest.json`` or a folder ``nodes``."""
    if any((folder / NODES).glob(f"*{SUFFIX}")):
        return True
    try:
        return read_manifest(folder) is not None
    except (ArtifactError, OSError):
        return False
