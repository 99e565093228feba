"""Enrichment: what an event means, and None where it does not say."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_crucible._clock import iso_from_us
from pytest_crucible.events.enrichment import (
    Enriched,
    category_fields,
    enrich,
    number,
    plan_of,
    tell,
)
from pytest_crucible.events.event import Event


def event(name: str = "x", measurements: dict[str, Any] | None = None, **metadata: Any) -> Event:
    return Event(
        name=name,
        measurements=measurements or {},
        metadata=metadata,
        time_us=0,
        run="run",
        node="main",
        sequence=0,
        scope=None,
    )


# --- events and the clock ----------------------------------------------------------------------


def test_internal_events_are_known_by_their_name() -> None:
    """Only names below `crucible.` belong to the plugin itself."""
    assert event("crucible.trial.start").internal
    assert not event("crucible_train.epoch.stop").internal


def test_events_do_not_change() -> None:
    """An event cannot be changed after it has been read."""
    with pytest.raises(AttributeError):
        event().name = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000+00:00"),
        (1, "1970-01-01T00:00:00.000001+00:00"),
        (1_700_000_000_000_000, "2023-11-14T22:13:20.000000+00:00"),
        (1_700_000_000_123_456, "2023-11-14T22:13:20.123456+00:00"),
        # As a float of seconds this one would be rounded to …999.
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999+00:00"),
    ],
)
def test_times_keep_their_microseconds(time_us: int, text: str) -> None:
    """A time is written in UTC with all its microseconds, whole seconds too."""
    assert iso_from_us(time_us) == text


# --- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, True, "1", math.nan, math.inf, -math.inf, 10**400, [1]], ids=repr
)
def test_what_is_no_finite_number(value: object) -> None:
    """Only finite ints and floats are numbers; booleans, texts and NaN are not."""
    assert number(value) is None


@given(st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False))
def test_finite_numbers_are_kept(value: float) -> None:
    """A finite number is returned unchanged."""
    assert number(value) == value


@pytest.mark.parametrize(
    ("measurements", "latency"),
    [
        ({"duration": 12_000_000}, 12.0),
        ({"duration_ns": 500_000}, 0.5),
        ({"start": 1_000_000, "stop": 4_000_000}, 3.0),
        ({"latency_ms": 7}, 7),
        ({"duration": 2_000_000, "start": 0, "stop": 9_000_000, "latency_ms": 7}, 2.0),
        ({"duration": "slow", "latency_ms": 7}, 7),
        ({"duration": 0}, 0.0),
        ({"start": 1}, None),
        ({"duration": math.nan}, None),
        ({}, None),
    ],
    ids=repr,
)
def test_latency(measurements: dict[str, Any], latency: float | None) -> None:
    """Latency in ms comes from the duration, else from start and stop, else as reported."""
    assert enrich(event(measurements=measurements)).latency_ms == latency


@pytest.mark.parametrize(
    ("measurements", "metadata", "cost"),
    [
        ({}, {"cost_usd": 0.5}, 0.5),
        ({"cost": 0.25}, {}, 0.25),
        ({"total_cost": 2}, {}, 2),
        ({"cost": 1}, {"cost": 2}, 2),
        ({}, {"cost": 0}, 0),
        ({}, {"cost": "free", "total_cost": 3}, 3),
        ({"input_tokens": 10}, {"model": "gpt-4o"}, None),
    ],
)
def test_cost_is_reported_never_guessed(
    measurements: dict[str, Any], metadata: dict[str, Any], cost: float | None
) -> None:
    """Cost is what the event reports; without that it is None, not an estimate."""
    assert enrich(event(measurements=measurements, **metadata)).cost_usd == cost


# --- success -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "metadata", "success"),
    [
        ("x", {"success": True, "error": "timeout"}, True),
        ("x.stop", {"success": False}, False),
        ("x.stop", {"success": "yes"}, True),
        ("x.stop", {"error": "timeout"}, False),
        ("x.stop", {"exception": "E"}, False),
        ("x", {"error": None}, None),
        ("x", {"status": "OK"}, True),
        ("x.stop", {"status": "Failed"}, False),
        ("x", {"status": "pending"}, None),
        ("x", {"status": 200}, True),
        ("x.stop", {"status": 404}, False),
        ("x", {"status": 7}, None),
        ("x", {"status": True}, None),
        ("x", {"response": "text"}, True),
        ("x.exception", {}, False),
        ("x.stop", {}, True),
        ("x.start", {}, None),
        ("x", {}, None),
    ],
)
def test_success(name: str, metadata: dict[str, Any], success: bool | None) -> None:
    """Success is told by the event: explicitly, by error, status, response or its name's end."""
    assert enrich(event(name, **metadata)).success is success


def test_success_in_the_measurements() -> None:
    """Success and status are also found among the measurements."""
    assert enrich(event(measurements={"success": False})).success is False
    assert enrich(event(measurements={"status": 500})).success is False


