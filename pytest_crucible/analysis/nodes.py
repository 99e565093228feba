"""Nodes: what every process of a run recorded, and which of them were killed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NotRequired, TypedDict

from pytest_crucible.capture.strategies import RESERVOIR, parse_sampling
from pytest_crucible.record.node_reader import Node


class NodeSampling(TypedDict):
    """How a node sampled one condition: the strategy, its seed, and the number of operations."""

    experiment: str
    condition: str
    sampling: str
    seed: int
    operations: int


class NodeResult(TypedDict):
    """The record of one process: its name, number of events, and whether it ended normally."""

    name: str
    events: int
    closed: bool
    sampling: NotRequired[list[NodeSampling]]


def node_result(node: Node) -> NodeResult:
    """Describe the record of a node that has been read."""
    result = NodeResult(name=node.name, events=node.events, closed=node.ended)
    if node.samplings:
        result["sampling"] = [
            NodeSampling(
                experiment=frame.experiment,
                condition=frame.condition,
                sampling=frame.sampling,
                seed=frame.seed,
                operations=frame.seen,
            )
            for frame in node.samplings.values()
        ]
    return result


def broken_off(nodes: Iterable[Node], experiment: str) -> tuple[str, ...]:
    """Return the nodes that were killed while they filled a reservoir.

    They recorded how many operations they had seen, but not the last number. A node with an empty
    reservoir saw none, since a reservoir takes the first operation that comes: it is left out.

    Args:
        nodes: nodes that have been read.
        experiment: name of the experiment.
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
