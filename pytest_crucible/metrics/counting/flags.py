"""Flags: what of every single event counts, for exports, whose rows stand for themselves.

One byte per event. The rules are those of `nesting` and `model_calls`, which groups apply as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_crucible.events.enrichment import enrich
from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP, Event
from pytest_crucible.events.schema import COUNTING
from pytest_crucible.events.scope import JUDGE, Scope, is_warmup
from pytest_crucible.metrics.counting.model_calls import CallCounts, Calls
from pytest_crucible.metrics.counting.nesting import Nesting
from pytest_crucible.metrics.trials import TrialBook

Values = tuple[bool | None, ...]
"""The values of the columns `COUNTING`; all None for the plugin's own events."""

_NONE: Values = (None,) * len(COUNTING)
_KNOWN = 1 << len(COUNTING)  # tells an event that does not count from one that was never seen
_VALUES: tuple[Values, ...] = tuple(
    tuple(bool(bits >> place & 1) for place in range(len(COUNTING))) for bits in range(_KNOWN)
)
_GAP = 65_536  # a larger step of the sequence is not filled up with zeros
_OFFSET = 1 << 63  # makes a sequence of 64 bits positive


class Flags:
    """What counts of every event, by run, node and sequence."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], int] = {}
        self._bits: list[bytearray] = []  # by node, then by sequence
        self._far: dict[int, int] = {}  # by row: sequences far beyond the others

    def row(self, event: Event) -> int:
        """Return the number under which counting knows an event."""
        node = self._nodes.setdefault((event.run, event.node), len(self._nodes))
        if node == len(self._bits):
            self._bits.append(bytearray())
        return node << 64 | event.sequence + _OFFSET

    def get(self, row: int) -> int:
        """Return the bits of a row; 0 if it has none."""
        if row in self._far:
            return self._far[row]
        node, sequence = _parts(row)
        bits = self._bits[node]
        return bits[sequence] if 0 <= sequence < len(bits) else 0

    def set(self, row: int, value: int) -> None:
        """Set the bits of a row."""
        node, sequence = _parts(row)
        bits = self._bits[node]
        if row in self._far or not 0 <= sequence < len(bits) + _GAP:
            self._far[row] = value
            return
        if sequence >= len(bits):
            bits.extend(bytes(sequence + 1 - len(bits)))
        bits[sequence] = value

    def of(self, run: str, node: str, sequences: Sequence[int]) -> list[Values]:
        """Return the values of `COUNTING` for some events of a node."""
        index = self._nodes.get((run, node))
        if index is None:
            return [_NONE] * len(sequences)
        first = index << 64
        found = [self.get(first | sequence + _OFFSET) for sequence in sequences]
        return [_VALUES[bits & _KNOWN - 1] if bits else _NONE for bits in found]


def _parts(row: int) -> tuple[int, int]:
    """Return the index of the node, and the sequence."""
    return row >> 64, (row & (1 << 64) - 1) - _OFFSET


@dataclass(frozen=True, slots=True)
class _Bit:
    """One flag of all events, as a column whose rows `Calls` sets."""

    flags: Flags
    bit: int

    def __setitem__(self, row: int, value: int, /) -> None:
        bits = self.flags.get(row)
        self.flags.set(row, bits | self.bit if value else bits & ~self.bit)


class _Ignored(dict[int, Any]):
    """A column of which exports show nothing."""

    def __setitem__(self, row: int, value: Any, /) -> None:
        """Forget the value."""

    def add(self, row: int, /) -> None:
        """Forget the row."""

    def discard(self, row: int, /) -> None:
        """Forget the row."""


class _Columns:
    """The columns that `Calls` changes when it merges spans."""

    def __init__(self, flags: Flags) -> None:
        self.counted, self.counted_cost, self.counted_tokens = (
            _Bit(flags, 1 << place) for place in range(len(COUNTING))
        )
        self.latency_ms = self.failed = self.cancelled = self.merged = _Ignored()


@dataclass(frozen=True, slots=True)
class _State:
    scope: Scope  # kept alive, because states are looked up by its ``id``
    runs: frozenset[str] | None
    nesting: Nesting
    calls: Calls


def flags_of(events: Callable[[], Iterable[Event]], enrichers: Iterable[Any] = ()) -> Flags:
    """Work out what counts, in one pass; in two if a trial broke off and was run again.

    Args:
        events: returns the events of whole experiments, in order within each node.
        enrichers: as for `observe`.
    """
    extra, book = tuple(enrichers), TrialBook()
    flags = _pass(events(), extra, book)
    resumed = book.resumed()
    return _pass(events(), extra, TrialBook(resumed)) if resumed else flags


def _pass(events: Iterable[Event], enrichers: tuple[Any, ...], book: TrialBook) -> Flags:
    flags = Flags()
    columns, counts = _Columns(flags), CallCounts()
    states: dict[int, _State] = {}
    for event in events:
        scope = event.scope
        if scope is None:
            continue
        if event.internal:
            if event.name in (TRIAL_START, TRIAL_STOP) and not is_warmup(scope):
                book.add(event)
            continue
        row = flags.row(event)
        if is_warmup(scope):
            flags.set(row, _KNOWN)
            continue
        state = states.get(id(scope))
        if state is None:
            calls = Calls(columns, counts, scope.role == JUDGE)
            state = states[id(scope)] = _State(scope, book.runs_of(scope), Nesting(), calls)
        if state.runs is not None and event.run not in state.runs:
            flags.set(row, _KNOWN)
            continue
        enriched = enrich(event)
        for enricher in enrichers:
            enricher(event, enriched)
        counted, parts = state.nesting.place(event, enriched, row)
        flags.set(row, _KNOWN | sum(flag << place for place, flag in enumerate(counted)))
        for part in parts:
            columns.counted[part] = 0
        state.calls.add(event, enriched, row)
    return flags
