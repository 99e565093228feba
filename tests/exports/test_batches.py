"""Tests for exports by batches: the same bytes as by rows, whatever the events hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.enrichment_batch import Same
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import MEASURED
from pytest_crucible.events.scope import Scope
from pytest_crucible.exports.batches import batches_of
from pytest_crucible.exports.csv_file import write_csv
from pytest_crucible.exports.json_file import write_json
from pytest_crucible.exports.jsonl_file import write_jsonl
from pytest_crucible.exports.parquet_file import write_parquet
from pytest_crucible.exports.rows import Rows, nested_row, nested_rows
from pytest_crucible.queries.anomalies import COLUMN, marks_of
from pytest_crucible.queries.columns import OF_EVENTS, OF_SCOPES, columns_of
from pytest_crucible.record.chunks import Origins, chunk_of, chunks_of
from tests.made_events import T0_US

NAMES = (
    "req_llm.request.stop", "req_llm.request.start", "a.exception", "plain", "crucible.record",
    "crucible_train.epoch.stop", "50%s", "crucible_deployment.inference", "=formula, \"quoted\"",
)  # fmt: skip
KEYS = (
    "duration", "duration_ns", "start", "stop", "latency_ms", "cost", "cost_usd", "total_cost",
    "input_tokens", "output_tokens", "total_tokens", "prompt_tokens", "completion_tokens", "tokens",
    "prompt", "total", "success", "status", "error", "response", "cancelled", "model", "provider",
    "sample_id", "session_id", "cohort", "epoch", "loss", "a", "a.b", "ünï", "",
)  # fmt: skip
CELLS = st.sampled_from(
    ["", "x", "=1+1", "-", "'", "a,b", 'a"b', "a\r\nb", "\n=", "ok", "error", "é"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**9)
    | st.sampled_from([2**53, -(2**53) - 1, 2**63, 2**64 - 1, 10**400])
    | st.floats()
    | CELLS
    | st.text(max_size=5)
)
VALUES = SCALARS | st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2)
    ),
    max_leaves=4,
)
STRANGE_KEYS = st.sampled_from([*KEYS, 1, True, None, 1.5])
SCOPES = (
    None,
    Scope(experiment="exp"),
    Scope(experiment="=e", condition="a,b", test="t", case="c", trial=1, attempt=2),
    Scope(experiment="exp", test="t", case="d", trial=1, attempt=1, role="judge"),
)
ORIGINS = [
    (run, node, scope) for run in ("run", "r,2") for node in ("main", "gw1") for scope in SCOPES
]


@st.composite
def alike(draw: st.DrawFn) -> list[Event]:
    """Some events of one shape: the same keys, most of them with values of one kind."""
    keys = [draw(st.lists(st.sampled_from(KEYS), max_size=4, unique=True)) for _ in range(2)]
    kinds = {
        key: draw(st.sampled_from([st.integers(), st.floats(), CELLS, VALUES])) for key in KEYS
    }
    name, origin = draw(st.sampled_from(NAMES)), draw(st.sampled_from(ORIGINS))

    def mapping(keys: list[str]) -> dict[str, Any]:
        return {key: draw(kinds[key]) for key in keys}

    return [
        made(name, mapping(keys[0]), mapping(keys[1]), draw(st.integers(0, 3_000_000)), origin)
        for _ in range(draw(st.integers(1, 4)))
    ]


@st.composite
def single(draw: st.DrawFn) -> list[Event]:
    mapping = st.dictionaries(STRANGE_KEYS, VALUES, max_size=4)
    return [
        made(
            draw(st.sampled_from(NAMES)),
            draw(mapping),
            draw(mapping),
            draw(st.integers(-(10**15), 10**15)),
            draw(st.sampled_from(ORIGINS)),
            attribution=draw(st.sampled_from(["context", "sole", "unattributed"])),
            degraded=draw(st.integers(0, 2)),
            weight=draw(st.sampled_from([None, None, 2.5])),
            enriched=draw(st.sampled_from([None, None, {"cost_usd": 1.5, "extra": {"x": 1}}])),
        )
    ]


def made(
    name: str,
    numbers: Any,
    context: Any,
    at_us: int,
    origin: tuple[str, str, Scope | None],
    **more: Any,
) -> Event:
    run, node, scope = origin
    return Event(
        name=name, measurements=numbers, metadata=context, time_us=T0_US + at_us, run=run,
        node=node, sequence=at_us, scope=scope, **more,
    )  # fmt: skip


@st.composite
def streams(draw: st.DrawFn, least: int = 0) -> list[Event]:
    drawn = draw(st.lists(alike() | single(), min_size=least, max_size=5))
    parts = [event for part in drawn for event in part]
    return draw(st.permutations(parts)) if draw(st.booleans()) else parts


def written(write: Callable[..., None], rows: Callable[[], Any]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        try:
            write(rows, path)
        except (OverflowError, ValueError) as error:  # an int beyond every float, say
            return repr(error).encode()
        return path.read_bytes()


@given(streams(least=1))
@settings(max_examples=300)
def test_a_chunk_gives_its_events_back(events: list[Event]) -> None:
    """Chunks are another form of the same events, and so are parts of them."""
    (chunk,) = chunks_of(events)
    assert repr(chunk.events()) == repr(events)
    assert repr(chunk.rows(range(0, len(events), 2)).events()) == repr(events[::2])


@given(streams(least=1))
@settings(max_examples=200)
def test_columns_say_what_rows_say(events: list[Event]) -> None:
    """Cell by cell, and no event is in two batches or in none."""
    chunk = chunk_of(events, Origins())
    batches, others = batches_of(chunk)
    assert sorted([*others, *(row for batch in batches for row in batch.rows)]) == [
        *range(len(events))
    ]
    for batch in batches:
        columns = batch.columns()
        for position, row in enumerate(batch.rows):
            expected = nested_row(events[row])
            numbers, context = expected.pop("measurements"), expected.pop("metadata")
            found = {
                name: column.value if isinstance(column, Same) else column[position]
                for name, column in columns.items()
            }
            assert repr(found) == repr(expected)
            assert repr(batch.chunk.measurements[position]) == repr(numbers)
            assert repr(batch.chunk.metadata[position]) == repr(context)


@pytest.mark.parametrize("write", [write_jsonl, write_json, write_csv, write_parquet])
@given(events=streams())
@settings(max_examples=100)
def test_files_are_the_same(write: Callable[..., None], events: list[Event]) -> None:
    """Byte by byte, as from rows that are no more than mappings."""
    rows = [nested_row(event) for event in events]
    assert written(write, Rows(lambda: events)) == written(write, lambda: rows)


LIMITS: Any = {
    "experiments": {
        name: {
            "definition": {},
            "conditions": {
                condition: {
                    "anomalies": {
                        metric: {"limits": {event: [-1.0, limit] for event in NAMES}}
                        for metric, limit in (("latency", 1e-6), ("cost", 3), ("a", 1.0))
                    }
                }
                for condition in ("default", "a,b")
            },
        }
        for name in ("exp", "=e")
    }
}


@pytest.mark.parametrize("write", [write_jsonl, write_json, write_csv, write_parquet])
@given(events=streams())
@settings(max_examples=50)
def test_marked_files_are_the_same(write: Callable[..., None], events: list[Event]) -> None:
    """Events that something is said of leave their batches; the file is as from rows."""
    mark = marks_of(LIMITS)
    assert mark is not None
    rows = list(nested_rows(events, mark=mark))
    assert written(write, Rows(lambda: events, mark=mark)) == written(write, lambda: rows)


@given(streams(least=1))
@settings(max_examples=100)
def test_marked_places_are_those_that_rows_mark(events: list[Event]) -> None:
    """In no batch is an event whose row would be marked."""
    mark = marks_of(LIMITS)
    batches, _ = batches_of(chunk_of(events, Origins()), mark)
    for batch in batches:
        assert all(COLUMN not in row for row in nested_rows(batch.chunk.events(), mark=mark))


def as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def as_float(value: float | None) -> float:
    return math.nan if value is None else float(value)


@given(streams())
@settings(max_examples=200)
def test_loaded_columns_say_what_enrichment_says(events: list[Event]) -> None:
    """Event by event; a text for whatever a model or provider is."""
    loaded = columns_of(chunks_of(events))
    assert len(loaded) == len(events)
    texts = ("name", *OF_SCOPES, *OF_EVENTS)
    found = [*map(loaded.texts, texts), *(getattr(loaded, name) for name in MEASURED)]
    told = [Enriched() if event.internal else enrich(event) for event in events]
    expected: list[list[Any]] = [
        [event.name for event in events],
        *([getattr(event.scope, name, None) for event in events] for name in OF_SCOPES),
        *([as_text(getattr(each, name)) for each in told] for name in OF_EVENTS),
        *([as_float(getattr(each, name)) for each in told] for name in MEASURED),
    ]
    assert [repr(column.tolist()) for column in found] == [repr(column) for column in expected]
    assert loaded.time_us.tolist() == [event.time_us for event in events]
