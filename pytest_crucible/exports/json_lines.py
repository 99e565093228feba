"""Rows as lines of JSON, for the formats that consist of them."""

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
    """Yield rows as lines of JSON, many lines at once, in one pass and flat memory.

    Args:
        rows: yields nested rows; called once.
    """
    if isinstance(rows, Rows) and rows.plain:
        for chunk in rows.chunks():
            yield _lines(chunk, rows.mark)
        return
    rest = iter(rows())
    while batch := list(islice(rest, _BATCH)):
        yield to_json_lines(batch)


def _lines(chunk: Chunk, mark: Mark | None) -> bytes:
    batches, others = batches_of(chunk, mark)
    lines: list[Any] = [None] * len(chunk)
    for batch in batches:
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
    """Return the rows as structs, which msgspec encodes in half the time that dicts take.

    Neighbouring columns with the same value in all rows become one field. Its value is raw JSON:
    the value of the first column, then names and values of the others.
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
    """Return the value of a JSON text.

    msgspec would be faster, but refuses integers of more than 64 bits.

    Raises:
        ValueError: it is not JSON, or has a lone surrogate, which other formats cannot hold.
        RecursionError: it is nested too deep.
    """
    text = text.decode() if isinstance(text, bytes) else text
    value = json.loads(text)
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value
