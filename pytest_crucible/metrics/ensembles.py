"""Metrics of ensembles and hedging: agreement, winners, time saved, cost of losing calls.

Costs here are already part of ``cost.total``; do not add them to it. If the run was sampled, wholes
and calls count with their weights.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.metrics.counting.ensembles import ENSEMBLE, HEDGED, Member, Whole
from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.observations import Group, Series

PRIMARY, BACKUP = "primary", "backup"
Floats = NDArray[np.float64]
Describe = Callable[[Floats, Floats | None], Distribution]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCalls:
    """The calls of one model within ensembles or hedged requests.

    Attributes:
        calls: number of calls; one that several instrumentations report counts once.
        failed, cancelled: how many of them failed, and were cancelled.
        mean_latency_ms: of calls that were not cancelled; None if no call reports it.
        cost_usd: total cost; None if no call reports one.
    """

    calls: int = 0
    failed: int = 0
    cancelled: int = 0
    mean_latency_ms: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleMetrics:
    """Metrics of the events ``ensemble.prediction`` and ``ensemble.vote.completed``.

    Attributes:
        predictions: number of predictions that began.
        votes: number of votes that were completed.
        agreement: share of votes for the winning answer, over the predictions that report it.
        models: calls within predictions, by model.
    """

    predictions: int
    votes: int
    agreement: Distribution
    models: Mapping[str, ModelCalls] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgingMetrics:
    """Metrics of the events ``hedging.request``.

    Attributes:
        requests: number of requests that began.
        duplicated: number of requests for which a second request was sent.
        rate: duplicated / requests.
        winner_share: by model, its share of wins among the requests whose winner is known.
        backup_share: share of these requests that the backup won.
        duplication_cost_usd: total cost of the losing calls; None if no cost is known.
        saved_ms: per duplicated request, latency of the primary minus latency of the request; 0 if
            the primary won.
        unknown_cost, unknown_saving: number of duplicated requests for which that is unknown, by
            reason.
        models: calls within the requests, by model.
    """

    requests: int
    duplicated: int
    rate: float | None
    winner_share: Mapping[str, float]
    backup_share: float | None
    duplication_cost_usd: float | None
    saved_ms: Distribution
    unknown_cost: Mapping[str, int] = field(default_factory=dict)
    unknown_saving: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, ModelCalls] = field(default_factory=dict)


Observed = tuple[Series, Floats]
"""Observations, and how many each stands for, shape ``(n,)``."""


def summarise_ensembles(group: Group, describe: Describe) -> EnsembleMetrics | None:
    """Return the metrics of a group's ensembles; None if it has none.

    Args:
        group: the observations.
        describe: makes a distribution from values and weights.
    """
    wholes = [whole for whole in group.wholes or () if whole.kind != HEDGED]
    if not wholes:
        return None
    return EnsembleMetrics(
        predictions=round(_weight(whole for whole in wholes if whole.kind == ENSEMBLE)),
        votes=round(sum(whole.votes * whole.weight for whole in wholes)),
        agreement=_described(group, _agreement(group), describe),
        models=_models(group, wholes),
    )


def summarise_hedging(group: Group, describe: Describe) -> HedgingMetrics | None:
    """Return the metrics of a group's hedged requests; None if it has none.

    Args:
        group: the observations.
        describe: makes a distribution from values and weights.
    """
    wholes = [whole for whole in group.wholes or () if whole.kind == HEDGED]
    if not wholes:
        return None
    duplicated = [whole for whole in wholes if whole.duplicated]
    winners: dict[str, float] = defaultdict(float)
    for whole in wholes:
        name = _winner(whole)
        if name is not None:
            winners[name] += whole.weight
    decided = sum(winners.values())
    backups = _backups(group)
    costs, unknown_cost = _known((whole, _lost_cost(group, whole)) for whole in duplicated)
    _, unknown_saving = _known((whole, _saved(group, whole)) for whole in duplicated)
    rate = _weight(duplicated) / _weight(wholes)
    return HedgingMetrics(
        requests=round(_weight(wholes)),
        duplicated=round(_weight(duplicated)),
        rate=rate,
        winner_share={
            name: weight / decided
            for name, weight in sorted(winners.items(), key=lambda item: -item[1])
        },
        backup_share=_described(group, backups, describe).mean,
        duplication_cost_usd=sum(costs) if costs else None,
        saved_ms=_described(group, _saving(group), describe),
        unknown_cost=unknown_cost,
        unknown_saving=unknown_saving,
        models=_models(group, wholes),
    )


def _weight(wholes: Iterable[Whole]) -> float:
    return sum(whole.weight for whole in wholes)


def _described(group: Group, observed: Observed, describe: Describe) -> Distribution:
    series, weights = observed
    values = np.frombuffer(series.values, dtype=np.float64)
    return describe(values, weights if group.sampled else None)


# --- observations behind the metrics, with their cases ----------------------------------------


def _series(wholes: Iterable[tuple[Whole, float | str | None]]) -> Observed:
    """Collect the numbers of wholes; skip wholes that have None, or a reason, instead."""
    series, weights = Series(), []
    for whole, value in wholes:
        if isinstance(value, (int, float)):
            series.values.append(float(value))
            series.cases.append(whole.case)
            series.trials.append(whole.trial)
            series.attempts.append(0)
            weights.append(whole.weight)
    return series, np.array(weights, dtype=np.float64)


def _agreement(group: Group) -> Observed:
    wholes = group.wholes or ()
    return _series((whole, whole.agreement) for whole in wholes if whole.kind != HEDGED)


def _duplicated(group: Group) -> Observed:
    wholes = group.wholes or ()
    return _series((whole, float(whole.duplicated)) for whole in wholes if whole.kind == HEDGED)


def _backups(group: Group) -> Observed:
    roles = ((whole, _role(whole)) for whole in group.wholes or () if whole.kind == HEDGED)
    return _series((whole, float(role == BACKUP)) for whole, role in roles if role is not None)


def _saving(group: Group) -> Observed:
    wholes = group.wholes or ()
    return _series((whole, _saved(group, whole)) for whole in wholes if whole.duplicated)


SERIES: dict[str, Callable[[Group], Observed]] = {
    "ensemble.agreement": _agreement,
    "hedging.rate": _duplicated,
    "hedging.backup_share": _backups,
    "hedging.saved_ms": _saving,
}
"""By path of a metric: the observations behind it, one for every whole that reports one."""


# --- one hedged request -----------------------------------------------------------------------


def _role(whole: Whole) -> str | None:
    """Return which won, ``primary`` or ``backup``; None if that is not reported."""
    winner = whole.text("winner")
    primary, backup = whole.text("primary_model"), whole.text("backup_model")
    if winner is None:
        return PRIMARY if whole.success and not whole.duplicated else None
    if winner in (PRIMARY, BACKUP):
        return winner
    if primary == backup:
        return None
    return {primary: PRIMARY, backup: BACKUP}.get(winner)


def _winner(whole: Whole) -> str | None:
    role = _role(whole)
    return whole.text("winner") if role is None else whole.text(f"{role}_model") or role


def _by_role(group: Group, whole: Whole) -> dict[str, list[Member]]:
    """Return the calls of the primary and of the backup.

    They are told apart by model. If the models are the same or unknown, the calls that began
    before the second call are the primary's.
    """
    primary, backup = whole.text("primary_model"), whole.text("backup_model")
    members = sorted(whole.members, key=lambda member: member.began_us)
    if primary != backup and all(member.model in (primary, backup) for member in members):
        first = [member for member in members if member.model == primary]
    else:
        calls = [member for member in members if _is_call(group, member)]
        second_us = calls[1].began_us if len(calls) > 1 else float("inf")
        first = [member for member in members if member.began_us < second_us]
    rest = [member for member in members if all(member is not other for other in first)]
    return {PRIMARY: first, BACKUP: rest}


def _lost_cost(group: Group, whole: Whole) -> float | str:
    """Return the cost in USD of the losing calls of a duplicated request, or why it is unknown."""
    role = _role(whole)
    reported = whole.number("duplication_cost_usd", "duplication_cost")
    if role is None:
        return "the winner is not reported" if reported is None else reported
    losers = _by_role(group, whole)[BACKUP if role == PRIMARY else PRIMARY]
    cost = _cost(group, losers)
    if cost is not None:
        return cost
    if reported is not None:
        return reported
    if any(member.cancelled for member in losers):
        return "the losing call was cancelled"
    return "the losing call reports no cost" if losers else "the losing call was not recorded"


def _saved(group: Group, whole: Whole) -> float | str:
    """Return the latency in ms that a duplicated request saved, or why it is unknown."""
    role = _role(whole)
    if role is None:
        return "the winner is not reported"
    if role == PRIMARY:
        return 0.0
    if whole.latency_ms is None:
        return "the request reports no latency"
    primary_ms = whole.number("primary_latency_ms", "primary_latency")
    if primary_ms is None:
        calls = [member for member in _by_role(group, whole)[PRIMARY] if _is_call(group, member)]
        if not calls:
            return "the primary call was not recorded"
        if calls[-1].cancelled:
            return "the primary call was cancelled"
        if group.success[calls[-1].row] == 0:
            return "the primary call failed"
        primary_ms = group.latency_ms[calls[-1].row]
        if math.isnan(primary_ms):
            return "the primary call reports no latency"
    return primary_ms - whole.latency_ms


def _known(outcomes: Iterable[tuple[Whole, float | str]]) -> tuple[list[float], dict[str, int]]:
    """Split numbers from reasons: return weighted numbers, and how many wholes have a reason."""
    numbers: list[float] = []
    reasons: dict[str, float] = defaultdict(float)
    for whole, outcome in outcomes:
        if isinstance(outcome, str):
            reasons[outcome] += whole.weight
        else:
            numbers.append(outcome * whole.weight)
    ranked = sorted(reasons.items(), key=lambda item: -item[1])
    return numbers, {reason: round(count) for reason, count in ranked}


# --- calls ------------------------------------------------------------------------------------


def _is_call(group: Group, member: Member) -> bool:
    """Whether a member is a call, not a further span around, or of, another member's call."""
    return not member.outer and member.row not in group.merged


