"""Frames: the only binary form of a node's record, in memory, on disk and on the wire.

A frame is a msgpack array whose first item is the number of its kind. Most frames are events, and
they must be small: an event holds the number of its scope, and one `ScopeFrame` before it says
which scope has that number.

Importing this module imports msgspec; modules that load with the plugin must not import it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from pytest_crucible._layout import EVENT_TAG as EVENT_TAG

SCHEMA = 1
"""Version of the frames and of everything derived from them. Readers refuse other versions."""


class EventFrame(msgspec.Struct, array_like=True, tag=EVENT_TAG, gc=False):
    """One event. ``execute`` and the recorder write it as a bare tuple, in this order.

    ``measurements`` and ``metadata`` are what the caller passed, of any type. Only sampled events
    have the last three fields: ``unit``, the number of the operation; ``slot``, the index in a
    reservoir, where an operation with a higher ``unit`` replaces this one; ``weight``, how many
    events this one stands for.
    """

    scope: int
    name: Any
    time_ns: int
    measurements: Any
    metadata: Any
    attribution: int = 0
    degraded: int = 0
    unit: int = 0
    slot: int = -1
    weight: float = 1.0


class HeaderFrame(msgspec.Struct, array_like=True, tag=1):
    """First frame of a node: which process records, and its clocks at that moment (ns).

    ``parent`` is the node that a forked or joined process belongs to; such a process may end
    without a footer. ``clock_offset_ns`` is this node's wall clock minus the controller's, with an
    error of at most ``clock_bound_ns``.
    """

    schema: int
    run: str
    node: str
    uid: str
    pid: int
    host: str
    wall_ns: int
    monotonic_ns: int
    parent: str | None = None
    clock_offset_ns: int = 0
    clock_bound_ns: int = 0


class ExperimentFrame(msgspec.Struct, array_like=True, tag=2):
    """An experiment's definition: the arguments of its marker, or of ``experiment()``."""

    name: str
    definition: dict[str, Any]


class ScopeFrame(msgspec.Struct, array_like=True, tag=3):
    """The scope that has the number ``id`` in this node."""

    id: int
    experiment: str
    condition: str
    test: str | None
    case: str | None
    trial: int | None
    attempt: int | None


class PlanFrame(msgspec.Struct, array_like=True, tag=4):
    """The trials selected to run, as tuples ``(experiment, condition, test, case, trial)``."""

    trials: list[tuple[str, str, str, str, int]]


class NoteFrame(msgspec.Struct, array_like=True, tag=5):
    """A sentence that says why the record is incomplete."""

    text: str


INSERTED_NOTE = "crucible.inserted: the next event stands at its own time"
"""Text of the note before an inserted event. So readers know without decoding it whether a record
holds any, and only then put its events in order."""


class SamplingFrame(msgspec.Struct, array_like=True, tag=7):
    """How this node samples the events of one condition, and how many operations it has seen.

    A node writes several for a condition: the first before any sampled event; the last one counts.
    """

    experiment: str
    condition: str
    sampling: str
    seed: int
    seen: int = 0


class FooterFrame(msgspec.Struct, array_like=True, tag=6):
    """Last frame of a node that ended in good order."""

    wall_ns: int


Frame = (
    EventFrame
    | HeaderFrame
    | ExperimentFrame
    | ScopeFrame
    | PlanFrame
    | NoteFrame
    | FooterFrame
    | SamplingFrame
)

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
"""Encode a frame, or the tuple that stands for an `EventFrame`.

Raises for values that msgpack cannot hold (unknown types, ints of 2**64 and more, lone surrogates,
cycles). A value's own code may raise anything, e.g. a time zone that is asked for its offset. For
both there is `encode_degraded`.
"""

encode_into = _encoder.encode_into
"""Like `encode`, into a bytearray, which then has the length of the frame.

No other code may touch the bytearray meanwhile: encoding may run Python code (a time zone's), so
other threads may run; if one of them resized it, msgspec would write to memory that is freed.
"""

decode_frame = msgspec.msgpack.Decoder(Frame).decode
"""Decode a frame; raises one of `UNREADABLE` if it cannot be read."""

UNREADABLE = (msgspec.DecodeError, RecursionError)
"""Not every value that can be encoded can be decoded: a frozen dataclass may be the key of a dict,
but it is decoded as a dict, which cannot be a key."""


