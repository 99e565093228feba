"""Reservoirs: which of the events in a node's record are left, and how many each stands for.

The record is append-only, so an operation that took another's place stands after it. Which is the
last in its place is known only at the end: one pass finds out, another reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_crucible.capture.frames import EventFrame, Frame, SamplingFrame, ScopeFrame
from pytest_crucible.capture.strategies import NO_SLOT, RESERVOIR, parse_sampling
from pytest_crucible.events.scope import Scope

Condition = tuple[str, str]
"""experiment, condition"""
_NOWHERE: Condition = "", ""


class Survivors:
    """What is left in the reservoirs of a node.

    Args:
        frames: all of them.
        scopes: what scope numbers mean, where ``frames`` does not tell.
        samplings: the same for how conditions are sampled.
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
                    self._place(frame)
            elif isinstance(frame, ScopeFrame):
                self._owners[frame.id] = frame.experiment, frame.condition
            elif isinstance(frame, SamplingFrame):
                self._learn(frame)

    def _place(self, frame: EventFrame) -> None:
        owner = self._owners.get(abs(frame.scope), _NOWHERE)
        place = owner, frame.slot
        self._last[place] = max(self._last.get(place, 0), frame.unit)
        # A process that died did not say how many there were; at least as many as this.
        self._seen[owner] = max(self._seen.get(owner, 0), frame.unit)

    def _learn(self, frame: SamplingFrame) -> None:
        sampling = parse_sampling(frame.sampling)
        if sampling.strategy == RESERVOIR:
            owner = frame.experiment, frame.condition
            self._sizes[owner] = sampling.number
            self._seen[owner] = max(self._seen.get(owner, 0), frame.seen)

    def seen(self, condition: Condition) -> int:
        """At least so many operations of a condition were seen; 0 where none was."""
        return self._seen.get(condition, 0)

    def weight(self, frame: EventFrame) -> float | None:
        """How many events one in a reservoir stands for; None if it has been replaced."""
        owner = self._owners.get(abs(frame.scope), _NOWHERE)
        if self._last.get((owner, frame.slot)) != frame.unit:
            return None
        if owner not in self._sizes:  # what told was torn: as many as when it was taken
            return frame.weight
        return max(1.0, self._seen[owner] / self._sizes[owner])
