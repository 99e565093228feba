"""Places: what the events of one scope share, and how one of them becomes a row of its group."""

from __future__ import annotations

from pytest_crucible._enrich import Enriched
from pytest_crucible._event import Event
from pytest_crucible._scope import JUDGE, Scope
from pytest_crucible.metrics.calls import Calls
from pytest_crucible.metrics.groups import NAN, Group
from pytest_crucible.metrics.nesting import Nesting
from pytest_crucible.metrics.wholes import Wholes, concerns


class Place:
    """What all events of one scope share; holds on to the scope, whose identity is its key."""

    def __init__(self, scope: Scope, group: Group, run: str | None) -> None:
        self.scope = scope
        self.run = run
        self.group = group
        self.case = group.case_index(scope.case)
        self.trial = scope.trial or 0
        self.nesting = Nesting()
        self.judge = scope.role == JUDGE
        self.calls = Calls(group, group.calls, self.judge)
        self.wholes: Wholes | None = None

    def add_to_wholes(self, event: Event, enriched: Enriched, row: int) -> None:
        """Only in groups in which an event was about ensembles or hedging."""
        if self.wholes is None:
            assert self.group.wholes is not None
            self.wholes = Wholes(self.group.wholes, self.case, self.trial)
        self.wholes.add(event, enriched, row)


def add_row(place: Place, event: Event, enriched: Enriched) -> None:
    """Add one event to the group of its place."""
    group = place.group
    row = len(group.counted)
    group.name.append(name_index(group, event.name))
    group.case.append(place.case)
    group.trial.append(place.trial)
    group.time_us.append(event.time_us)
    group.latency_ms.append(_or_nan(enriched.latency_ms))
    group.cost_usd.append(_or_nan(enriched.cost_usd))
    success = enriched.success
    group.success.append(NAN if success is None else float(success))
    group.input_tokens.append(_or_nan(enriched.input_tokens))
    group.output_tokens.append(_or_nan(enriched.output_tokens))
    group.total_tokens.append(_or_nan(enriched.total_tokens))
    group.judge.append(place.judge)
    if event.weight is not None or group.sampled:
        group.sampled = True
        group.weight.extend([1.0] * (row - len(group.weight)))
        group.weight.append(1.0 if event.weight is None else event.weight)
    (counted, cost, tokens), parts = place.nesting.place(event, enriched, row)
    group.counted.append(counted)
    group.counted_cost.append(cost)
    group.counted_tokens.append(tokens)
    for part in parts:
        group.counted[part] = 0
        group.failed.pop(part, None)
        group.cancelled.discard(part)
    if success is False and counted:
        error = event.metadata.get("error") or event.metadata.get("exception") or "unknown"
        group.failed[row] = str(error)
    if enriched.cancelled and counted:
        group.cancelled.add(row)
    place.calls.add(event, enriched, row)
    if group.wholes is not None:
        place.add_to_wholes(event, enriched, row)
    if enriched.model is not None:
        model = str(enriched.model)
        group.models[model] = group.models.get(model, 0) + 1


def name_index(group: Group, name: str) -> int:
    """The index of an event's name in its group."""
    index = group.names.get(name)
    if index is None:
        index = group.names[name] = len(group.names)
        if group.wholes is None and concerns(name):
            group.wholes = []
    return index


def _or_nan(value: float | None) -> float:
    return NAN if value is None else value
