"""Rows: an event as exporters write it, and the event that a reader gets back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_crucible.events.enrichment import Enriched
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import EXPORTED
from pytest_crucible.exports.rows import (
    event_from_row,
    nested_row,
    to_json,
)
from tests.made_events import MS, event, recorded, trial_scope


def test_row_tells_where_an_event_belongs_and_what_it_means() -> None:
    """Identity, scope, time and everything worked out are columns of their own."""
    row = nested_row(
        event(
            measurements={"duration": 5 * MS, "input_tokens": 3},
            metadata={"model": "m", "cost": 0.1},
            scope=trial_scope("c", 2, 3, "treatment"),
            sequence=7,
        )
    )
    assert tuple(row) == (*EXPORTED, "measurements", "metadata")
    assert row["event_id"] == "run-1-main-7"
    assert (row["condition"], row["case"], row["trial"], row["attempt"]) == ("treatment", "c", 2, 3)
    assert (row["latency_ms"], row["cost_usd"], row["input_tokens"], row["model"]) == (
        5,
        0.1,
        3,
        "m",
    )
    assert row["datetime"] == "2025-11-23T12:13:20.000000+00:00"
    assert row["success"] is True


def test_case_is_the_sample_unless_the_event_names_one() -> None:
    """``sample_id`` is the case under test by default."""
    assert nested_row(event(scope=trial_scope("c")))["sample_id"] == "c"
    named = event(metadata={"sample_id": "s"}, scope=trial_scope("c"))
    assert nested_row(named)["sample_id"] == "s"


def test_event_without_a_scope_has_a_row() -> None:
    """Unattributed events are exported like any other, with nothing guessed."""
    row = nested_row(event(scope=None, attribution="unattributed"))
    assert (row["experiment"], row["condition"], row["attribution"]) == (None, None, "unattributed")
    assert event_from_row(row).scope is None


def test_fields_of_training_events_are_columns() -> None:
    """What enrichment finds beyond the fixed columns stands between them and the rest."""
    row = nested_row(event("crucible_train.epoch.stop", {"loss": 0.5}, {"epoch": 3}))
    assert (row["epoch"], row["loss"]) == (3, 0.5)


def test_enrichers_add_to_rows_but_not_to_internal_events() -> None:
    """A plugin's enricher sees telemetry only, and what it sets is exported."""

    def price(event: Event, enriched: Enriched) -> None:
        enriched.cost_usd = 9.0
        enriched.extra = {"priced_by": "me"}

    row = nested_row(event(), [price])
    assert (row["cost_usd"], row["priced_by"]) == (9.0, "me")
    assert nested_row(recorded({"score": 1}, trial_scope()), [price])["cost_usd"] is None


# --- JSON --------------------------------------------------------------------------------------


def test_json_of_numbers_that_json_has_not() -> None:
    """NaN and infinities become null: the line stays valid for every reader."""
    assert json.loads(to_json({"a": float("nan"), "b": float("-inf")})) == {"a": None, "b": None}


def test_json_of_odd_keys_and_values() -> None:
    """Keys that are no text become text, and so do values of any type."""
    odd = {1: "a", (1, 2): "b", None: "c", b"k": object, "big": 2**70, "\ud800": "\udfff"}
    found = json.loads(to_json(odd))
    assert found["1"] == "a"
    assert found["(1, 2)"] == "b"
    assert found["None"] == "c"
    assert found["b'k'"] == "<class 'object'>"
    assert found["big"] == 2**70 or found["big"] == str(2**70)
    assert len(found) == 6


def test_json_of_a_cycle_ends() -> None:
    """A value that contains itself is cut off."""
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    assert b"self" in to_json(cycle)


# --- events from rows --------------------------------------------------------------------------


def test_event_survives_its_row() -> None:
    """Scope, identity, attribution and everything measured come back."""
    original = event(
        measurements={"duration": 5}, metadata={"tokens": {"prompt": 1}},
        scope=trial_scope(), attribution="late", sequence=9, node="gw0",
    )  # fmt: skip
    assert event_from_row(nested_row(original)) == original


@pytest.mark.parametrize(
    "change",
    [{"time_us": "soon"}, {"time_us": None}, {"trial": "x"}, {"measurements": 5}, {"metadata": []}],
)
def test_foreign_rows_are_refused(change: dict[str, Any]) -> None:
    """A row that only looks like an event is an error, not a wrong number later."""
    row = {**nested_row(event(scope=trial_scope())), **change}
    with pytest.raises((TypeError, ValueError)):
        event_from_row(row)
