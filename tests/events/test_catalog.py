"""The catalog of known events."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.events import catalog as _catalog
from pytest_crucible.events.catalog import (
    CATEGORIES,
    CONTAINERS,
    EVENTS,
    EventInfo,
    define_event,
    event_info,
    is_container,
    list_events,
)
from pytest_crucible.events.event import RESERVED


def test_names_are_unique_dotted_and_not_reserved() -> None:
    """Every known event has a dotted name of its own, outside of what is reserved."""
    names = [event.name for event in EVENTS]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name) for name in names)
    assert not any(name.startswith(RESERVED) for name in names)


def test_categories_are_the_known_ones() -> None:
    """Every known event is described and belongs to one of the known categories."""
    assert {event.category for event in EVENTS} == set(CATEGORIES)
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


# --- events of one's own -----------------------------------------------------------------------


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> dict[str, EventInfo]:
    """A copy of the catalog, so that what a test defines is gone after it."""
    known = dict(_catalog._known)
    monkeypatch.setattr(_catalog, "_known", known)
    return known


def test_defined_event_is_listed_and_told(catalog: dict[str, EventInfo]) -> None:
    """An event of one's own stands beside the others, with its units."""
    defined = define_event(
        "cache.hit",
        category="cache",
        description="An answer was cached",
        measurements={"age_s": "s"},
        optional=["size"],
        metadata=["key"],
    )
    assert event_info("cache.hit") is defined
    assert list_events("cache") == [defined]
    assert list_events()[-1] is defined
    assert (defined.measurements, defined.optional) == ({"age_s": "s"}, {"size": ""})
    assert event_info("cache.miss") is None


def test_the_same_definition_twice_is_fine_another_is_not(catalog: dict[str, EventInfo]) -> None:
    """A conftest that is read twice changes nothing; a contradiction names what differs."""
    first = define_event("cache.hit", measurements=["age_s"])
    assert define_event("cache.hit", measurements={"age_s": ""}) is first
    with pytest.raises(DefinitionError, match=r"'cache.hit' is known with measurements=.*age_s"):
        define_event("cache.hit", measurements=["size"])
    with pytest.raises(DefinitionError, match=r"'altar.tool.stop' is known with category='tools'"):
        define_event("altar.tool.stop")


@pytest.mark.parametrize(
    ("name", "more", "problem"),
    [
        ("hit", {}, "is dotted"),
        ("cache.", {}, "is dotted"),
        (7, {}, "is dotted"),
        ("crucible.mine", {}, "reserved"),
        ("cache.hit", {"measurements": "age"}, "must be a list of names"),
        ("cache.hit", {"metadata": 7}, "must be a list of names"),
        ("cache.hit", {"optional": {"age": 7}}, "must hold names"),
        ("cache.hit", {"measurements": [""]}, "must hold names"),
        ("cache.hit", {"description": "two\nlines"}, "printable"),
        ("cache.hit", {"measurements": ["age"], "optional": ["age"]}, "'age' is both"),
    ],
)
def test_definition_that_makes_no_sense_is_one_line(
    catalog: dict[str, EventInfo], name: Any, more: dict[str, Any], problem: str
) -> None:
    """What is wrong is said before anything is recorded, and nothing is kept of it."""
    before = dict(catalog)
    with pytest.raises(DefinitionError, match=problem):
        define_event(name, **more)
    assert catalog == before


@pytest.mark.parametrize("category", CATEGORIES)
def test_ends_of_spans_need_a_duration(category: str) -> None:
    """What stops tells how long it took; an epoch and a batch may leave that to others."""
    for event in list_events(category):
        if event.name.endswith(".stop") and "epoch" not in event.name and "batch" not in event.name:
            assert event.measurements == {"duration": "ns"}
