"""Ensembles and hedging: what voting and asking twice gave, and what they cost.

The costs of calls here are parts of ``cost.total``, never an addition to it. Where a sample was
taken, each whole and each call counts as often as it stands for.
"""

from __future__ import annotations

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
    """The calls of one model within wholes.

    Attributes:
        calls: each counted once, however many instrumentations told of it.
        failed, cancelled: of them.
        mean_latency_ms: of those that were not cancelled; None if none tells it.
        cost_usd: None if none tells it.
    """

    calls: int = 0
    failed: int = 0
    cancelled: int = 0
    mean_latency_ms: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleMetrics:
    """Of ``ensemble.prediction`` and ``ensemble.vote.completed``.

    Attributes:
        predictions: how many were begun.
        votes: how many were completed.
        agreement: share of the votes that the winning answer got, over all that tell it.
        models: of the calls within predictions, by model.
    """

    predictions: int
    votes: int
    agreement: Distribution
    models: Mapping[str, ModelCalls] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgingMetrics:
    """Of ``hedging.request``.

    Attributes:
        requests: how many were begun.
        duplicated: to how many a second request was sent.
        rate: duplicated / requests.
        winner_share: of the requests whose winner is known, by model.
        backup_share: the same, of backups together.
        duplication_cost_usd: what the calls cost that lost; None if that is known of none.
        saved_ms: per duplicated request, the primary's latency less that of the whole; 0 where the
            primary won.
        unknown_cost, unknown_saving: duplicated requests of which that is unknown, by reason.
        models: of the calls within the requests, by model.
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


Told = tuple[Series, Floats]


def summarise_ensembles(group: Group, describe: Describe) -> EnsembleMetrics | None:
    """The metrics of a group's ensembles; None where there are none."""
    wholes = [each for each in group.wholes or () if each.kind != HEDGED]
    if not wholes:
        return None
    return EnsembleMetrics(
        predictions=round(_weight(each for each in wholes if each.kind == ENSEMBLE)),
        votes=round(sum(each.votes * each.weight for each in wholes)),
        agreement=_described(group, _agreement(group), describe),
        models=_models(group, wholes),
    )


