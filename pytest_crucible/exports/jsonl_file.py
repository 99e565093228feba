"""JSONL: one event per line, nesting kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_crucible._errors import ArtifactError
from pytest_crucible.exports.compressed import lines, writing
from pytest_crucible.exports.json_lines import from_json, json_lines


def write_jsonl(rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None:
    """Write rows to a JSONL file in one pass and flat memory.

    Args:
        rows: called once; yields nested rows.
        path: the file; replaced as a whole or not at all, compressed as its ending says.
    """
    with writing(path) as file:
        for some in json_lines(rows):
            file.write(some)


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Nested rows of a JSONL file, with their line numbers.

    Raises:
        ArtifactError: names the line.
    """
    import jsonlines  # here, for sessions import this module and read no such file

    try:
        with jsonlines.Reader(lines(path), loads=from_json) as reader:
            yield from enumerate(reader.iter(type=dict), 1)
    except jsonlines.InvalidLineError as error:
        raise ArtifactError(f"{path}:{error.lineno}: not a JSON object in UTF-8") from error
