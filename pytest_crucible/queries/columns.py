"""Columns: events as arrays, read once and then asked as often as one likes.

A query over a million events of a list looks at a million objects; over columns it is a few
comparisons of arrays. Texts are kept as numbers into a list of the distinct ones.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from pytest_crucible._text import did_you_mean
from pytest_crucible.capture.bus import matcher
from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.enrichment_batch import NOTHING, Column, Same, enriched_columns
from pytest_crucible.events.schema import MEASURED, QUERIED, SCOPE, Measured
from pytest_crucible.exports.batches import batches_of
from pytest_crucible.record.chunks import Chunk, Origin

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Number = TypeVar("Number", np.int32, np.int64, np.float64)

_TEXTS = frozenset({str, NoneType})
TEXTS = ("name", *(each.name for each in QUERIED))
OF_SCOPES = tuple(each.name for each in QUERIED if each.computed_by == SCOPE)
OF_EVENTS = tuple(each.name for each in QUERIED if each.computed_by != SCOPE)


class Texts(TypedDict, total=False):
    """The columns of texts that a query can ask for, besides the name."""

    condition: str | None
    case: str | None
    model: str | None
    provider: str | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What was read. A column of texts is the distinct ones, and for each row which of them."""

    distinct: Mapping[str, tuple[str | None, ...]]
    codes: Mapping[str, NDArray[np.int32]]
    numbers: Mapping[str, Floats]
    time_us: Ints


class EventColumns(Measured[Floats]):
    """Some events as columns, one value per event, in order; made by `Events.columns`.

    They are shared by all that is asked of the same events, and so cannot be changed.

    A query only notes which rows it keeps; a column is put together when it is asked for.
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
        """``latency_ms``, say, which is an attribute, too.

        Raises:
            KeyError: another column.
        """
        if column not in MEASURED:
            raise KeyError(f"no column of numbers {column!r}; there are {', '.join(MEASURED)}")
        return self._of(self._loaded.numbers[column])

    def __len__(self) -> int:
        return int(self._loaded.time_us.size if self._rows is None else self._rows.size)

    def texts(self, column: str) -> NDArray[np.object_]:
        """The ``name``, ``condition``, ``case``, ``model`` or ``provider`` of every event.

        Raises:
            KeyError: another column.
        """
        if column not in TEXTS:
            raise KeyError(f"no column of texts {column!r}; there are {', '.join(TEXTS)}")
        distinct = np.array([*self._loaded.distinct[column], None], dtype=object)
        found: NDArray[np.object_] = distinct[self._of(self._loaded.codes[column])]
        return found

    def query(
        self,
        name: str | None = None,
        *,
        success: bool | None = None,
        time_range_us: tuple[int | None, int | None] = (None, None),
        **texts: Unpack[Texts],
    ) -> EventColumns:
        """The events to which all of this applies, as columns.

        Args:
            name: event name, in which ``*`` stands for any characters.
            success: those that succeeded, or those that failed.
            time_range_us: first and last µs, both included; None is open.
            texts: ``condition``, ``case``, ``model`` or ``provider``; None is "has none".

        Raises:
            TypeError: there is no such column (a line that names the one that was meant, if one is
                close, and the valid ones), or ``success`` is no truth value.
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
            kept &= self._matching("name", lambda each: matches(each or "") is not None)
        for column, wanted in texts.items():
            # The columns hold texts: a model named 3 is "3" here.
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
        # Asked once per text, not once per event.
        answers = [wanted(each) is True for each in self._loaded.distinct[column]]
        codes = self._of(self._loaded.codes[column])
        found: NDArray[np.bool_] = np.array(answers, dtype=bool)[codes]
        return found

    def where(self, kept: NDArray[np.bool_]) -> EventColumns:
        """The events at which ``kept`` is true: ``columns.where(columns.latency_ms > 100)``.

        Raises:
            TypeError: it is no array of truth values.
            ValueError: it has another length.
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
        for name, known in distinct.items():
            texts = np.empty(len(chunk), dtype=np.int32)
            for rows, told in parts:
                column = told[name]
                texts[rows] = (
                    known[column.value]
                    if isinstance(column, Same)
                    else [known[text] for text in column]
                )
            codes[name].frombytes(texts.view(np.uint8).data)
        for name, values in numbers.items():
            found = np.empty(len(chunk))
            for rows, told in parts:
                column = told.get(name, NOTHING)
                value = column.value if isinstance(column, Same) else column
                found[rows] = np.array(value, dtype=np.float64)  # None is NaN
            values.frombytes(found.view(np.uint8).data)
        time_us.extend(chunk.times_us)
    return EventColumns(
        _Loaded(
            {name: tuple(known) for name, known in distinct.items()},
            {name: _fixed(np.frombuffer(each, dtype=np.int32)) for name, each in codes.items()},
            {name: _fixed(np.frombuffer(each)) for name, each in numbers.items()},
            _fixed(np.frombuffer(time_us, dtype=np.int64)),
        )
    )


class _Codes(dict[str | None, int]):
    """The number of each distinct text, in the order in which they came."""

    def __missing__(self, text: str | None) -> int:
        code = self[text] = len(self)
        return code


def _parts(chunk: Chunk) -> Iterator[tuple[Any, dict[str, Column]]]:
    """What is told by the events at some places of a chunk, for all of them."""
    batches, others = batches_of(chunk)
    for batch in batches:
        told = {} if batch.internal else enriched_columns(batch.events)
        whole = len(batch.rows) == len(chunk)
        yield (
            slice(None) if whole else list(batch.rows),
            _with_texts(told, batch.events.name, batch.chunk.origins),
        )
    for row, event in zip(others, chunk.rows(others).events(), strict=True):
        found = Enriched() if event.internal else enrich(event)
        told = {name: Same(getattr(found, name)) for name in (*OF_EVENTS, *MEASURED)}
        yield row, _with_texts(told, event.name, [chunk.origins[row]])


def _with_texts(told: dict[str, Column], name: str, origins: Sequence[Origin]) -> dict[str, Column]:
    found = {**told, "name": Same(name)}
    for column in OF_SCOPES:
        if origins.count(origins[0]) == len(origins):
            found[column] = Same(getattr(origins[0].scope, column, None))
        else:
            found[column] = [getattr(each.scope, column, None) for each in origins]
    for column in OF_EVENTS:
        values = found.setdefault(column, NOTHING)
        if isinstance(values, Same):
            found[column] = Same(_text(values.value))
        elif not _TEXTS.issuperset(map(type, values)):
            found[column] = [_text(each) for each in values]
    return found


def _fixed(column: NDArray[Number]) -> NDArray[Number]:
    column.setflags(write=False)
    return column


def _is_none(value: object) -> bool:
    return value is None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
