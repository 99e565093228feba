"""JSONL: one event per line, nesting kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonlines

from pytest_crucible._errors import ArtifactError
from pytest_crucible.artifact.files import replacing
from pytest_crucible.artifact.rows import to_json


def write_jsonl(rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None:
    """Write rows to a JSONL file in one pass and flat memory.

    Args:
        rows: called once; yields nested rows.
        path: the file; replaced as a whole or not at all.
    """
    with replacing(path) as file:
        for row in rows():
            file.write(to_json(row).decode() + "\n")


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Nested rows of a JSONL file, with their line numbers.

    Raises:
        ArtifactError: names the line.
    """
    try:
        with open(path, "rb") as file, jsonlines.Reader(file) as reader:
            yield from enumerate(reader.iter(type=dict), 1)
    except jsonlines.InvalidLineError as error:
        raise ArtifactError(f"{path}:{error.lineno}: not a JSON object in UTF-8") from error