def _weight_of(group: Group, member: Member) -> float:
    return group.weight[member.row] if group.weight else 1.0


def _cost(group: Group, members: Iterable[Member], *, weighted: bool = False) -> float | None:
    costs = [
        group.cost_usd[member.row] * (_weight_of(group, member) if weighted else 1.0)
        for member in members
        if group.counted_cost[member.row] and not math.isnan(group.cost_usd[member.row])
    ]
    return sum(costs) if costs else None


def _models(group: Group, wholes: Iterable[Whole]) -> dict[str, ModelCalls]:
    by_model: dict[str, list[Member]] = {}
    for whole in wholes:
        for member in whole.members:
            by_model.setdefault(member.model, []).append(member)
    return {model: _model(group, by_model[model]) for model in sorted(by_model)}


def _model(group: Group, members: list[Member]) -> ModelCalls:
    calls = [(member, _weight_of(group, member)) for member in members if _is_call(group, member)]
    ran = [(group.latency_ms[call.row], weight) for call, weight in calls if not call.cancelled]
    latencies = [(latency, weight) for latency, weight in ran if not math.isnan(latency)]
    total = sum(weight for _, weight in latencies)
    return ModelCalls(
        calls=round(sum(weight for _, weight in calls)),
        failed=round(sum(weight for call, weight in calls if group.success[call.row] == 0)),
        cancelled=round(sum(weight for call, weight in calls if call.cancelled)),
        mean_latency_ms=sum(ms * weight for ms, weight in latencies) / total if total else None,
        cost_usd=_cost(group, members, weighted=True),
    )
