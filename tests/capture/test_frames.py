"""Frames: what goes in comes out, and what msgpack cannot hold degrades without an exception."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.capture.frames import (
    EVENT_TAG,
    EventFrame,
    ExperimentFrame,
    FooterFrame,
    Frame,
    HeaderFrame,
    NoteFrame,
    PlanFrame,
    ScopeFrame,
    decode,
    encode,
    encode_degraded,
)


class Opaque:
    def __repr__(self) -> str:
        return "<opaque>"


class Text(str):
    """A string that prints itself in another way."""

    __slots__ = ()

    def __str__(self) -> str:
        return "printed"


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Level(IntEnum):
    HIGH = 3


class Proxy:
    """Raises whatever attribute one asks for, like a proxy outside of its request."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no request")

    def __repr__(self) -> str:
        return "<proxy>"


class Config(Mapping[str, Any]):
    """Raises for missing values, like a config with interpolation."""

    def __getitem__(self, key: str) -> Any:
        raise ValueError(f"{key} is missing")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "<config>"


def degrade(value: object) -> tuple[Any, int]:
    """What comes back for a value in an event's metadata, and how many degradations it counts."""
    data, degraded = encode_degraded(1, "x", 2, None, {"value": value}, 0)
    frame = decode(data)
    assert isinstance(frame, EventFrame)
    assert frame.degraded == degraded
    return frame.metadata["value"], degraded


