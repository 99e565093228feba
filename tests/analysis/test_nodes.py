"""What the processes of a run recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.analysis.nodes import broken_off, node_result
from pytest_crucible.capture.frames import ScopeFrame, encode
from pytest_crucible.capture.open_scope import OpenScope
from pytest_crucible.capture.sampler import NodeSampler
from pytest_crucible.events.scope import Scope
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
