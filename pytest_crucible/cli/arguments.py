"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path

from pytest_crucible._errors import DefinitionError
from pytest_crucible._files import local_path
from pytest_crucible.exports.formats import endings_read

PATH_HELP = f"run folder, output folder (its newest run), or {', '.join(endings_read())} file"


class NotAPathError(Exception):
    """A path that is none. Argparse lets it through: it would print its usage around the line."""


def path_argument(text: str) -> Path:
    """``type=`` of every argument that is a path.

    Raises:
        NotAPathError: it is the address of a storage.
    """
    try:
        return local_path(text)
    except DefinitionError as error:
        raise NotAPathError(str(error)) from error
