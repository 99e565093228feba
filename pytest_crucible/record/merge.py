"""Merges the events of many nodes into one stream.

Merging happens while reading. The events of a node keep their order, those of different nodes are
ordered by wall time, and the result does not depend on the order in which files are listed. Events
that were inserted stand at the time when they happened.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import itemgetter

from pytest_crucible.events.event import ATTRIBUTIONS, INSERTED, Event
from pytest_crucible.record.chunks import Chunk, chunks_of, joined
from pytest_crucible.record.node_reader import Aside, Node


class Merged:
    """All events of all nodes: in order within a node, by wall time across nodes.

    Args:
        nodes: every iteration reads them once.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = list(nodes)

    def __iter__(self) -> Iterator[Event]:
        return by_time([in_order(node) for node in self._nodes])

    def chunks(self) -> Iterator[Chunk]:
        """Iterate over the same events in chunks."""
        if any(node.unordered for node in self._nodes):
            return chunks_of(self)
        if len(self._nodes) == 1:
            return self._nodes[0].chunks()
        return interleave([node.chunks() for node in self._nodes])


def in_order(node: Node) -> Iterator[Event]:
    """Read the events of a node in order; inserted ones at the time when they happened.

    Only a node with inserted events is read into memory as a whole.
    """
    if not node.unordered:
        yield from node.read()
        return
    inserted: list[tuple[int, int, Event]] = []
    others: list[tuple[int, int, Event]] = []
    latest = 0
    for event in node.read():
        if event.attribution == ATTRIBUTIONS[INSERTED]:
            inserted.append((event.time_us, event.sequence, event))
        else:
            latest = max(latest, event.time_us)  # a wall clock may be set back
            others.append((latest, event.sequence, event))
    inserted.sort(key=itemgetter(0, 1))
    for *_, event in heapq.merge(others, inserted, key=itemgetter(0, 1)):
        yield event


def merge(nodes: Iterable[Node]) -> Merged:
    """Merge all events of all nodes."""
    return Merged(nodes)


def merge_aside(nodes: Iterable[Node], aside: Aside) -> Iterator[Event]:
    """Merge all events except the usual ones: ``aside`` gets those, see `Node.read`."""
    return by_time([node.read(aside) for node in nodes])


def by_time(streams: list[Iterator[Event]]) -> Iterator[Event]:
    """The events of streams, each of which is a node's, or a part of one, in order."""
    if len(streams) == 1:
        return streams[0]
    timed = map(_timed, streams)
    return (event for *_, event in heapq.merge(*timed, key=lambda item: item[:3]))


def _timed(events: Iterator[Event]) -> Iterator[tuple[int, str, int, Event]]:
    latest = 0
    for event in events:
        # A wall clock may be set back; the order within a node must survive that.
        latest = max(latest, event.time_us)
        yield latest, event.node, event.sequence, event


_Key = tuple[int, str, int]
"""The latest time so far in the node (µs), the node, and the sequence number."""


def interleave(nodes: Iterable[Iterator[Chunk]]) -> Iterator[Chunk]:
    """Merge the chunks of nodes: in order within a node, by wall time across nodes."""
    cursors = [cursor for cursor in map(_Cursor, nodes) if cursor.keys]
    while cursors:
        # All later events of a node come after the last event of its present chunk.
        limit = min(cursor.keys[-1] for cursor in cursors)
        pieces: list[Chunk] = []
        keys: list[_Key] = []
        for cursor in cursors:
            cursor.advance(limit, pieces, keys)
        if len(pieces) == 1:
            yield pieces[0]
        else:
            yield joined(pieces).rows(sorted(range(len(keys)), key=keys.__getitem__))
        cursors = [cursor for cursor in cursors if cursor.keys]


class _Cursor:
    """The present chunk of one node, and how much of it has been passed on.

    Attributes:
        keys: of the events in the chunk; empty at the end of the node.
    """

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._latest = 0
        self._read()

    def _read(self) -> None:
        self._passed = 0
        self.keys: list[_Key] = []
        chunk = next(self._chunks, None)
        if chunk is not None:
            # A wall clock may be set back; the order within a node must survive that.
            times = list(accumulate(chunk.times_us, max, initial=self._latest))[1:]
            nodes = [origin.node for origin in chunk.origins]
            self._latest, self._chunk = times[-1], chunk
            self.keys = list(zip(times, nodes, chunk.sequences, strict=True))

    def advance(self, limit: _Key, pieces: list[Chunk], keys: list[_Key]) -> None:
        """Pass on the events up to ``limit``; at the end of the chunk read the next one.

        Args:
            limit: key of the last event to pass on.
            pieces, keys: the events and their keys are appended to these.
        """
        start, end = self._passed, bisect_right(self.keys, limit, self._passed)
        if start == end:
            return
        whole = end - start == len(self.keys)
        pieces.append(self._chunk if whole else self._chunk.rows(slice(start, end)))
        keys += self.keys[start:end]
        self._passed = end
        if end == len(self.keys):
            self._read()
