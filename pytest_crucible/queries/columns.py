"""Columns: events as arrays, read once, for any number of queries.

A query over a list of a million events looks at a million objects; over columns it compares a few
arrays. A column of texts is stored as codes: indices into the list of its distinct texts.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import NoneType
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from pytest_crucible._text import did_you_mean
from pytest_crucible.capture.bus import matcher
from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.enrichment_batch import NOTHING, Column, Same, enriched_columns
from pytest_crucible.events.event import Event, weight_of
from pytest_crucible.events.schema import MEASURED, NUMBERS, QUERIED, SCOPE, Measured
from pytest_crucible.exports.batches import batches_of
from pytest_crucible.record.chunks import Chunk, Origin

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Number = TypeVar("Number", np.int32, np.int64, np.float64)

_TEXTS = frozenset({str, NoneType})
TEXTS = ("name", *(column.name for column in QUERIED))
OF_SCOPES = tuple(column.name for column in QUERIED if column.computed_by == SCOPE)
OF_EVENTS = tuple(column.name for column in QUERIED if column.computed_by != SCOPE)


class Texts(TypedDict, total=False):
    """The columns of texts, apart from the name, that a query can ask for."""

    condition: str | None
    case: str | None
    model: str | None
    provider: str | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """All columns as they were read, before any query.

    Attributes:
        distinct: the distinct texts of every column of texts.
        codes: for every row the index of its text in ``distinct``; ``(rows,)``, int32.
        numbers: the columns of numbers; ``(rows,)``, float64.
        time_us: µs since the epoch; ``(rows,)``, int64.
    """

    distinct: Mapping[str, tuple[str | None, ...]]
    codes: Mapping[str, NDArray[np.int32]]
    numbers: Mapping[str, Floats]
    time_us: Ints


class EventColumns(Measured[Floats]):
    """Some events as columns, one value per event, in order; made by `Events.columns`.

    All queries of the same events share the arrays, so nobody can write to them. A query only
    stores which rows it keeps; a column is made when it is asked for.

    Args:
        loaded: the columns of all events that were read.
        rows: indices of the rows that these columns have, in order; None for all.
    """

    def __init__(self, loaded: _Loaded, rows: NDArray[np.intp] | None = None) -> None:
        self._loaded = loaded
        self._rows = rows

    def _of(self, column: NDArray[Number]) -> NDArray[Number]:
        return column if self._rows is None else column[self._rows]

    @property
    def time_us(self) -> Ints:
        """µs since the epoch."""
        return self._of(self._loaded.time_us)

    def measured(self, column: str) -> Floats:
        """Return a column of numbers: ``measured("latency_ms")`` is the attribute ``latency_ms``.

        Returns:
            An array of the shape ``(events,)``, with NaN for events without such a number.

        Raises:
            KeyError: there is no such column of numbers.
        """
        if column not in MEASURED:
            raise KeyError(f"no column of numbers {column!r}; there are {', '.join(MEASURED)}")
        return self._of(self._loaded.numbers[column])

    def __len__(self) -> int:
        return int(self._loaded.time_us.size if self._rows is None else self._rows.size)

    def texts(self, column: str) -> NDArray[np.object_]:
        """Return the ``name``, ``condition``, ``case``, ``model`` or ``provider`` of every event.

        Returns:
            An array of the shape ``(events,)``, with None for events without such a text.

        Raises:
            KeyError: there is no such column of texts.
        """
        if column not in TEXTS:
            raise KeyError(f"no column of texts {column!r}; there are {', '.join(TEXTS)}")
        distinct = np.array([*self._loaded.distinct[column], None], dtype=object)
        texts: NDArray[np.object_] = distinct[self._of(self._loaded.codes[column])]
        return texts

    def query(
        self,
        name: str | None = None,
        *,
        success: bool | None = None,
        time_range_us: tuple[int | None, int | None] = (None, None),
        **texts: Unpack[Texts],
    ) -> EventColumns:
        """Return the events that meet all of these conditions, as columns.

        Args:
            name: event name, in which ``*`` stands for any characters.
            success: True for events that succeeded, False for those that failed; None for all.
            time_range_us: first and last time in µs, both included; None for no limit.
            texts: ``condition``, ``case``, ``model`` or ``provider``; None for events without one.

        Raises:
            TypeError: there is no such column (one line with the valid ones and, if there is one, a
                similar name), or ``success`` is no truth value.
        """
        if success is not None and not isinstance(success, (bool, np.bool_)):
            raise TypeError(f"query(success={success!r}): it takes True or False")
        unknown = [column for column in texts if column not in TEXTS]
        if unknown:
            valid = ("name", "success", "time_range_us", *TEXTS[1:])
            hint = did_you_mean(unknown[0], valid)
            raise TypeError(
                f"query({unknown[0]}=…): columns have no {unknown[0]!r}; {hint}"
                f"valid: {', '.join(valid)}"
            )
        kept = np.ones(len(self), dtype=bool)
        if name is not None:
            matches = matcher(name).match
            kept &= self._matching("name", lambda text: matches(text or "") is not None)
        for column, wanted in texts.items():
            # Columns hold texts: a model that is the number 3 is "3" here.
            text = _text(wanted)
            kept &= self._matching(column, text.__eq__ if text is not None else _is_none)
        if success is not None:
            kept &= self.success == float(success)
        first, last = time_range_us
        if first is not None:
            kept &= self.time_us >= first
        if last is not None:
            kept &= self.time_us <= last
        return self.where(kept)

    def _matching(self, column: str, wanted: Callable[[str | None], object]) -> NDArray[np.bool_]:
        # Called once per distinct text, not once per event.
        answers = [wanted(text) is True for text in self._loaded.distinct[column]]
        codes = self._of(self._loaded.codes[column])
        matching: NDArray[np.bool_] = np.array(answers, dtype=bool)[codes]
        return matching

    def where(self, kept: NDArray[np.bool_]) -> EventColumns:
        """Return the events at which ``kept`` is true: ``columns.where(columns.latency_ms > 100)``.

        Args:
            kept: truth values of the shape ``(events,)``.

        Raises:
            TypeError: ``kept`` is no array of truth values.
            ValueError: ``kept`` has another length.
        """
        if getattr(kept, "dtype", None) != np.bool_:
            raise TypeError("where() takes an array of truth values, one per event")
        if kept.shape != (len(self),):
            raise ValueError(f"{kept.size} truth values for {len(self)} events")
        rows = np.flatnonzero(kept)
        return EventColumns(self._loaded, rows if self._rows is None else self._rows[rows])

    def __repr__(self) -> str:
        return f"<columns of {len(self)} events>"


def columns_of(chunks: Iterable[Chunk]) -> EventColumns:
    """Read events into columns."""
    codes: dict[str, array[int]] = {name: array("i") for name in TEXTS}
    distinct: dict[str, _Codes] = {name: _Codes() for name in TEXTS}
    numbers: dict[str, array[float]] = {name: array("d") for name in MEASURED}
    time_us = array("q")
    for chunk in chunks:
        parts = list(_parts(chunk))
        for name, code_of in distinct.items():
            text_codes = np.empty(len(chunk), dtype=np.int32)
            for rows, columns in parts:
                column = columns[name]
                text_codes[rows] = (
                    code_of[column.value]
                    if isinstance(column, Same)
                    else [code_of[text] for text in column]
                )
            codes[name].frombytes(text_codes.view(np.uint8).data)
        for name, values in numbers.items():
            chunk_values = np.empty(len(chunk))
            for rows, columns in parts:
                column = columns.get(name, NOTHING)
                value = column.value if isinstance(column, Same) else column
                chunk_values[rows] = np.array(value, dtype=np.float64)  # None is NaN
            values.frombytes(chunk_values.view(np.uint8).data)
        time_us.extend(chunk.times_us)
    return EventColumns(
        _Loaded(
            {name: tuple(texts) for name, texts in distinct.items()},
            {name: _fixed(np.frombuffer(c, dtype=np.int32)) for name, c in codes.items()},
            {name: _fixed(np.frombuffer(values)) for name, values in numbers.items()},
            _fixed(np.frombuffer(time_us, dtype=np.int64)),
        )
    )


class _Codes(dict[str | None, int]):
    """The code of every distinct text; a new text gets the next code."""

    def __missing__(self, text: str | None) -> int:
        code = self[text] = len(self)
        return code


def _parts(chunk: Chunk) -> Iterator[tuple[Any, dict[str, Column]]]:
    """Yield the chunk in parts: rows of the chunk, as an index of arrays, and their columns."""
    batches, others = batches_of(chunk)
    for batch in batches:
        columns = {} if batch.internal else enriched_columns(batch.events)
        is_all = len(batch.rows) == len(chunk)
        yield (
            slice(None) if is_all else list(batch.rows),
            _with_texts(columns, batch.events.name, batch.chunk.origins),
        )
    for row, event in zip(others, chunk.rows(others).events(), strict=True):
        enriched = Enriched() if event.internal else enrich(event)
        columns = {name: Same(getattr(enriched, name)) for name in (*OF_EVENTS, *MEASURED)}
        yield row, _with_texts(columns, event.name, [chunk.origins[row]])


def _with_texts(
    columns: dict[str, Column], name: str, origins: Sequence[Origin]
) -> dict[str, Column]:
    """Return the columns with those of `TEXTS`, all of whose values are texts or None."""
    joined = {**columns, "name": Same(name)}
    for column in OF_SCOPES:
        if origins.count(origins[0]) == len(origins):
            joined[column] = Same(getattr(origins[0].scope, column, None))
        else:
            joined[column] = [getattr(origin.scope, column, None) for origin in origins]
    for column in OF_EVENTS:
        values = joined.setdefault(column, NOTHING)
        if isinstance(values, Same):
            joined[column] = Same(_text(values.value))
        elif not _TEXTS.issuperset(map(type, values)):
            joined[column] = [_text(value) for value in values]
    return joined


def _fixed(column: NDArray[Number]) -> NDArray[Number]:
    column.setflags(write=False)
    return column


def _is_none(value: object) -> bool:
    return value is None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


# --- one structured array ---------------------------------------------------------------------

_MEASURED = ("success", *NUMBERS)
_DTYPE = np.dtype(
    [
        ("name", object), ("time_us", np.int64),
        *((name, object) for name in (*OF_SCOPES, *OF_EVENTS)),
        *((name, np.float64) for name in _MEASURED), ("weight", np.float64),
    ]
)  # fmt: skip
_scope_fields = attrgetter(*OF_SCOPES)
_enriched_fields = attrgetter(*OF_EVENTS, *_MEASURED)  # None becomes NaN in a column of floats
_NO_SCOPE = (None,) * len(OF_SCOPES)


def structured_array(events: Iterable[Event]) -> NDArray[np.void]:
    """Return a structured array with a row per event, see `Events.to_numpy`."""
    return np.array([_record(event) for event in events], dtype=_DTYPE)


def _record(event: Event) -> tuple[object, ...]:
    scope, enriched = event.scope, Enriched() if event.internal else enrich(event)
    return (
        event.name, event.time_us, *(_NO_SCOPE if scope is None else _scope_fields(scope)),
        *_enriched_fields(enriched), weight_of(event),
    )  # fmt: skip
