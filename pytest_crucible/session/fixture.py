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


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> Experiment:
    """The experiment of this test's marker: execute, span, record, condition, metrics(), …"""
    trials: Any = request.config.pluginmanager.getplugin(TRIALS)
    handle: Experiment | None = None if trials is None else trials.handle()
    if handle is None:
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
