"""Reservoirs: which events of a node's record survive, and how many events each stands for.

The record is append-only: an operation that replaces another in a reservoir is written after it.
Only the whole record shows which operation is the last in its slot. So one pass over the frames
finds the last ones, and a second pass reads the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_crucible.capture.frames import EventFrame, Frame, SamplingFrame, ScopeFrame
from pytest_crucible.capture.strategies import NO_SLOT, RESERVOIR, parse_sampling
from pytest_crucible.events.scope import Scope

Condition = tuple[str, str]
"""experiment, condition"""
_UNKNOWN: Condition = "", ""


class Survivors:
    """The operations that remain in the reservoirs of a node.

    Args:
        frames: all frames of the node, with their positions.
        scopes: scopes by number, as far as ``frames`` does not define them.
        samplings: how conditions are sampled, as far as ``frames`` does not say.
    """

    def __init__(
        self,
        frames: Iterable[tuple[int, Frame]],
        scopes: Mapping[int, Scope | None],
        samplings: Mapping[Condition, SamplingFrame],
    ) -> None:
        self._owners: dict[int, Condition] = {}
        for number, scope in scopes.items():
            if scope is not None:
                self._owners[abs(number)] = scope.experiment, scope.condition
        self._last: dict[tuple[Condition, int], int] = {}
        self._sizes: dict[Condition, float] = {}
        self._seen: dict[Condition, int] = {}
        for sampling in samplings.values():
            self._learn(sampling)
        for _, frame in frames:
            if type(frame) is EventFrame:
                if frame.slot != NO_SLOT:
                    self._put(frame)
            elif isinstance(frame, ScopeFrame):
                self._owners[frame.id] = frame.experiment, frame.condition
            elif isinstance(frame, SamplingFrame):
                self._learn(frame)

    def _put(self, frame: EventFrame) -> None:
        owner = self._owners.get(abs(frame.scope), _UNKNOWN)
        key = owner, frame.slot
        self._last[key] = max(self._last.get(key, 0), frame.unit)
        # A process that died did not write how many operations it saw: at least this many.
        self._seen[owner] = max(self._seen.get(owner, 0), frame.unit)

    def _learn(self, frame: SamplingFrame) -> None:
        sampling = parse_sampling(frame.sampling)
        if sampling.strategy == RESERVOIR:
            owner = frame.experiment, frame.condition
            self._sizes[owner] = sampling.number
            self._seen[owner] = max(self._seen.get(owner, 0), frame.seen)

    def seen(self, condition: Condition) -> int:
        """Return how many operations of a condition were seen, at least; 0 if none was."""
        return self._seen.get(condition, 0)

    def weight(self, frame: EventFrame) -> float | None:
        """Return how many events an event in a reservoir stands for; None if it was replaced."""
        owner = self._owners.get(abs(frame.scope), _UNKNOWN)
        if self._last.get((owner, frame.slot)) != frame.unit:
            return None
        if owner not in self._sizes:  # its `SamplingFrame` is lost: the weight when it was written
            return frame.weight
        return max(1.0, self._seen[owner] / self._sizes[owner])
