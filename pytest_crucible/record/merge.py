"""From the events of many nodes to one stream of events.

Merging is reading: each node's order is kept, nodes are interleaved by wall time, and nothing
depends on the order in which files are listed.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from pytest_crucible.events.event import Event
from pytest_crucible.record.chunks import Chunk, joined
from pytest_crucible.record.node_reader import Aside, Node


class Merged:
    """All events of all nodes: in order within a node, by wall time across nodes.

    Args:
        nodes: each is read once per iteration.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = list(nodes)

    def __iter__(self) -> Iterator[Event]:
        return by_time([node.read() for node in self._nodes])

    def chunks(self) -> Iterator[Chunk]:
        """The same, many at once."""
        if len(self._nodes) == 1:
            return self._nodes[0].chunks()
        return interleave([node.chunks() for node in self._nodes])


def merge(nodes: Iterable[Node]) -> Merged:
    """All events of all nodes."""
    return Merged(nodes)


def merge_aside(nodes: Iterable[Node], aside: Aside) -> Iterator[Event]:
    """The same, but for the usual ones, which ``aside`` gets; see `Node.read`."""
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
    """The events of all nodes: in order within a node, by wall time across nodes."""
    ahead = [each for each in map(_Ahead, nodes) if each.keys]
    while ahead:
        # No node has anything still to come before the last event of what it has now.
        limit = min(each.keys[-1] for each in ahead)
        parts: list[Chunk] = []
        keys: list[_Key] = []
        for each in ahead:
            each.give(limit, parts, keys)
        if len(parts) == 1:
            yield parts[0]
        else:
            yield joined(parts).rows(sorted(range(len(keys)), key=keys.__getitem__))
        ahead = [each for each in ahead if each.keys]


class _Ahead:
    """What has been read of a node and not been given yet.

    Attributes:
        keys: of the chunk that was read; none at the end.
    """

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._latest = 0
        self._read()

    def _read(self) -> None:
        self._given = 0
        self.keys: list[_Key] = []
        chunk = next(self._chunks, None)
        if chunk is not None:
            # A wall clock may be set back; the order within a node must survive that.
            times = list(accumulate(chunk.times_us, max, initial=self._latest))[1:]
            nodes = [origin.node for origin in chunk.origins]
            self._latest, self._chunk = times[-1], chunk
            self.keys = list(zip(times, nodes, chunk.sequences, strict=True))

    def give(self, limit: _Key, parts: list[Chunk], keys: list[_Key]) -> None:
        """Add the events up to this one, and their keys; read on when none is left."""
        start, end = self._given, bisect_right(self.keys, limit, self._given)
        if start == end:
            return
        whole = end - start == len(self.keys)
        parts.append(self._chunk if whole else self._chunk.rows(slice(start, end)))
        keys += self.keys[start:end]
        self._given = end
        if end == len(self.keys):
            self._read()
