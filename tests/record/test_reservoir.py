"""Reservoirs: the last operation in each place is left, and stands for its share of all."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.capture.frames import EventFrame, Frame, SamplingFrame, ScopeFrame
from pytest_crucible.capture.strategies import NO_SLOT
from pytest_crucible.events.scope import Scope
from pytest_crucible.record.reservoir import Survivors

CONDITION = ("e", "c")
SCOPE = ScopeFrame(1, *CONDITION, None, None, None, None)


def drawn(unit: int, slot: int, scope: int = 1, weight: float = 1.0) -> EventFrame:
    """An event of the operation with this number, in this place."""
    frame = EventFrame(scope, "x", 0, {}, {})
    frame.unit, frame.slot, frame.weight = unit, slot, weight
    return frame


def sampling(size: int, seen: int, condition: tuple[str, str] = CONDITION) -> SamplingFrame:
    return SamplingFrame(*condition, f"reservoir:{size}", 1, seen)


def survivors(frames: Iterable[Frame], **more: object) -> Survivors:
    given_: dict[str, object] = {"scopes": {}, "samplings": {}} | more
    return Survivors(list(zip(count(), frames, strict=False)), **given_)  # type: ignore[arg-type]


def test_who_took_a_place_last_is_left() -> None:
    """The record only grows: what was replaced still stands before it."""
    first, other, second = drawn(1, 0), drawn(2, 1), drawn(3, 0)
    found = survivors([SCOPE, sampling(2, 3), first, other, second])
    assert [found.weight(frame) for frame in (first, other, second)] == [None, 1.5, 1.5]


def test_all_events_of_an_operation_share_its_fate() -> None:
    """A start, what happened inside and the end are one unit, in one place."""
    replaced, left = [drawn(1, 0) for _ in range(3)], [drawn(2, 0) for _ in range(2)]
    found = survivors([SCOPE, sampling(1, 2), *replaced, *left])
    assert [found.weight(frame) for frame in replaced] == [None] * 3
    assert [found.weight(frame) for frame in left] == [2, 2]


@given(st.integers(1, 5), st.lists(st.integers(0, 4), max_size=40))
def test_what_is_left_stands_for_all(size: int, places: list[int]) -> None:
    """Together they weigh as much as there was; fewer than there is room for weigh 1 each."""
    frames = [
        drawn(unit, unit - 1 if unit <= size else place % size)
        for unit, place in enumerate(places, 1)
    ]
    found = survivors([SCOPE, sampling(size, len(frames)), *frames])
    weights = [weight for frame in frames if (weight := found.weight(frame)) is not None]
    assert len(weights) == min(size, len(frames))
    assert sum(weights) == pytest.approx(len(frames))
    assert found.seen(CONDITION) == len(frames)


def test_a_process_that_died_did_not_say_how_many_there_were() -> None:
    """At least as many as the highest number that was kept."""
    frames = [drawn(1, 0), drawn(9, 1)]
    found = survivors([SCOPE, sampling(2, 0), *frames])
    assert found.seen(CONDITION) == 9
    assert found.weight(frames[1]) == 4.5


def test_what_says_how_it_was_drawn_may_be_torn_off() -> None:
    """Then each stands for as many as when it was taken."""
    frame = drawn(7, 0, weight=3.5)
    assert survivors([SCOPE, frame]).weight(frame) == 3.5


def test_reservoirs_of_two_conditions_do_not_mix() -> None:
    """The same place in another is another place; judges draw with what they judge."""
    other = ScopeFrame(2, "e", "d", None, None, None, None)
    ours, theirs, judges = drawn(1, 0), drawn(5, 0, scope=2), drawn(2, 1, scope=-1)
    found = survivors(
        [SCOPE, other, sampling(2, 2), sampling(1, 5, ("e", "d")), ours, theirs, judges]
    )
    assert [found.weight(frame) for frame in (ours, theirs, judges)] == [1, 5, 1]
    assert (found.seen(CONDITION), found.seen(("e", "d")), found.seen(("f", "c"))) == (2, 5, 0)


def test_what_stands_before_the_first_frame_may_be_told() -> None:
    """Where reading begins in the middle: the meaning of numbers, and how it is drawn."""
    frame = drawn(4, 0, scope=3)
    found = survivors(
        [frame],
        scopes={3: Scope(experiment="e", condition="c"), 0: None},
        samplings={CONDITION: sampling(2, 8)},
    )
    assert found.weight(frame) == 4


def test_events_that_were_not_drawn_take_no_place() -> None:
    """Errors, and what the plugin says itself, are kept whatever happens."""
    kept = drawn(0, NO_SLOT)
    found = survivors([SCOPE, sampling(1, 1), kept, drawn(1, 0)])
    assert found.seen(CONDITION) == 1
