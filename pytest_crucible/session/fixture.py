"""The ``experiment`` fixture, and the hidden ones that carry condition and trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_crucible.experiments.handle import Experiment

# Here and not in `session.marker`: every session imports this module, and that one is slow to
# import.
CONDITION_PARAM = "_crucible_condition"
TRIAL_PARAM = "_crucible_trial"
TRIALS = "crucible-trials"
"""Plugin name of `session.trials.TrialHooks`, which knows the running trial."""


MARKERS = pytest.StashKey[int]()
"""How many ``experiment`` markers a test had when its session began; without any, not set."""


def count_markers(node: Any) -> int:
    """Return how many ``experiment`` markers a test has, with those of its class and module."""
    count = 0
    while node is not None:  # not `iter_markers`: this runs for every test of every session
        for mark in node.own_markers:
            if mark.name == "experiment":
                count += 1
        node = node.parent
    return count


def check_markers(item: pytest.Item) -> None:
    """Check that no ``experiment`` marker came while the test ran.

    Raises:
        LateMarkerError: one did.
    """
    if count_markers(item) != item.stash.get(MARKERS, 0):
        raise LateMarkerError(item.nodeid)


class LateMarkerError(pytest.fail.Exception):  # type: ignore[misc, name-defined]
    """An ``experiment`` marker was added to a test that runs: too late to obey it."""

    def __init__(self, nodeid: str) -> None:
        super().__init__(
            f"{nodeid}: an experiment marker was added while the test ran, too late to record it: "
            "put it on the test, or add it in pytest_collection_modifyitems",
            pytrace=False,
        )


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> Experiment:
    """The experiment of this test's marker: execute, span, record, condition, metrics(), …"""
    trials: Any = request.config.pluginmanager.getplugin(TRIALS)
    handle: Experiment | None = None if trials is None else trials.handle()
    if handle is None:
        check_markers(request.node)
        pytest.fail(
            f"{request.node.nodeid}: the experiment fixture needs a marker: "
            '@pytest.mark.experiment("name")',
            pytrace=False,
        )
    return handle


@pytest.fixture(name=CONDITION_PARAM)
def _condition(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(name=TRIAL_PARAM)
def _trial(request: pytest.FixtureRequest) -> Any:
    return request.param
