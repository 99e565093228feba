"""Budget: no further trials once the money is spent.

After each trial its events are priced as in the summary. Under xdist each worker leaves what it has
spent in a small file beside its spool, where the others see it; workers on other hosts know only
their own. A trial that runs is never cut off: what it spends beyond the budget is spent.
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
from pytest_crucible.metrics.observations import observe
from pytest_crucible.record.node_reader import Node
from pytest_crucible.session.marker import IDENTITY

SUFFIX = ".spent.json"


class Budget:
    """What may be spent and what was, as one process knows it.

    Args:
        recording: of this process.
        pricer: as used in the summary.
        session_usd: for the whole session; None without limit.
    """

    def __init__(self, recording: NodeRecording, pricer: Pricer, session_usd: float | None) -> None:
        self._recording = recording
        self._pricer = pricer
        self._session_usd = session_usd
        self._position = 0
        self._node = Node(recording.node, (), piecewise=True)
        self._spent: dict[str, float] = {}
        self._told: set[str] = set()
        self._own = recording.folder / "nodes" / f"{recording.node}{SUFFIX}"

    # Not a wrapper: those of others must have begun when we skip. First, so that no fixture runs.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        identity = item.stash.get(IDENTITY, None)
        if identity is None:
            return
        definition = identity.definition
        refusal = self.refusal(definition.name, definition.budget_usd)
        if refusal is not None:
            # The trial has begun all the same: it is skipped, not missing.
            raise pytest.skip.Exception(refusal, _use_item_location=True)

    def refusal(self, experiment: str, budget_usd: float | None) -> str | None:
        """Why another trial of an experiment must not run; None if it may."""
        if budget_usd is None and self._session_usd is None:
            return None
        self._catch_up()
        spent = self._everybodys()
        total, own = sum(spent.values()), spent.get(experiment, 0.0)
        if budget_usd is not None and own >= budget_usd:
            limit, used = f"budget of ${budget_usd:g} of experiment {experiment!r} is spent", own
        elif self._session_usd is not None and total >= self._session_usd:
            limit, used = f"budget of ${self._session_usd:g} is spent", total
        else:
            return None
        if limit not in self._told:  # for the summary: pytest shows reasons only if asked to
            self._told.add(limit)
            record_aside(self._recording.store, CAPTURE, {"budget": limit})
        return f"{limit} (${used:.4g})"

    def _catch_up(self) -> None:
        """Price what was recorded since the last time; outside every measured stretch."""
        store = self._recording.store
        position = store.position()
        if position == self._position:
            return
        self._node.frames = store.frames(self._position)
        found = observe(self._node, enrichers=(self._pricer,))
        learned = self._node.learned.items()
        self._node.scopes = {number: scope for number, scope in learned if scope is not None}
        self._position = position
        for (experiment, _), group in found.groups.items():
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
            _publish(self._own, self._spent)
        except OSError:
            # A full disk: the others do not see what we spend, and the trial is worth more.
            pass

    def _everybodys(self) -> dict[str, float]:
        total: dict[str, float] = {}
        total.update(self._spent)
        for path in self._own.parent.glob(f"*{SUFFIX}"):
            if path == self._own:
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
