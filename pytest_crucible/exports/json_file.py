"""JSON: one array of all events, one event per line or indented."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pytest_crucible._errors import ArtifactError
from pytest_crucible.exports.compressed import lines, writing
from pytest_crucible.exports.json_lines import from_json, json_lines


def write_json(
    rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path, *, pretty: bool = False
) -> None:
    """Write rows to a JSON file in one pass and flat memory.

    Args:
        rows: yields nested rows; called once.
        path: the file; replaced completely or not at all, compressed if its ending says so.
        pretty: whether to indent the JSON, by two spaces.
    """
    with writing(path) as file:
        before = b"[\n"
        for batch in json_lines(rows):
            # Every line break ends a row: JSON escapes those in values.
            text = batch[:-1].replace(b"\n", b",\n")
            if pretty:
                text = b",\n".join(map(_indented, batch[:-1].split(b"\n")))
            file.write(before + text)
            before = b",\n"
        file.write(b"[\n]\n" if before == b"[\n" else b"\n]\n")


def write_pretty_json(rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None:
    """Write rows to a JSON file, indented by two spaces; see `write_json`."""
    write_json(rows, path, pretty=True)


def _indented(text: bytes) -> bytes:
    return b"  " + msgspec.json.format(text, indent=2).replace(b"\n", b"\n  ")


def read_json(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number of the first line and nested row for every event of a file of `write_json`.

    Raises:
        ArtifactError: the file cannot be read; names the line.
    """
    parts: list[bytes] = []
    start, closed, number = 0, False, 0
    for number, line in enumerate(lines(path), 1):
        text = line.rstrip()
        if closed or (number == 1) != (text == b"["):
            raise ArtifactError(f"{path}:{number}: not an array as `crucible export` writes it")
        if number == 1:
            continue
        if text == b"]" and not parts:
            closed = True
            continue
        start = start if parts else number
        parts.append(text)
        # In indented JSON, only the brace that ends an event has this indent.
        if text.rstrip(b",") == b"  }" or (text.startswith(b"{") and len(parts) == 1):
            yield start, _row(path, start, b"\n".join(parts).rstrip(b","))
            parts.clear()
    if not closed:
        raise ArtifactError(f"{path}:{number}: torn: the array does not end")


def _row(path: Path, number: int, text: bytes) -> dict[str, Any]:
    problem = f"{path}:{number}: not a JSON object in UTF-8"
    try:
        row = from_json(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(problem) from error
    if not isinstance(row, dict):
        raise ArtifactError(problem)
    return row
