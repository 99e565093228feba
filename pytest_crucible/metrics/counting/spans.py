"""Nesting: telling wholes from parts, so that nothing is counted twice.

Cost and tokens count where they were spent: in the parts. Latency and success count where they were
felt: an ensemble that asks three models is one operation, as long as its caller waited.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.events.catalog import START, is_container
from pytest_crucible.events.enrichment import Enriched, is_operation
from pytest_crucible.events.event import Event, hashable_id

MAX_PARTS = 4096  # of one whole that has no span id; keeps memory flat over a million events

Block = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]
"""Events: when they ended (µs), their rows, and whether they told cost and tokens."""

_Key = tuple[str, object]
"""Node and span id."""

Counted = tuple[bool, bool, bool]
"""Whether an event's operation, its cost and its tokens count."""

_NOTHING: Counted = (False, False, False)


class Nesting:
    """The spans of one scope that are open, and the operations that no whole has claimed yet.

    A span's parts mostly end before it does, so what is kept here stays about as small as the
    number of open spans. Some instrumentations say only at its end what a span is, so that it has
    no start: its parts wait for it. Events without span ids (plain ``execute`` calls) are parts of
    the catalog's whole within whose time they ended; not of any span, which may just run beside
    them.
    """

    def __init__(self) -> None:
        self._open: dict[_Key, bool] = {}  # and whether it began within another that was open
        self._waiting: dict[_Key, list[int]] = {}  # rows that counted, by a parent without a start
        self._blocks: list[Block] = []  # of which each row is to be appended to `_recent`
        self._waits = -1  # the latest of those rows
        self._spent: tuple[set[Any], set[Any]] = (set(), set())
        # When it ended (µs), its row, and whether it told cost and tokens.
        self._recent: deque[tuple[int, int, bool, bool]] = deque(maxlen=MAX_PARTS)

    def place(self, event: Event, enriched: Enriched, row: int) -> tuple[Counted, list[int]]:
        """What of the event counts, and which earlier rows it takes as its parts.

        Args:
            event: the event.
            enriched: what was worked out about it.
            row: its row.
        """
        if self._blocks:
            self._unpack()
        get = event.metadata.get
        span, parent = get("span_id"), get("parent_span_id")
        cost, tokens = enriched.cost_usd is not None, enriched.total_tokens is not None
        if event.name.endswith(START):
            if span is None:
                return (False, cost, tokens), []
            self._open[_key(event, span)] = self._is_open(event, parent)
            return _NOTHING, []  # its end says again what its start said
        operation = is_operation(enriched)
        # A task that is cancelled may end after the agent that began it: the start knew.
        began_inside = span is not None and self._open.get(_key(event, span), False)
        inner = began_inside or self._is_open(event, parent)
        told = cost, tokens
        if span is not None or parent is not None:
            cost, tokens = self._by_span(event, span, parent, cost, tokens)
        parts: list[int] = [] if span is None else self._waiting.pop(_key(event, span), [])
        if parent is not None and operation and not inner:
            waiting = self._waiting.setdefault(_key(event, parent), [])
            if len(waiting) < MAX_PARTS:
                waiting.append(row)
                self._waits = row
            if len(self._waiting) > MAX_PARTS:
                del self._waiting[next(iter(self._waiting))]
        if is_container(event.name):
            for part, part_cost, part_tokens in self._parts(event, enriched):
                parts.append(part)
                told = told[0] or part_cost, told[1] or part_tokens
                cost, tokens = cost and not part_cost, tokens and not part_tokens
        if span is None and (operation or any(told)):
            # A plain event may turn out to be a part of something that ends later.
            self._recent.append((event.time_us, row, *told))
        return (operation and not inner, cost, tokens), parts

    def _is_open(self, event: Event, span: object) -> bool:
        return span is not None and _key(event, span) in self._open

    def remember(self, block: Block) -> None:
        """Plain events that were not placed one by one: each may turn out to be a part."""
        # As arrays for as long as nobody asks: of a thousand trials few have such a whole.
        self._blocks.append(block)
        while sum(each[0].size for each in self._blocks[1:]) >= MAX_PARTS:
            del self._blocks[0]

    def _unpack(self) -> None:
        for block in self._blocks:
            self._recent.extend(zip(*(column.tolist() for column in block), strict=True))
        self._blocks.clear()

    def may_claim(self, row: int) -> bool:
        """Whether the row that was just placed may still turn out to be a part of another."""
        return row == self._waits or (bool(self._recent) and self._recent[-1][1] == row)

    def _parts(self, event: Event, enriched: Enriched) -> Iterator[tuple[int, bool, bool]]:
        """The plain events within the time of a whole; of one without a duration, all so far."""
        latency = enriched.latency_ms
        began = 0.0 if latency is None else event.time_us - latency * 1000
        while self._recent and self._recent[-1][0] >= began:
            _, part, cost, tokens = self._recent.pop()
            yield part, cost, tokens

    def _by_span(
        self, event: Event, span: object, parent: object, cost: bool, tokens: bool
    ) -> tuple[bool, bool]:
        """Cost and tokens of a span count unless a span below it told them."""
        own = None if span is None else _key(event, span)
        if own is not None:
            self._open.pop(own, None)
        counts = []
        for told, spent in zip((cost, tokens), self._spent, strict=True):
            below = own in spent
            spent.discard(own)
            if (told or below) and parent is not None:
                spent.add(_key(event, parent))
            counts.append(told and not below)
        return counts[0], counts[1]


def _key(event: Event, span: object) -> _Key:
    return event.node, hashable_id(span)
