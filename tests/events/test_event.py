"""Events, as readers see them."""

from __future__ import annotations

import msgspec
import pytest

from pytest_crucible.events import event as module
from pytest_crucible.events.event import ATTRIBUTIONS, RESERVED, Event
from tests.made_events import event

NAMES = {name: value for name, value in vars(module).items() if isinstance(value, str)}
OURS = ["TRIAL_START", "TRIAL_STOP", "RECORD", "LOG", "INVALID", "CAPTURE"]


def test_run_node_and_sequence_are_its_identity() -> None:
    """Together they tell it from every other event, of whatever process."""
    told = {
        event(run=run, node=node, sequence=n).id for run in "ab" for node in "cd" for n in (1, 2)
    }
    assert len(told) == 8
    assert event(run="r", node="gw0", sequence=7).id == "r-gw0-7"


@pytest.mark.parametrize("name", OURS)
def test_the_plugins_own_events_are_internal(name: str) -> None:
    """They are no telemetry of the code under test."""
    assert NAMES[name].startswith(RESERVED)
    assert event(NAMES[name]).internal


@pytest.mark.parametrize("name", ["req_llm.request.stop", "crucible", "crucible_train.epoch.stop"])
def test_events_of_users_are_not(name: str) -> None:
    """Also those whose names begin alike."""
    assert not event(name).internal


def test_an_event_never_changes() -> None:
    """Readers share it."""
    with pytest.raises(AttributeError):
        event().name = "x"  # type: ignore[misc]
    assert msgspec.structs.replace(event(), name="x").name == "x"


def test_ways_of_attribution_are_numbered_for_good() -> None:
    """Records hold the numbers: an old one must mean what it meant."""
    numbers = [
        module.CONTEXT, module.SOLE, module.UNATTRIBUTED, module.LATE, module.OPENTELEMETRY,
        module.PARENT, module.INSERTED,
    ]  # fmt: skip
    assert [ATTRIBUTIONS[number] for number in numbers] == [
        "context", "sole", "unattributed", "late", "opentelemetry", "parent", "inserted",
    ]  # fmt: skip
    assert numbers == list(range(len(ATTRIBUTIONS)))


def test_what_is_not_told_is_the_usual() -> None:
    """Of an event that was kept whole, for itself, and found by its context."""
    bare = Event(
        name="x", measurements={}, metadata={}, time_us=0, run="r", node="n", sequence=0, scope=None
    )
    assert (bare.attribution, bare.degraded, bare.weight, bare.enriched) == (
        "context",
        0,
        None,
        None,
    )
