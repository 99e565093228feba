"""The catalog of known events."""

from __future__ import annotations

import re

import pytest

from pytest_crucible._catalog import CONTAINERS, EVENTS, is_container
from pytest_crucible._event import RESERVED


def test_names_are_unique_dotted_and_not_reserved() -> None:
    """Every known event has a dotted name of its own, outside of what is reserved."""
    names = [event.name for event in EVENTS]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name) for name in names)
    assert not any(name.startswith(RESERVED) for name in names)


def test_categories_are_the_known_ones() -> None:
    """Every known event is described and belongs to one of the known categories."""
    assert {event.category for event in EVENTS} == {
        "llm", "ensemble", "hedging", "training", "deployment", "framework", "trace", "tools",
    }  # fmt: skip
    assert all(event.description for event in EVENTS)


def test_every_end_has_a_start() -> None:
    """What stops or fails has started, except for what only ever reports its end."""
    names = {event.name for event in EVENTS}
    for name in names:
        base, _, end = name.rpartition(".")
        if end in ("stop", "exception") and base != "crucible_train.batch":
            assert f"{base}.start" in names


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("ensemble.prediction.stop", True),
        ("ensemble.vote.completed", False),
        ("hedging.request.duplicated", True),
        ("crucible_framework.stage.stop", True),
        ("crucible_train.epoch.stop", True),
        ("crucible_train.batch.stop", False),
        ("req_llm.request.stop", False),
        ("crucible_deployment.inference.stop", False),
        ("my.ensemble.prediction.stop", False),
    ],
)
def test_containers_are_wholes_made_of_other_events(name: str, container: bool) -> None:
    """Only events that stand for a whole made of other operations are containers."""
    assert is_container(name) is container


def test_every_container_prefix_is_of_a_known_event() -> None:
    """No container prefix is a misspelling: each is the beginning of a known name."""
    for prefix in CONTAINERS:
        assert any(event.name.startswith(prefix) for event in EVENTS)
