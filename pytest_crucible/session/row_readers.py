"""Readers of case files: they yield the place and the content of one row after the other.

They read no further than their caller asks.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

Rows = Iterator[tuple[str, dict[str, Any]]]
"""Place (``:17`` for a line) and fields of each row."""

_CHUNK = 65_536
_BATCH = 100
_NO_TEXT = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of bytes that are no text
_LONGEST_FIELD = 2**31 - 1


class RowError(Exception):
    """What is wrong, with its place in front: ``:17: not JSON: …``."""


def _open(file: Path, encoding: str, newline: str | None = None) -> TextIO:
    return file.open(encoding=encoding, errors="surrogateescape", newline=newline)


def _lines(file: TextIO, encoding: str) -> Iterator[str]:
    """Yield lines; refuse bytes that are no text, with the number of their line."""
    number = 0
    try:
        for number, line in enumerate(file, 1):
            if _NO_TEXT.search(line):
                raise RowError(f":{number}: not {encoding} text; give encoding=")
            yield line
    except UnicodeError as error:
        raise RowError(f":{number + 1}: not {encoding} text ({error}); give encoding=") from error


def _fields(place: str, row: object) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise RowError(f"{place}: a row must be an object, not {type(row).__name__}")
    if not row:
        raise RowError(f"{place}: a row without fields")
    return row


def _json_lines(path: Path, encoding: str) -> Rows:
    with _open(path, encoding) as file:
        for number, line in enumerate(_lines(file, encoding), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise RowError(f":{number}: not JSON: {error}") from error
            yield f":{number}", _fields(f":{number}", row)


def _separated(path: Path, encoding: str, *, separator: str) -> Rows:
    with _open(path, encoding, newline="") as file:
        reader = csv.reader(_lines(file, encoding), delimiter=separator, strict=True)
        header: list[str] | None = None
        while True:
            began = reader.line_num + 1
            try:
                values = _next_record(reader)
            except csv.Error as error:
                raise RowError(f":{began}: not CSV: {error}") from error
            if values is None:
                return
            if not values:
                continue
            if header is None:
                header = values
                _check_header(began, header)
            elif len(values) != len(header):
                raise RowError(
                    f":{began}: {len(values)} fields, but the header names {len(header)}"
                )
            else:
                yield f":{began}", dict(zip(header, values, strict=True))


def _next_record(reader: Any) -> list[str] | None:
    # The limit belongs to the whole process, so it is raised for this call only.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(limit)


def _check_header(line: int, header: list[str]) -> None:
    for position, name in enumerate(header):
        if not name.strip():
            raise RowError(f":{line}: field {position + 1} of the header has no name")
        if name in header[:position]:
            raise RowError(f":{line}: the header names {name!r} twice")


class _Text:
    """The part of a JSON file that is in memory."""

    def __init__(self, file: TextIO, encoding: str) -> None:
        self._file, self._encoding = file, encoding
        self.text, self.line, self.ended = "", 1, False

    def more(self) -> None:
        try:
            chunk = self._file.read(max(_CHUNK, len(self.text)))
        except UnicodeError as error:
            raise RowError(f": not {self._encoding} text ({error}); give encoding=") from error
        odd = _NO_TEXT.search(chunk)
        if odd:
            line = self.line + (self.text + chunk[: odd.start()]).count("\n")
            raise RowError(f":{line}: not {self._encoding} text; give encoding=")
        self.text, self.ended = self.text + chunk, not chunk

    def drop(self, count: int) -> None:
        self.line += self.text.count("\n", 0, count)
        self.text = self.text[count:]

    def peek(self) -> str:
        """Skip white space; return the next character, empty at the end of the file."""
        while True:
            self.drop(len(self.text) - len(self.text.lstrip(" \t\r\n")))
            if self.text or self.ended:
                return self.text[:1]
            self.more()

    def value(self, decoder: json.JSONDecoder) -> object:
        """Read one value, and as much more of the file as it takes."""
        while True:
            try:
                value, end = decoder.raw_decode(self.text)
            except (ValueError, RecursionError) as error:
                position = getattr(error, "pos", 0)
                # Else the value may go on in the part that is not read yet.
                open_end = position > len(self.text) - 16 or "Unterminated" in str(error)
                if self.ended or not open_end:
                    line = self.line + self.text.count("\n", 0, position)
                    raise RowError(f":{line}: not JSON: {error}") from error
                self.more()
                continue
            self.drop(end)
            return value


def _json_list(path: Path, encoding: str) -> Rows:
    """Read a list of objects one by one: it may be larger than the memory."""
    decoder = json.JSONDecoder()
    with _open(path, encoding) as file:
        text = _Text(file, encoding)
        first = text.peek()
        if first != "[":
            if not first:
                return
            raise RowError(f":{text.line}: must be a list of objects: [{{…}}, …]")
        text.drop(1)
        if text.peek() != "]":
            while True:
                text.peek()
                place = f":{text.line}"
                yield place, _fields(place, text.value(decoder))
                mark = text.peek()
                if mark == "]":
                    break
                if mark != ",":
                    raise RowError(f":{text.line}: not JSON: expected ',' or ']' after a row")
                text.drop(1)
        text.drop(1)
        if text.peek():
            raise RowError(f":{text.line}: not JSON: more text after the list")


def _parquet(path: Path, encoding: str) -> Rows:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise RowError(": Parquet needs: pip install 'pytest-crucible[parquet]'") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f": row {number}", row
    except pyarrow.ArrowException as error:
        raise RowError(f": not Parquet: {str(error).splitlines()[0]}") from error


READERS: dict[str, Callable[[Path, str], Rows]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_list,
    ".csv": partial(_separated, separator=","),
    ".tsv": partial(_separated, separator="\t"),
    ".parquet": _parquet,
}
"""By ending of the file's name."""