@pytest.mark.parametrize(
    "frame",
    [
        EventFrame(1, "a.b", 2, {"n": 1}, {"k": "v"}, 3, 4),
        HeaderFrame(1, "run", "gw0", "uid", 7, "host", 8, 9),
        ExperimentFrame("name", {"tags": ["a"], "sample_size": None}),
        ScopeFrame(1, "experiment", "control", "test", "case", 0, 1),
        ScopeFrame(1, "experiment", "control", None, None, None, None),
        PlanFrame([("experiment", "control", "test", "case", 1)]),
        NoteFrame("disk full"),
        FooterFrame(5),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_frames_come_back(frame: Frame) -> None:
    """Every kind of frame is decoded to what was encoded."""
    assert decode(encode(frame)) == frame


def test_event_is_written_as_a_bare_tuple() -> None:
    """The recorder's tuple is an event frame, and what it leaves out has defaults."""
    data = encode((EVENT_TAG, 1, "x", 2, None, None))
    assert decode(data) == EventFrame(1, "x", 2, None, None, 0, 0)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab"), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_are_kept_exactly(value: object) -> None:
    """What JSON can hold comes back unchanged, whether a neighbour degraded or not."""
    frame = decode(encode((EVENT_TAG, 1, "x", 2, {"value": value}, None)))
    assert isinstance(frame, EventFrame)
    assert frame.measurements == {"value": value}
    assert degrade(value) == (value, 0)


ANYTHING = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.text(st.characters(categories=["L", "Cs"]))
    | st.complex_numbers()
    | st.builds(Opaque)
    | st.builds(Unprintable)
    | st.builds(Proxy)
    | st.builds(Config)
    | st.builds(np.float32, st.floats(width=32)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text() | st.binary(), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(name=ANYTHING, measurements=ANYTHING, metadata=ANYTHING)
def test_degrading_never_raises(name: object, measurements: object, metadata: object) -> None:
    """Whatever a caller passes becomes an event that can be read."""
    data, degraded = encode_degraded(3, name, 4, measurements, metadata, 1)
    frame = decode(data)
    assert isinstance(frame, EventFrame)
    assert (frame.scope, frame.time_ns, frame.attribution) == (3, 4, 1)
    assert frame.degraded == degraded


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**64, str(2**64)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (Opaque(), "<opaque>"),
        (1j, "1j"),
        ("\ud800", "'\\ud800'"),
        (Unprintable(), "<Unprintable, whose repr raised RuntimeError>"),
        (10**5000, "<int, whose repr raised ValueError>"),
        (Proxy(), "<proxy>"),
        (Config(), "<config>"),
        (np.array([1, 2]), "array([1, 2])"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_do_not_fit_become_their_repr(value: object, text: str) -> None:
    """A value that msgpack cannot hold is kept as its `repr` and counted."""
    assert degrade(value) == (text, 1)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(2.5), 2.5),
        (np.str_("text"), "text"),
        (Level.HIGH, 3),
        (Text("text"), "text"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_and_texts_in_disguise_are_not_degraded(value: object, plain: object) -> None:
    """NumPy scalars and subclasses of int and str become plain values and do not count."""
    found, degraded = degrade(value)
    assert (found, type(found), degraded) == (plain, type(plain), 0)


def test_numpy_scalar_that_does_not_fit_is_degraded() -> None:
    """A NumPy scalar that is no number msgpack has is kept as its `repr`."""
    assert degrade(np.complex64(1j)) == ("np.complex64(1j)", 1)


def test_a_scalar_whose_item_raises_is_degraded() -> None:
    """Something that looks like a scalar but cannot be read is kept as its `repr`."""

    class Lazy:
        shape = ()

        def item(self) -> float:
            raise RuntimeError("not computed yet")

        def __repr__(self) -> str:
            return "<lazy>"

    assert degrade(Lazy()) == ("<lazy>", 1)


def test_only_what_does_not_fit_is_replaced() -> None:
    """Neighbours of a degraded value are kept as they are, and each degradation counts."""
    value = {"a": [1, Opaque(), {"b": 2**64}], "c": (1.5, {"x"})}
    assert degrade(value) == ({"a": [1, "<opaque>", {"b": str(2**64)}], "c": [1.5, ["x"]]}, 2)


def test_keys_become_text() -> None:
    """Numbers as keys are written out, texts kept, other keys degraded; nothing is lost."""
    keys = {1: "a", 2.5: "b", None: "c", False: "d", "e": "e", Text("f"): "f", Opaque(): "g"}
    found, degraded = degrade({**keys, "\ud800": "h"})
    assert list(found.values()) == list("abcdefgh")
    assert list(found) == ["1", "2.5", "None", "False", "e", "f", "<opaque>", "'\\ud800'"]
    assert degraded == 2


def test_cycle_is_cut_where_it_closes() -> None:
    """A container inside itself is replaced once, and everything else is kept."""
    value: dict[str, Any] = {"n": 1}
    value["me"] = [value]
    assert degrade(value) == ({"n": 1, "me": ["..."]}, 1)


def test_many_cycles_do_not_multiply() -> None:
    """A tree whose nodes know their parent takes no longer than its number of nodes."""
    root: dict[str, Any] = {"name": "root"}
    root["children"] = [{"name": str(n), "parent": root, "again": root} for n in range(50)]
    found, degraded = degrade(root)
    assert [child["name"] for child in found["children"]] == [str(n) for n in range(50)]
    assert degraded == 100


def test_a_container_that_occurs_twice_is_no_cycle() -> None:
    """A container that stands in two places is written twice."""
    shared = [Opaque()]
    assert degrade([shared, shared]) == ([["<opaque>"], ["<opaque>"]], 2)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}])
def test_deep_nesting_is_cut(wrap: Any) -> None:
    """Nesting deeper than msgpack can encode is cut off and counted."""
    value: Any = 1
    for _ in range(5000):
        value = wrap(value)
    with pytest.raises(RecursionError):
        encode(value)
    _, degraded = degrade(value)
    assert degraded == 1


def test_repr_is_cut() -> None:
    """A long `repr` is cut: an event must not hold a whole array."""
    found, _ = degrade([list(range(100_000)), Opaque(), np.arange(900)])
    assert found[:2] == [list(range(100_000)), "<opaque>"]
    assert len(found[2]) == 1000


@dataclass(frozen=True)
class Key:
    name: str


def test_frame_that_cannot_be_read_becomes_a_note() -> None:
    """What was encoded but cannot be decoded comes back as a note of why, not as an exception."""
    data = encode((EVENT_TAG, 1, "x", 2, {Key("a"): 1}, None))
    with pytest.raises(msgspec.DecodeError):
        msgspec.msgpack.decode(data)
    frame = decode(data)
    assert isinstance(frame, NoteFrame)
    assert "could not be read" in frame.text