def decode(data: bytes | msgspec.Raw) -> Frame:
    """Decode a frame; return a `NoteFrame` with the reason if it cannot be read."""
    try:
        frame: Frame = decode_frame(data)
    except UNREADABLE as error:
        return unreadable(error)
    return frame


def unreadable(error: Exception) -> NoteFrame:
    """Return the note that replaces a frame that cannot be read."""
    return NoteFrame(f"a frame could not be read: {error}")


_MAX_DEPTH = 32
_MAX_REPR = 1000
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


def encode_degraded(
    scope: int,
    name: object,
    time_ns: int,
    measurements: object,
    metadata: object,
    attribution: int,
    sampled: tuple[int, int, float] | tuple[()] = (),
) -> tuple[bytes, int]:
    """Encode an event that `encode` refused; replace values that do not fit by their ``repr``.

    NumPy and torch scalars become plain numbers and do not count as replaced. A container inside
    itself becomes ``...``.

    Args:
        scope: number of the scope.
        name, measurements, metadata: the event.
        time_ns: wall time in ns since the epoch.
        attribution: index into `pytest_crucible.events.event.ATTRIBUTIONS`.
        sampled: ``unit``, ``slot`` and ``weight`` of a sampled event, see `EventFrame`.

    Returns:
        The frame, and how many values were replaced.
    """
    plain = _Plain()
    safe_name = plain.convert(name)
    safe_measurements, safe_metadata = plain.convert(measurements), plain.convert(metadata)
    frame = (
        EVENT_TAG, scope, safe_name, time_ns, safe_measurements, safe_metadata,
        attribution, plain.degraded, *sampled,
    )  # fmt: skip
    return encode(frame), plain.degraded


class _Plain:
    """Copies a value into types that msgpack holds, and counts the values it replaces."""

    def __init__(self) -> None:
        self.degraded = 0
        self._around: set[int] = set()  # ids of the containers around the value being converted

    def convert(self, value: object) -> object:
        try:
            if isinstance(value, (Mapping, list, tuple, set, frozenset)):
                return self._container(value)
            return self._leaf(value)
        except Exception:
            # Looking at a lazy proxy, or at a config with missing values, runs its code.
            return self._replace(value)

    def _container(self, value: Mapping[object, object] | Collection[object]) -> object:
        if id(value) in self._around:
            # Not its repr: in a tree whose nodes refer to their parents, each repr would hold the
            # whole tree.
            self.degraded += 1
            return "..."
        if len(self._around) >= _MAX_DEPTH:
            return self._replace(value)
        self._around.add(id(value))
        try:
            if isinstance(value, Mapping):
                return {self._key(key): self.convert(item) for key, item in list(value.items())}
            return [self.convert(item) for item in list(value)]
        finally:
            self._around.remove(id(value))

    def _leaf(self, value: object) -> object:
        if encodable(value):
            return value
        if isinstance(value, str):
            text = str.__str__(value)  # a subclass may override __str__
            return text if encodable(text) else self._replace(text)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int):
            # An int that does not fit, or a subclass of int (IntEnum) that fits as a plain int.
            return int(value) if _INT_MIN <= value <= _INT_MAX else self._replace(value)
        number = _scalar(value)
        return self._replace(value) if number is None else number

    def _key(self, key: object) -> str:
        if isinstance(key, str):
            return str(self._leaf(key))
        if isinstance(key, (bool, int, float)) or key is None:
            return str(key)
        return self._replace(key)

    def _replace(self, value: object) -> str:
        self.degraded += 1
        try:
            text = repr(value)
        except Exception as error:
            text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
        return text[:_MAX_REPR].encode("utf-8", "backslashreplace").decode()


def encodable(value: object) -> bool:
    """Whether `encode` accepts the value as it is."""
    try:
        encode(value)
    except Exception:
        return False
    return True


def _scalar(value: object) -> float | int | bool | None:
    """The number in a NumPy or torch scalar, without importing either; None for other values."""
    item = getattr(value, "item", None)
    if not callable(item) or getattr(value, "shape", None) != ():
        return None
    try:
        number = item()
    except Exception:
        return None
    return number if isinstance(number, (bool, int, float)) and encodable(number) else None
