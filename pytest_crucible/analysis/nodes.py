"""Nodes: what every process of a run recorded, and which of them were killed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NotRequired, TypedDict

from pytest_crucible.capture.strategies import RESERVOIR, parse_sampling
from pytest_crucible.metrics.trials import BROKEN_OFF, MISSING, Trial
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.reservoir import Condition


class NodeSampling(TypedDict):
    """How a node sampled one condition: the strategy, its seed, and the number of operations."""

    experiment: str
    condition: str
    sampling: str
    seed: int
    operations: int


class NodeResult(TypedDict):
    """The record of one process: its name, number of events, and whether it ended normally.

    ``resumed``: it was killed, but its trials ran to their end elsewhere.
    """

    name: str
    events: int
    closed: bool
    resumed: NotRequired[bool]
    sampling: NotRequired[list[NodeSampling]]


def node_result(node: Node, resumed: bool = False) -> NodeResult:
    """Describe the record of a node that has been read.

    Args:
        node: the node.
        resumed: whether it is one of `resumed_nodes`.
    """
    result = NodeResult(name=node.name, events=node.events, closed=node.ended)
    if resumed:
        result["resumed"] = True
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


def resumed_nodes(nodes: Sequence[Node], trials: Iterable[Trial]) -> list[Node]:
    """Return the nodes that were killed, but whose trials ran to their end elsewhere.

    That is known if every trial of the record ended, and either another run or another attempt at
    the trial that was running made up for it. A total that only the node knew stays lost.

    Args:
        nodes: nodes that have been read.
        trials: all trials of the record.
    """
    replaced = set()
    for trial in trials:
        if trial.outcome in (MISSING, *BROKEN_OFF):
            return []
        replaced |= {each.node for each in trial.attempts if each.outcome in BROKEN_OFF}
    several = len({node.run for node in nodes}) > 1
    return [
        node
        for node in nodes
        if not node.ended
        and (several or (node.run, node.name) in replaced)
        and not any(_lost_total(node, condition) for condition in node.samplings)
    ]


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
        if any(
            condition[0] == experiment and _lost_total(node, condition)
            for condition in node.samplings
        )
    )


def _lost_total(node: Node, condition: Condition) -> bool:
    """Whether a node was killed while it filled a reservoir for a condition."""
    strategy = parse_sampling(node.samplings[condition].sampling).strategy
    return not node.closed and strategy == RESERVOIR and node.drew(condition)
