"""The metrics of ensembles and hedging: agreement, winners, what it cost and saved."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pytest_crucible.events.event import Event
from pytest_crucible.metrics.catalog import PLAIN
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import flatten
from pytest_crucible.stats.metric_samples import sample_of
from tests.made_events import MS, event, trial_scope
from tests.metrics.support import MODELS, call, ensemble, hedge, hedging, metrics


def test_the_references_own_request() -> None:
    """Winner, duplication cost and latencies as the reference's events tell them."""
    found = hedging(
        [
            hedge("start", 0, {"system_time": 1}, **MODELS),
            hedge("duplicated", 50, {"delay_ms": 50}, **MODELS, reason="primary_timeout"),
            hedge(
                "stop", 500, {"duration": 500 * MS}, winner="backup", primary_latency=1200,
                backup_latency=450, duplication_cost=0.00008,
            ),
        ]
    )  # fmt: skip
    assert (found.requests, found.duplicated, found.rate) == (1, 1, 1.0)
    assert (found.winner_share, found.backup_share) == ({"small": 1.0}, 1.0)
    assert found.duplication_cost_usd == 0.00008
    assert found.saved_ms.mean == 700
    assert found.unknown_cost == found.unknown_saving == {}


def test_what_the_calls_tell_comes_before_what_is_reported() -> None:
    """The loser is found among the calls, also when it ends after the request."""
    events = [
        hedge("start", 0, **MODELS),
        hedge("duplicated", 50),
        call("small", 90, 40, cost=0.25),
        hedge("stop", 91, {"duration": 91 * MS}, winner="small", duplication_cost=9.0),
        call("big", 400, 399, cost=1.0),
        call("big", 800, 10, cost=7.0),
    ]
    found = hedging(events)
    assert found.duplication_cost_usd == 1.0
    assert found.saved_ms.total == 399 - 91
    assert {m: each.calls for m, each in found.models.items()} == {"big": 1, "small": 1}
    assert metrics(*events).cost.total == 8.25


def test_a_primary_that_wins_saves_nothing_and_the_backup_was_in_vain() -> None:
    """Then the saving is 0, not unknown, and the backup's call is the duplication."""
    found = hedging(
        [
            hedge("start", 0, **MODELS), hedge("duplicated", 50),
            call("big", 80, 80, cost=1.0),
            hedge("stop", 81, {"duration": 81 * MS}, winner="primary"),
            call("small", 95, 40, cost=0.25),
        ]
    )  # fmt: skip
    assert (found.saved_ms.total, found.duplication_cost_usd) == (0.0, 0.25)
    assert found.backup_share == 0.0


def test_the_same_model_twice() -> None:
    """Primary and backup of one model are told apart by which began first."""
    same: dict[str, Any] = {"primary_model": "big", "backup_model": "big"}
    found = hedging(
        [
            hedge("start", 0, **same), hedge("duplicated", 50),
            call("big", 90, 35, cost=0.25),
            hedge("stop", 91, {"duration": 91 * MS}, winner="backup"),
            call("big", 200, 199, cost=0.75),
        ]
    )  # fmt: skip
    assert (found.duplication_cost_usd, found.saved_ms.total) == (0.75, 199 - 91)
    assert found.winner_share == {"big": 1.0}
    ambiguous = hedging([hedge("start", 0, **same), hedge("duplicated", 5), hedge("stop", 9,
        {"duration": 9}, winner="big")])  # fmt: skip
    assert ambiguous.unknown_saving == {"the winner is not reported": 1}
    assert ambiguous.backup_share is None


@pytest.mark.parametrize(
    ("loser", "cost", "saving"),
    [
        ([], "the losing call was not recorded", "the primary call was not recorded"),
        (
            [call("big", 90, 89, cancelled=True)],
            "the losing call was cancelled", "the primary call was cancelled",
        ),
        ([call("big", 90, 89)], "the losing call reports no cost", None),
        ([call("big", 90, 89, error="Timeout")], "the losing call reports no cost",
         "the primary call failed"),
    ],
)  # fmt: skip
def test_the_unknown_has_a_reason(loser: list[Event], cost: str, saving: str | None) -> None:
    """What the loser would have taken or cost is never guessed."""
    found = hedging(
        [
            hedge("start", 0, **MODELS), hedge("duplicated", 50), call("small", 80, 20, cost=1.0),
            *loser, hedge("stop", 91, {"duration": 91 * MS}, winner="small"),
        ]
    )  # fmt: skip
    assert found.unknown_cost == {cost: 1}
    assert found.duplication_cost_usd is None
    assert found.unknown_saving == ({} if saving is None else {saving: 1})
    assert found.saved_ms.count == (saving is None)


# --- paths, and samples ------------------------------------------------------------------------


def test_paths_for_expectations() -> None:
    """The metrics have paths, with samples behind those that are estimates."""
    events = [
        each
        for scope in (trial_scope("a"), trial_scope("b"), trial_scope("c"))
        for each in (
            event("hedging.request.start", scope=scope),
            event("hedging.request.stop", {"duration": 1}, scope=scope),
            event("ensemble.vote.completed", {"agreement": 1}, scope=scope),
        )
    ]
    paths = dict(flatten(metrics(*events)))
    assert (paths["hedging.rate"], paths["hedging.requests"]) == (0.0, 3)
    assert (paths["ensemble.agreement.mean"], paths["ensemble.votes"]) == (1.0, 3)
    assert paths["hedging.duplication_cost_usd"] is None
    assert not any("winner_share" in path or "unknown" in path for path in paths)


def test_a_sample_counts_as_often_as_it_stands_for() -> None:
    """Counts and costs of what was drawn are estimates of all; shares and means stay theirs."""
    ids = {"primary_model": "big", "backup_model": "small", "request_id": "h1"}
    events = [
        event("hedging.request.start", metadata=ids),
        event("hedging.request.duplicated", metadata=ids),
        call("small", 30, 20, cost=0.25),
        event("hedging.request.stop", {"duration": 50 * MS},
              {**ids, "winner": "backup", "primary_latency": 80, "duplication_cost": 0.5},
              at_us=50_000),
        hedge("start", 60, request_id="h2"),
        hedge("duplicated", 61, request_id="h2"),
        hedge("stop", 70, {"duration": 10 * MS}, request_id="h2"),
        event("ensemble.vote.completed", {"agreement": 1.0}),
        event("ensemble.vote.completed", {"agreement": 0.5}),
    ]  # fmt: skip
    weights = (2.0, 2.0, 2.0, 2.0, 6.0, 6.0, 6.0, 1.0, 3.0)
    drawn = [replace(each, weight=n) for each, n in zip(events, weights, strict=True)]
    found = hedging(drawn)
    assert (found.requests, found.duplicated, found.rate) == (8, 8, 1.0)
    assert (found.winner_share, found.backup_share) == ({"small": 1.0}, 1.0)
    assert found.duplication_cost_usd == 1.0
    assert (found.saved_ms.total, found.saved_ms.mean) == (60.0, 30.0)
    assert found.unknown_saving == {"the winner is not reported": 6}
    assert (found.models["small"].calls, found.models["small"].cost_usd) == (2, 0.5)
    assert found.models["small"].mean_latency_ms == 20.0
    votes = ensemble(drawn)
    assert (votes.votes, votes.agreement.count, votes.agreement.mean) == (4, 4, 0.625)
    group = observe(drawn).groups["exp", "default"]
    for path in ("hedging.rate", "ensemble.agreement.mean", "hedging.saved_ms.p50"):
        sample = sample_of(group, PLAIN[path])
        assert sample is not None
        assert sample.weights is not None  # no interval, and no verdict
