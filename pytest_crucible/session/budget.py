"""Budget: skips all further trials once the money is spent.

Before each trial the events recorded so far are priced as in the summary. Under xdist each worker
writes what it has spent to a small file next to its spool, where the others read it; workers on
other hosts know only their own costs. A running trial is never cut off: it may exceed the budget.
"""

from __future__ import annotations

import json
import os
from itertools import repeat
from pathlib import Path

import pytest

from pytest_crucible.capture.recorder import record_aside
from pytest_crucible.events.event import CAPTURE
from pytest_crucible.events.pricing import Pricer
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.metrics.piecewise import Piecewise
from pytest_crucible.session.marker import IDENTITY

SUFFIX = ".spent.json"


class Budget:
    """Compares the budgets with the costs that one process knows.

    Args:
        recording: of this process.
        pricer: the same as in the summary.
        session_usd: budget of the whole session in USD; None: no limit.
    """

    def __init__(self, recording: NodeRecording, pricer: Pricer, session_usd: float | None) -> None:
        self._recording = recording
        self._session_usd = session_usd
        self._pieces = Piecewise(recording.store, recording.node, (pricer,))
        self._spent: dict[str, float] = {}
        self._reported: set[str] = set()
        self._own_file = recording.folder / "nodes" / f"{recording.node}{SUFFIX}"

    # Not a wrapper: other plugins' wrappers must have begun when we skip. First, so that no fixture
    # runs.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        identity = item.stash.get(IDENTITY, None)
        if identity is None:
            return
        definition = identity.definition
        refusal = self.refusal(definition.name, definition.budget_usd)
        if refusal is not None:
            # The record has the beginning of this trial, so it counts as skipped, not as missing.
            raise pytest.skip.Exception(refusal, _use_item_location=True)

    def refusal(self, experiment: str, budget_usd: float | None) -> str | None:
        """Return why no further trial of an experiment may run; None if one may.

        Args:
            experiment: its name.
            budget_usd: its own budget in USD; None: no limit.
        """
        if budget_usd is None and self._session_usd is None:
            return None
        self._catch_up()
        spent = self._spent_by_all()
        total, own = sum(spent.values()), spent.get(experiment, 0.0)
        if budget_usd is not None and own >= budget_usd:
            limit, used = f"budget of ${budget_usd:g} of experiment {experiment!r} is spent", own
        elif self._session_usd is not None and total >= self._session_usd:
            limit, used = f"budget of ${self._session_usd:g} is spent", total
        else:
            return None
        if limit not in self._reported:  # for the summary: pytest hides reasons by default
            self._reported.add(limit)
            record_aside(self._recording.store, CAPTURE, {"budget": limit})
        return f"{limit} (${used:.4g})"

    def _catch_up(self) -> None:
        """Price the events recorded since the last call, and publish the new total."""
        observations = self._pieces.new()
        if observations is None:
            return
        groups = [*observations.groups.items(), *observations.warmups.items()]
        for (experiment, _), group in groups:
            weights = group.weight or repeat(1.0, len(group.cost_usd))
            spent = sum(
                cost * weight
                for cost, counts, weight in zip(
                    group.cost_usd, group.counted_cost, weights, strict=True
                )
                if counts and cost == cost  # NaN: no cost
            )
            self._spent[experiment] = self._spent.get(experiment, 0.0) + spent
        try:
            _publish(self._own_file, self._spent)
        except OSError:
            # The disk is full. The other workers do not see our costs, but the trial may run.
            pass

    def _spent_by_all(self) -> dict[str, float]:
        """Return the USD spent by this process and by the workers it can see, by experiment."""
        total: dict[str, float] = {}
        total.update(self._spent)
        for path in self._own_file.parent.glob(f"*{SUFFIX}"):
            if path == self._own_file:
                continue
            try:
                spent = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            for experiment, usd in spent.items():
                total[experiment] = total.get(experiment, 0.0) + usd
        return total


def _publish(path: Path, spent: dict[str, float]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(spent), encoding="utf-8")
    os.replace(temporary, path)
