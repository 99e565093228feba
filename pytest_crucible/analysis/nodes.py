"""What each process of a run recorded, and which of them broke off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NotRequired, TypedDict

from pytest_crucible.capture.strategies import RESERVOIR, parse_sampling
from pytest_crucible.record.node_reader import Node


class NodeSampling(TypedDict):
    """How a node sampled one condition, with which seed, out of how many operations."""

    experiment: str
    condition: str
    sampling: str
    seed: int
    operations: int


class NodeResult(TypedDict):
    """What one process recorded: its name, how many events, and whether it ended in good order."""

    name: str
    events: int
    closed: bool
    sampling: NotRequired[list[NodeSampling]]


def node_result(node: Node) -> NodeResult:
    """What a node recorded, once it has been read."""
    found = NodeResult(name=node.name, events=node.events, closed=node.ended)
    if node.samplings:
        found["sampling"] = [
            NodeSampling(
                experiment=frame.experiment,
                condition=frame.condition,
                sampling=frame.sampling,
                seed=frame.seed,
                operations=frame.seen,
            )
            for frame in node.samplings.values()
        ]
    return found


def broken_off(nodes: Iterable[Node], experiment: str) -> tuple[str, ...]:
    """The nodes that had a reservoir and no end: the number of operations is the last they told.

    One that kept nothing saw nothing: a reservoir takes the first that comes.
    """
    return tuple(
        node.name
        for node in nodes
        if not node.closed
        and any(
            condition[0] == experiment
            and parse_sampling(frame.sampling).strategy == RESERVOIR
            and node.drew(condition)
            for condition, frame in node.samplings.items()
        )
    )
