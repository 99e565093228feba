"""Rows as lines of JSON, for the formats that are made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice, repeat
from typing import Any

import msgspec

from pytest_crucible.events.enrichment_batch import Same
from pytest_crucible.exports.batches import Batch, batches_of
from pytest_crucible.exports.rows import Mark, Rows, nested_rows, to_json, to_json_lines
from pytest_crucible.record.chunks import Chunk

_BATCH = 128


def json_lines(rows: Callable[[], Iterable[Mapping[str, Any]]]) -> Iterator[bytes]:
    """Rows as JSON, each in a line of its own, many lines at once; one pass, flat memory.

    Args:
        rows: called once; yields nested rows.
    """
    if isinstance(rows, Rows) and rows.plain:
        for chunk in rows.chunks():
            yield _lines(chunk, rows.mark)
        return
    rest = iter(rows())
    while some := list(islice(rest, _BATCH)):
        yield to_json_lines(some)


def _lines(chunk: Chunk, mark: Mark | None) -> bytes:
    found, others = batches_of(chunk, mark)
    lines: list[Any] = [None] * len(chunk)
    for batch in found:
        if len(batch.rows) == len(chunk):
            lines = _structs(batch)
            break
        for row, line in zip(batch.rows, _structs(batch), strict=True):
            lines[row] = line
    for row, line in zip(others, nested_rows(chunk.rows(others).events(), mark=mark), strict=True):
        lines[row] = line
    try:
        return _encoder.encode_lines(lines)
    except (TypeError, ValueError, RecursionError):
        return b"".join(to_json(row) + b"\n" for row in nested_rows(chunk.events(), mark=mark))


_encoder = msgspec.json.Encoder()


def _structs(batch: Batch) -> list[Any]:
    """The rows, as objects that msgspec encodes in half the time that dicts take.

    Columns that are the same in all rows, and beside each other, are one field: the value of the
    first, already encoded, and after it the names and values of the others.
    """
    names: list[str] = []
    values: list[Any] = []
    same: list[bytes] = []
    for name, column in batch.columns().items():
        if not isinstance(column, Same):
            names.append(name)
            values.append(column)
            same = []
            continue
        text = to_json(column.value)
        if same:
            same += (b',"', name.encode(), b'":', text)
            values[-1] = repeat(msgspec.Raw(b"".join(same)))
        else:
            same = [text]
            names.append(name)
            values.append(repeat(msgspec.Raw(text)))
    kind = _kind((*names, "measurements", "metadata"))
    return list(map(kind, *values, batch.chunk.measurements, batch.chunk.metadata))


@lru_cache(maxsize=256)
def _kind(fields: tuple[str, ...]) -> type[msgspec.Struct]:
    return msgspec.defstruct("Row", fields, gc=False)


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def from_json(text: str | bytes) -> Any:
    """What a text of JSON holds.

    Not by msgspec, which refuses integers of more than 64 bits.

    Raises:
        ValueError: it is none, or holds half a character, which no other format could.
        RecursionError: it is too deep.
    """
    text = text.decode() if isinstance(text, bytes) else text
    found = json.loads(text)
    if _SURROGATE.search(text):
        json.dumps(found, ensure_ascii=False).encode()
    return found