def test_cancelled_is_neither_success_nor_failure() -> None:
    """An event that was cancelled has no success, whatever its name says."""
    found = enrich(event("x.exception", cancelled=True, kind="CancelledError"))
    assert (found.cancelled, found.success) == (True, None)
    assert not enrich(event("x.exception", cancelled="yes")).cancelled


# --- tokens and context ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measurements", "metadata", "tokens"),
    [
        ({"input_tokens": 3, "output_tokens": 4}, {}, (3, 4, 7)),
        ({}, {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 9}, (3, 4, 9)),
        ({}, {"tokens": {"prompt": 1, "completion": 2, "total": 3}}, (1, 2, 3)),
        ({"tokens": {"input": 1, "output": 2}}, {}, (1, 2, 3)),
        ({"input_tokens": 3}, {}, (3, None, 3)),
        ({"output_tokens": 3}, {}, (None, 3, 3)),
        ({"input_tokens": 0, "output_tokens": 0}, {}, (0, 0, 0)),
        ({"total": 5}, {"prompt": "What is 2 + 2?", "completion": 4}, (None, None, None)),
        ({"input_tokens": "3"}, {"tokens": 12}, (None, None, None)),
    ],
)
def test_tokens(
    measurements: dict[str, Any],
    metadata: dict[str, Any],
    tokens: tuple[float | None, float | None, float | None],
) -> None:
    """Tokens are found in every known spelling; a prompt's text or a bare total is none."""
    found = enrich(event(measurements=measurements, **metadata))
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == tokens


def test_context_is_copied() -> None:
    """Model, provider, session, user, sample and cohort are taken from the metadata."""
    context: dict[str, Any] = {
        "model": "m",
        "provider": "p",
        "session_id": 1,
        "user_id": "u",
        "sample_id": 2,
        "cohort": "c",
    }
    found = enrich(event(**context))
    assert {key: getattr(found, key) for key in context} == context


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("crucible_train.epoch.stop", {"epoch": 1, "loss": 0.5}),
        ("crucible_deployment.inference.stop", {"batch_size": 8}),
        ("crucible_framework.stage.stop", {"stage_name": "s"}),
        ("req_llm.request.stop", {}),
    ],
)
def test_fields_of_a_category(name: str, extra: dict[str, Any]) -> None:
    """Training, deployment and framework events carry the fields of their category as extra."""
    found = enrich(event(name, {"loss": 0.5, "batch_size": 8}, epoch=1, stage_name="s", other="o"))
    assert found.extra == extra


def test_extra_is_not_shared() -> None:
    """Adding to one event's extra, as users' enrichers do, changes no other event's."""
    first, second = Enriched(), Enriched()
    first.extra["a"] = 1
    assert second.extra == {}


KEYS = st.sampled_from(
    [
        "duration", "start", "stop", "latency_ms", "cost", "success", "error", "status",
        "response", "tokens", "input_tokens", "total_tokens", "cancelled", "model", "epoch",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS | st.integers(), inner),
    max_leaves=5,
)
FIELDS = st.dictionaries(KEYS | st.integers(), VALUES)


@given(
    st.sampled_from(["x", "x.stop", "x.exception", "crucible_train.batch.stop", ""]),
    FIELDS,
    FIELDS,
)
def test_enriching_never_raises(
    name: str, measurements: dict[str, Any], metadata: dict[str, Any]
) -> None:
    """Whatever an event holds, its numbers are numbers or None and nothing raises."""
    odd = Event(
        name=name,
        measurements=measurements,
        metadata=metadata,
        time_us=0,
        run="run",
        node="main",
        sequence=0,
        scope=None,
    )
    found = enrich(odd)
    for value in (found.latency_ms, found.cost_usd, found.input_tokens, found.total_tokens):
        assert value is None or type(value) in (int, float)
    assert found.success in (True, False, None)


@given(st.sampled_from(["x", "a.stop", "a.exception", "crucible_train.x"]), FIELDS, FIELDS)
@example("a.stop", {"duration": 5, "input_tokens": True}, {"cost": 10**400, "output_tokens": 1.5})
@example("a.stop", {"duration": float("nan")}, {"total_tokens": 10**300, "prompt_tokens": 2})
@example("a", {"cost": 1}, {"cost_usd": "x", "model": None, "sample_id": None})
def test_rows_say_what_enrichment_says(
    name: str, measurements: dict[str, Any], metadata: dict[str, Any]
) -> None:
    """The short way that rows take gives the same values, whatever stands in the event."""
    made = msgspec.structs.replace(event(name, measurements), metadata=metadata)
    found = enrich(made)
    columns = [each for each in Enriched.__struct_fields__ if each not in ("cancelled", "extra")]
    row: dict[str, Any] = dict.fromkeys(columns)
    plan = plan_of(name, measurements, metadata)
    tell(row, plan, measurements, metadata)
    row |= category_fields(plan, measurements, metadata)
    expected = {column: getattr(found, column) for column in columns} | found.extra
    assert repr(row) == repr(expected)
