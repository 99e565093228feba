"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_crucible._errors import DefinitionError
from pytest_crucible._files import local_path
from pytest_crucible.events.pricing import Price, read_prices
from pytest_crucible.exports.formats import endings_read

PATH_HELP = f"run folder, output folder (its newest run), or {', '.join(endings_read())} file"


class NotAPathError(Exception):
    """An argument that is not a path. Argparse would print its usage, too, for its own errors."""


def path_argument(text: str) -> Path:
    """Convert an argument that is a path; for ``type=``.

    Raises:
        NotAPathError: the text is the address of a storage, such as ``s3://…``.
    """
    try:
        return local_path(text)
    except DefinitionError as error:
        raise NotAPathError(str(error)) from error


def add_by(parser: argparse.ArgumentParser) -> None:
    """Add ``--by``, which slices the cases."""
    parser.add_argument(
        "--by", action="append", metavar="NAME",
        help="also by a property of the cases that the marker's slices= put on record; repeatable",
    )  # fmt: skip


def add_prices(parser: argparse.ArgumentParser) -> None:
    """Add ``--prices``."""
    parser.add_argument(
        "--prices", type=path_argument, metavar="FILE",
        help="prices of models, TOML or JSON, as for pytest --crucible-prices",
    )  # fmt: skip


def prices_of(options: argparse.Namespace) -> dict[str, Price] | None:
    """Return the user's prices; None without ``--prices``.

    Raises:
        DefinitionError: the file is not a table of prices.
    """
    return None if options.prices is None else read_prices(options.prices)
