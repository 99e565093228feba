"""What the processes of a run recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.analysis.nodes import broken_off, node_result, resumed_nodes
from pytest_crucible.capture.frames import ScopeFrame, encode
from pytest_crucible.capture.open_scope import OpenScope
from pytest_crucible.capture.sampler import NodeSampler
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.trials import Attempt, Trial
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.store import Recorded
from pytest_crucible.runs.run import open_folder
from tests.made_events import event, write_run

SCOPE = Scope(experiment="e", condition="c")


def sampled(sampling: str, calls: int) -> Node:
    """A node that broke off after so many calls, read to its end."""
    store = MemoryStore()
    store.append(encode(ScopeFrame(1, "e", "c", None, None, None, None)))
    sampler = NodeSampler("e", "c", sampling, store.append, seed=7)
    opened = OpenScope(1, SCOPE, store, sampler)
    for _ in range(calls):
        sampler.capture(opened, "work.stop", {"duration": 5}, {}, 0)
    opened.tell_sampled()
    node = Node("gw0", Recorded(store), run="r")
    list(node)
    return node


def test_a_node_says_how_much_it_recorded_and_whether_it_ended(tmp_path: Path) -> None:
    """Closed in good order, or not; without a sample nothing is said of sampling."""
    for closed in (True, False):
        run = open_folder(write_run(tmp_path / str(closed), [event(), event()], closed=closed))
        (node,) = run.nodes
        list(node)
        assert node_result(node) == {"name": "main", "events": 2, "closed": closed}


def test_a_sample_says_its_seed_and_of_how_many_it_was_drawn() -> None:
    """So that whoever reads it can draw it again."""
    (told,) = node_result(sampled("reservoir:2", 5))["sampling"]
    assert (told["experiment"], told["condition"], told["sampling"]) == ("e", "c", "reservoir:2")
    assert (told["seed"], told["operations"]) == (7, 5)


@pytest.mark.parametrize(
    ("sampling", "calls", "experiment", "expected"),
    [
        ("reservoir:2", 5, "e", ("gw0",)),
        ("reservoir:2", 5, "other", ()),
        ("reservoir:2", 0, "e", ()),  # it kept nothing, so it saw nothing
        ("uniform:0.5", 5, "e", ()),  # its weights need no total
    ],
)
def test_only_a_reservoir_that_broke_off_leaves_its_total_open(
    sampling: str, calls: int, experiment: str, expected: tuple[str, ...]
) -> None:
    """The total is then the last that it told."""
    assert broken_off([sampled(sampling, calls)], experiment) == expected


@pytest.mark.parametrize(
    ("outcomes", "runs", "expected"),
    [
        ([("r", "gw0", "crashed"), ("r", "gw1", "passed")], "rr", ["gw0"]),
        ([("a", "gw0", "crashed"), ("b", "gw1", "passed")], "ab", ["gw0"]),
        ([("b", "gw1", "passed")], "ab", ["gw0"]),  # killed between its trials
        ([("r", "gw1", "passed")], "rr", []),  # nobody knows what it was doing
        ([("r", "gw0", "crashed")], "rr", []),
        ([("a", "gw0", "crashed")], "ab", []),
        ([], "ab", []),  # the trial is missing
    ],
)
def test_a_killed_node_is_made_up_for_by_whoever_ended_its_trials(
    outcomes: list[tuple[str, str, str]], runs: str, expected: list[str]
) -> None:
    """And only if every trial of the record ended, else something may be lost."""
    nodes = [Node("gw0", (), run=runs[0]), Node("gw1", (), run=runs[1], closed=True)]
    attempts = [Attempt((run, node), 1, outcome) for run, node, outcome in outcomes]
    trials = [Trial("e", "c", "case", 1, "t", attempts)]
    found = resumed_nodes(nodes, trials)
    assert [node.name for node in found] == expected
    assert [node_result(node, True)["resumed"] for node in found] == [True] * len(expected)


def test_a_reservoir_that_broke_off_is_not_made_up_for() -> None:
    """Its total is lost, whoever runs its trials again."""
    trials = [Trial("e", "c", "case", 1, "t", [Attempt(("other", "main"), 1, "passed")])]
    nodes = [sampled("reservoir:2", 5), Node("main", (), run="other", closed=True)]
    assert resumed_nodes(nodes, trials) == []