def summarise_hedging(group: Group, describe: Describe) -> HedgingMetrics | None:
    """The metrics of a group's hedged requests; None where there are none."""
    wholes = [each for each in group.wholes or () if each.kind == HEDGED]
    if not wholes:
        return None
    twice = [each for each in wholes if each.duplicated]
    winners: dict[str, float] = defaultdict(float)
    for each in wholes:
        name = _winner(each)
        if name is not None:
            winners[name] += each.weight
    known = sum(winners.values())
    backups = _backups(group)
    costs, unknown_cost = _known((each, _lost_cost(group, each)) for each in twice)
    _, unknown_saving = _known((each, _saved(group, each)) for each in twice)
    rate = _weight(twice) / _weight(wholes)
    return HedgingMetrics(
        requests=round(_weight(wholes)),
        duplicated=round(_weight(twice)),
        rate=rate,
        winner_share={
            name: weight / known
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
    return sum(each.weight for each in wholes)


def _described(group: Group, told: Told, describe: Describe) -> Distribution:
    series, weights = told
    values = np.frombuffer(series.values, dtype=np.float64)
    return describe(values, weights if group.sampled else None)


# --- observations behind the metrics, with their cases ----------------------------------------


def _series(wholes: Iterable[tuple[Whole, float | str | None]]) -> Told:
    series, weights = Series(), []
    for whole, value in wholes:
        if isinstance(value, (int, float)):
            series.values.append(float(value))
            series.cases.append(whole.case)
            series.trials.append(whole.trial)
            series.attempts.append(0)
            weights.append(whole.weight)
    return series, np.array(weights, dtype=np.float64)


def _agreement(group: Group) -> Told:
    return _series((each, each.agreement) for each in group.wholes or () if each.kind != HEDGED)


def _duplicated(group: Group) -> Told:
    return _series(
        (each, float(each.duplicated)) for each in group.wholes or () if each.kind == HEDGED
    )


def _backups(group: Group) -> Told:
    roles = ((each, _role(each)) for each in group.wholes or () if each.kind == HEDGED)
    return _series((each, float(role == BACKUP)) for each, role in roles if role is not None)


def _saving(group: Group) -> Told:
    return _series((each, _saved(group, each)) for each in group.wholes or () if each.duplicated)


SERIES: dict[str, Callable[[Group], Told]] = {
    "ensemble.agreement": _agreement,
    "hedging.rate": _duplicated,
    "hedging.backup_share": _backups,
    "hedging.saved_ms": _saving,
}
"""The numbers behind a path, one for each whole that tells it; and how many each stands for."""


# --- one hedged request -----------------------------------------------------------------------


def _role(whole: Whole) -> str | None:
    """Whether the primary or the backup won; None if that is not told."""
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
    """The calls of the primary and of the backup: by their models, else the first and the rest."""
    primary, backup = whole.text("primary_model"), whole.text("backup_model")
    members = sorted(whole.members, key=lambda each: each.began_us)
    if primary != backup and all(each.model in (primary, backup) for each in members):
        first = [each for each in members if each.model == primary]
    else:
        calls = [each for each in members if _is_call(group, each)]
        second_us = calls[1].began_us if len(calls) > 1 else float("inf")
        first = [each for each in members if each.began_us < second_us]
    rest = [each for each in members if all(each is not other for other in first)]
    return {PRIMARY: first, BACKUP: rest}


def _lost_cost(group: Group, whole: Whole) -> float | str:
    """What the losing calls of a duplicated request cost, or why that is unknown."""
    role = _role(whole)
    reported = whole.number("duplication_cost_usd", "duplication_cost")
    if role is None:
        return "the winner is not told" if reported is None else reported
    losers = _by_role(group, whole)[BACKUP if role == PRIMARY else PRIMARY]
    cost = _cost(group, losers)
    if cost is not None:
        return cost
    if reported is not None:
        return reported
    if any(each.cancelled for each in losers):
        return "the losing call was cancelled"
    return "the losing call tells no cost" if losers else "the losing call was not recorded"


def _saved(group: Group, whole: Whole) -> float | str:
    """Latency that a duplicated request saved, in ms, or why that is unknown."""
    role = _role(whole)
    if role is None:
        return "the winner is not told"
    if role == PRIMARY:
        return 0.0
    if whole.latency_ms is None:
        return "the request tells no latency"
    alone = whole.number("primary_latency_ms", "primary_latency")
    if alone is None:
        found = [e for e in _by_role(group, whole)[PRIMARY] if _is_call(group, e)]
        if not found:
            return "the primary call was not recorded"
        if found[-1].cancelled:
            return "the primary call was cancelled"
        if group.success[found[-1].row] == 0:
            return "the primary call failed"
        alone = group.latency_ms[found[-1].row]
        if alone != alone:  # NaN
            return "the primary call tells no latency"
    return alone - whole.latency_ms


def _known(found: Iterable[tuple[Whole, float | str]]) -> tuple[list[float], dict[str, int]]:
    known: list[float] = []
    reasons: dict[str, float] = defaultdict(float)
    for whole, value in found:
        if isinstance(value, str):
            reasons[value] += whole.weight
        else:
            known.append(value * whole.weight)
    ranked = sorted(reasons.items(), key=lambda item: -item[1])
    return known, {reason: round(count) for reason, count in ranked}


# --- calls ------------------------------------------------------------------------------------


def _is_call(group: Group, member: Member) -> bool:
    """Not a second telling of a call that is there already."""
    return not member.outer and member.row not in group.merged


def _stands_for(group: Group, member: Member) -> float:
    return group.weight[member.row] if group.weight else 1.0


def _cost(group: Group, members: Iterable[Member], *, weighted: bool = False) -> float | None:
    costs = [
        group.cost_usd[each.row] * (_stands_for(group, each) if weighted else 1.0)
        for each in members
        if group.counted_cost[each.row] and group.cost_usd[each.row] == group.cost_usd[each.row]
    ]
    return sum(costs) if costs else None


def _models(group: Group, wholes: Iterable[Whole]) -> dict[str, ModelCalls]:
    by_model: dict[str, list[Member]] = {}
    for whole in wholes:
        for member in whole.members:
            by_model.setdefault(member.model, []).append(member)
    return {model: _model(group, by_model[model]) for model in sorted(by_model)}


def _model(group: Group, members: list[Member]) -> ModelCalls:
    calls = [(each, _stands_for(group, each)) for each in members if _is_call(group, each)]
    ran = [(group.latency_ms[each.row], n) for each, n in calls if not each.cancelled]
    latencies = [(latency, n) for latency, n in ran if latency == latency]
    known = sum(n for _, n in latencies)
    return ModelCalls(
        calls=round(sum(n for _, n in calls)),
        failed=round(sum(n for each, n in calls if group.success[each.row] == 0)),
        cancelled=round(sum(n for each, n in calls if each.cancelled)),
        mean_latency_ms=sum(latency * n for latency, n in latencies) / known if known else None,
        cost_usd=_cost(group, members, weighted=True),
    )
