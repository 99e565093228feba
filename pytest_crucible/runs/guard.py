"""The guard of records: what a command writes never takes the place of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_crucible._errors import ArtifactError
from pytest_crucible._files import SPECIAL, is_special
from pytest_crucible._layout import NODES, SUFFIX
from pytest_crucible.events.schema import REQUIRED
from pytest_crucible.exports.formats import ARCHIVE, FORMATS, Format, format_of_file
from pytest_crucible.runs.manifest import read_manifest

_JSON = FORMATS["json"]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why nothing may be written at some place.

    Attributes:
        what: stands there, or what the place is: ``a folder``.
        elsewhere: whether it is for the place, not for what stands there.
        replaceable: whether it may all the same, if the user says so.
    """

    what: str
    elsewhere: bool = False
    replaceable: bool = False


def obstacle_at(
    target: Path, known: Mapping[str, Format], inputs: Iterable[Path] = ()
) -> Obstacle | None:
    """What keeps a command from writing a file; None if it may, also over a file that is there.

    Args:
        target: the file to be written.
        known: the formats by name, those of plugins among them.
        inputs: what the command reads.

    Raises:
        OSError: a file that is there cannot be looked into.
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
    if any(each.exists() and target.samefile(each) for each in inputs):
        return Obstacle("what is to be read", replaceable=True)
    if _is_record(target, known):
        return Obstacle("a record", replaceable=True)
    return None


def run_folder_around(target: Path) -> Path | None:
    """The run folder that a path lies in, by its name or where it really is."""
    named = Path(os.path.realpath(target.parent)) / target.name
    for place in (named, Path(os.path.realpath(target))):
        for folder in place.parents:
            if _is_run_folder(folder):
                return folder
    return None


def has_record_ending(target: Path, known: Mapping[str, Format]) -> bool:
    """Whether a file of this name is a record, or would be taken for one.

    Upper case is as good: a record that was renamed is one still. Not so ``.json``, an ending that
    reports have, too.
    """
    for name in (target, _in_lower_case(target)):
        found = format_of_file(name, known)
        readable = found is not None and found.read is not None and not _is_plain_json(name)
        if readable or name.suffix == ARCHIVE:
            return True
    return False


def _is_record(target: Path, known: Mapping[str, Format]) -> bool:
    """By its ending, torn or not: what it may hold still is worth more than a report."""
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
    reader = _JSON.reader()
    assert reader is not None
    try:
        _, row = next(iter(reader(target)), (0, {}))
    except ArtifactError:
        return False
    return all(column in row for column in REQUIRED)


def _is_run_folder(folder: Path) -> bool:
    """By what makes one: other programs have a ``manifest.json`` or a folder ``nodes``, too."""
    if any((folder / NODES).glob(f"*{SUFFIX}")):
        return True
    try:
        return read_manifest(folder) is not None
    except (ArtifactError, OSError):
        return False
