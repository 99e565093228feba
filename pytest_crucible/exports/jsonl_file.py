"""JSONL: one JSON object per event and line, with its nesting."""

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
        rows: yields nested rows; called once.
        path: the file; replaced completely or not at all, compressed if its ending says so.
    """
    with writing(path) as file:
        for batch in json_lines(rows):
            file.write(batch)


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and nested row for every event of a JSONL file.

    Raises:
        ArtifactError: the file cannot be read; names the line.
    """
    import jsonlines  # here, because sessions import this module but do not read such files

    try:
        with jsonlines.Reader(lines(path), loads=from_json) as reader:
            yield from enumerate(reader.iter(type=dict), 1)
    except jsonlines.InvalidLineError as error:
        raise ArtifactError(f"{path}:{error.lineno}: not a JSON object in UTF-8") from error
