"""Events of one shape by columns: what `enrich` finds in each of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.enrichment_batch import (
    Column,
    Same,
    alike,
    by_key,
    category_columns,
    enriched_columns,
    number_column,
)
from tests.made_events import MS, event

NAMES = [
    "req_llm.request.stop", "req_llm.request.exception", "req_llm.request.start", "work.done",
    "crucible_train.epoch.stop", "ensemble.prediction.stop",
]  # fmt: skip
NUMBERS = ["duration", "duration_ns", "latency_ms", "start", "stop", "cost", "cost_usd",
           "input_tokens", "output_tokens", "total_tokens", "loss", "n"]  # fmt: skip
CONTEXT = ["model", "provider", "cost", "total_cost", "error", "status", "success", "cancelled",
           "tokens", "response", "epoch"]  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.just(10**400), st.floats(),
    st.sampled_from(["ok", "error", "m1", "7"]), st.just({"prompt": 3, "total": 9}), st.just([1]),
)  # fmt: skip


@st.composite
def shapes(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """Events of one name, all with the same keys."""
    keys = [
        draw(st.lists(st.sampled_from(each), max_size=4, unique=True))
        for each in (NUMBERS, CONTEXT)
    ]
    number = draw(st.integers(1, 5))
    told = [[{key: draw(VALUES) for key in each} for _ in range(number)] for each in keys]
    return draw(st.sampled_from(NAMES)), told[0], told[1]


def cells(column: Column, rows: int) -> list[Any]:
    return [column.value] * rows if isinstance(column, Same) else list(column)


def plain(value: Any) -> Any:
    """NaN as text, which is equal to itself; numbers with their types."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return type(value).__name__, repr(value)


@given(shapes())
@settings(max_examples=200)
def test_columns_say_what_enriching_each_event_says(
    shape: tuple[str, list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    """Every field, and what the category adds, value by value."""
    name, measurements, metadata = shape
    events = alike(name, measurements, metadata)
    assert events is not None
    rows = len(measurements)
    columns = {field: cells(each, rows) for field, each in enriched_columns(events).items()}
    for row, (numbers, context) in enumerate(zip(measurements, metadata, strict=True)):
        found = enrich(event(name, numbers, context))
        expected = {field: getattr(found, field) for field in Enriched.__struct_fields__}
        expected |= expected.pop("extra") or {}
        expected.pop("cancelled")  # told by the events themselves
        told = {field: column[row] for field, column in columns.items()}
        assert set(told) <= set(expected)
        assert {key: plain(told.get(key)) for key in expected} == {
            key: plain(value) for key, value in expected.items()
        }


@pytest.mark.parametrize(
    ("field", "measured", "expected"),
    [
        ("latency_ms", [{"duration": 2 * MS}, {"duration": None}], [2, None]),
        ("cost_usd", [{"cost": 0.25}, {"cost": float("nan")}], [0.25, None]),
        ("latency_ms", [{"cost": 0.25}], None),
        ("cost_usd", [{"duration": 2 * MS}], None),
    ],
)
def test_one_column_alone(
    field: str, measured: list[dict[str, Any]], expected: list[float | None] | None
) -> None:
    """What is not finite is no number; what no event tells has no column at all."""
    events = alike("req_llm.request.stop", measured, [{}] * len(measured))
    assert events is not None
    assert number_column(events, field) == expected


def test_fields_of_a_category_have_columns() -> None:
    """Whether they were measured or said."""
    events = alike("crucible_train.epoch.stop", [{"loss": 0.5}, {"loss": 0.25}], [{"epoch": 1}] * 2)
    assert events is not None
    assert category_columns(events) == {"epoch": [1, 1], "loss": [0.5, 0.25]}


@pytest.mark.parametrize(
    "mappings",
    [
        [{"a": 1}, {"b": 1}],
        [{"a": 1}, {"a": 1, "b": 2}],
        [{1: 1}, {1: 2}],
        [{"a": 1, True: 2}, {"a": 1, True: 2}],
    ],
)
def test_other_keys_are_another_shape(mappings: list[dict[Any, Any]]) -> None:
    """And keys that are no text are none: True, 1 and 1.0 would be one."""
    assert by_key(mappings) is None
    assert alike("x", mappings, [{}] * 2) is None
    assert alike("x", [{}] * 2, mappings) is None


def test_the_order_of_keys_is_no_matter() -> None:
    """The first one's order is that of the columns."""
    assert by_key([{"a": 1, "b": 2}, {"b": 4, "a": 3}]) == {"a": [1, 3], "b": [2, 4]}
