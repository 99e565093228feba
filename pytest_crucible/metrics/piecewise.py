"""Observations of a record that still grows: each time those of what is new."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_crucible.metrics.observations import Enricher, Observations, observe
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.store import Store


class Piecewise:
    """Reads the record of this process piece by piece.

    Args:
        store: of this process.
        node: its name.
        enrichers: see `observe`.
    """

    def __init__(self, store: Store, node: str, enrichers: Sequence[Enricher] = ()) -> None:
        self._store = store
        self._node = Node(node, (), piecewise=True)
        self._enrichers = enrichers
        self._position = 0

    def new(self) -> Observations | None:
        """Return the observations recorded since the last call; None if nothing was."""
        position = self._store.position()
        if position == self._position:
            return None
        self._node.frames = self._store.frames(self._position)
        observations = observe(self._node, enrichers=self._enrichers)
        learned = self._node.learned.items()
        self._node.scopes = {number: scope for number, scope in learned if scope is not None}
        self._position = position
        return observations
