"""Nesting: find out which events are parts of others, so that nothing is counted twice.

A whole is an event that encloses other events, its parts. Cost and tokens count in the parts, where
they were spent. Latency and success count in the whole, which is what the caller waited for: an
ensemble that asks three models is one operation.
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

MAX_PARTS = 4096  # parts of a whole without span id: memory stays flat over a million events

Block = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]
"""Columns of events, shape ``(n,)``: end (µs), row, whether they report cost, whether tokens."""

_Key = tuple[str, object]
"""Node and span id."""

Counted = tuple[bool, bool, bool]
"""Whether an event's operation, its cost and its tokens count."""

_NOTHING: Counted = (False, False, False)


class Nesting:
    """The open spans of one scope, and the operations that may still turn out to be parts.

    The parts of a span mostly end before the span, so memory stays near the number of open spans.
    Some instrumentations report a span only at its end, without a start event; its parts wait for
    it. An event without a span id (a plain ``execute`` call) is a part of a container (an event
    that the catalog calls so) if it ended while the container was running. It is never a part of
    any other event, which may just run at the same time.
    """

    def __init__(self) -> None:
        self._open: dict[_Key, bool] = {}  # open spans; whether they began in another open span
        self._waiting: dict[_Key, list[int]] = {}  # counted rows, by parent span without a start
        self._waits = -1  # the latest row in `_waiting`
        self._blocks: list[Block] = []  # rows that `_unpack` will append to `_recent`
        # Open spans below which cost, and tokens, were reported.
        self._spent: tuple[set[Any], set[Any]] = (set(), set())
        # Plain events: end (µs), row, whether it reports cost, whether tokens.
        self._recent: deque[tuple[int, int, bool, bool]] = deque(maxlen=MAX_PARTS)

    def place(self, event: Event, enriched: Enriched, row: int) -> tuple[Counted, list[int]]:
        """Decide what of an event counts, and which earlier rows are its parts.

        Args:
            event: the event.
            enriched: its numbers.
            row: its row.

        Returns:
            What counts, and the rows of the parts: their operations no longer count.
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
            return _NOTHING, []  # its end reports the same once more
        operation = is_operation(enriched)
        # A cancelled task may end after the agent that began it; so we look at its start, too.
        began_inside = span is not None and self._open.get(_key(event, span), False)
        inner = began_inside or self._is_open(event, parent)
        reported = cost, tokens
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
                reported = reported[0] or part_cost, reported[1] or part_tokens
                cost, tokens = cost and not part_cost, tokens and not part_tokens
        if span is None and (operation or any(reported)):
            # A plain event may turn out to be a part of a whole that ends later.
            self._recent.append((event.time_us, row, *reported))
        return (operation and not inner, cost, tokens), parts

    def _is_open(self, event: Event, span: object) -> bool:
        return span is not None and _key(event, span) in self._open

    def remember(self, block: Block) -> None:
        """Remember plain events that did not go through `place`: they may turn out to be parts."""
        # As arrays until they are needed: of a thousand trials, few have a whole without span ids.
        self._blocks.append(block)
        while sum(ends.size for ends, *_ in self._blocks[1:]) >= MAX_PARTS:
            del self._blocks[0]

    def _unpack(self) -> None:
        for block in self._blocks:
            self._recent.extend(zip(*(column.tolist() for column in block), strict=True))
        self._blocks.clear()

    def may_claim(self, row: int) -> bool:
        """Whether the row that was just placed may still turn out to be a part of a whole."""
        return row == self._waits or (bool(self._recent) and self._recent[-1][1] == row)

    def _parts(self, event: Event, enriched: Enriched) -> Iterator[tuple[int, bool, bool]]:
        """Yield row, cost and tokens of the plain events that ended during a whole.

        If the whole has no latency, these are all plain events so far.
        """
        latency = enriched.latency_ms
        began = 0.0 if latency is None else event.time_us - latency * 1000
        while self._recent and self._recent[-1][0] >= began:
            _, part, cost, tokens = self._recent.pop()
            yield part, cost, tokens

    def _by_span(
        self, event: Event, span: object, parent: object, cost: bool, tokens: bool
    ) -> tuple[bool, bool]:
        """Decide whether cost and tokens of a span count: not if a span below reports them."""
        own = None if span is None else _key(event, span)
        if own is not None:
            self._open.pop(own, None)
        counts = []
        for reported, spent in zip((cost, tokens), self._spent, strict=True):
            below = own in spent
            spent.discard(own)
            if (reported or below) and parent is not None:
                spent.add(_key(event, parent))
            counts.append(reported and not below)
        return counts[0], counts[1]


def _key(event: Event, span: object) -> _Key:
    return event.node, hashable_id(span)
