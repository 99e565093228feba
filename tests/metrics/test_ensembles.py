"""Ensembles and hedging: agreement, winners, what it cost and saved, nothing counted twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.events.event import Event
from pytest_crucible.metrics.catalog import PLAIN
from pytest_crucible.metrics.counting.ensembles import agreement_of
from pytest_crucible.metrics.ensembles import EnsembleMetrics, HedgingMetrics
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.stats.draws import sample_of
from tests.made_events import MS, event, trial_scope


def metrics(events: list[Event]) -> Metrics:
    return summarise(observe(events).groups["exp", "default"])


def hedging(events: list[Event]) -> HedgingMetrics:
    found = metrics(events).hedging
    assert found is not None
    return found


def ensemble(events: list[Event]) -> EnsembleMetrics:
    found = metrics(events).ensemble
    assert found is not None
    return found


def call(model: str, ends_ms: int, takes_ms: int, **more: Any) -> Event:
    measured = {"duration": takes_ms * MS} | ({"cost": more.pop("cost")} if "cost" in more else {})
    return event(metadata={"model": model, **more}, measurements=measured, at_us=ends_ms * 1000)


def hedge(stage: str, at_ms: int, measured: dict[str, Any] | None = None, **more: Any) -> Event:
    more.setdefault("request_id", "h1")
    return event(f"hedging.request.{stage}", measured, more, at_us=at_ms * 1000)


MODELS: dict[str, Any] = {"primary_model": "big", "backup_model": "small"}


# --- ensembles --------------------------------------------------------------------------------


def record(run: Callable[[], Any]) -> Metrics:
    with crucible.experiment("exp") as exp:
        run()
    return exp.metrics()


def ask(model: str, cost: float = 0.01) -> None:
    with telemetry.span("req_llm.request", model=model) as span:
        span.measure(cost_usd=cost)


def test_members_are_found_by_their_spans() -> None:
    """Per model: calls, failures, mean latency, cost; calls beside the ensemble are not its own."""

    def run() -> None:
        ask("a")
        for _ in range(2):
            with telemetry.span("ensemble.prediction", models=["a", "b"]):
                ask("a")
                with pytest.raises(RuntimeError), telemetry.span("req_llm.request", model="b"):
                    raise RuntimeError
                telemetry.execute("ensemble.vote.completed", {"agreement": 0.75})
        ask("b")

    found = record(run)
    assert found.ensemble is not None
    assert (found.ensemble.predictions, found.ensemble.votes) == (2, 2)
    assert (found.ensemble.agreement.count, found.ensemble.agreement.mean) == (2, 0.75)
    a, b = found.ensemble.models["a"], found.ensemble.models["b"]
    assert (a.calls, a.failed, a.cost_usd) == (2, 0, 0.02)
    assert (b.calls, b.failed, b.cost_usd) == (2, 2, None)
    assert a.mean_latency_ms is not None
    assert found.cost.total == pytest.approx(0.04)
    assert found.hedging is None


def test_members_in_concurrent_ensembles_stay_with_their_own() -> None:
    """Tasks that run side by side do not lend each other their calls; nor does what runs beside."""

    async def predict(models: str) -> None:
        with telemetry.span("ensemble.prediction"):
            await asyncio.gather(*(asyncio.to_thread(ask, model) for model in models))

    async def main() -> None:
        with telemetry.span("app"):
            await asyncio.gather(predict("ab"), predict("ac"), asyncio.to_thread(ask, "beside"))

    found = record(lambda: asyncio.run(main())).ensemble
    assert found is not None
    assert {model: each.calls for model, each in found.models.items()} == {"a": 2, "b": 1, "c": 1}


def test_plain_events_are_members_by_time() -> None:
    """The reference's plain events: what began within the time of the ensemble belongs to it."""
    events = [
        call("a", 5, 4, cost=1.0),
        event("ensemble.prediction.start", at_us=10_000, metadata={"prediction_id": "p"}),
        call("a", 30, 15, cost=2.0),
        call("b", 40, 25, cost=3.0),
        event(
            "ensemble.prediction.stop", {"duration": 40 * MS},
            {"prediction_id": "p", "total_cost": 5.0, "agreement": 0.5}, at_us=50_000,
        ),
        call("b", 70, 10, cost=4.0),
    ]  # fmt: skip
    found = ensemble(events)
    assert {m: (each.calls, each.cost_usd) for m, each in found.models.items()} == {
        "a": (1, 2.0), "b": (1, 3.0),
    }  # fmt: skip
    assert found.models["b"].mean_latency_ms == 25
    assert found.agreement.mean == 0.5
    assert found.votes == 0
    assert metrics(events).cost.total == 10.0  # not also the 5.0 of the whole


def test_a_call_that_two_spans_tell_of_is_one() -> None:
    """An agent's span around the client's: one call, whose cost is that of the inner one."""

    def run() -> None:
        with (
            telemetry.span("ensemble.prediction"),
            telemetry.span("req_llm.request", model="a") as outer,
        ):
            outer.measure(cost_usd=0.5)
            ask("a", 0.5)

    found = record(run)
    assert found.ensemble is not None
    assert (found.ensemble.models["a"].calls, found.ensemble.models["a"].cost_usd) == (1, 0.5)
    assert found.cost.total == 0.5


def test_a_call_that_two_instrumentations_tell_of_is_one() -> None:
    """Siblings that tell of the same call are merged as everywhere."""
    start = {"span_id": "e", "strand": "1"}
    ids = {"parent_span_id": "e", "strand": "1", "model": "a"}
    events = [
        event("ensemble.prediction.start", metadata={"span_id": "e"}),
        event(
            measurements={"duration": 8 * MS, "cost": 0.5}, at_us=9_000,
            metadata={**ids, "span_id": "1", "instrumentation": "x"},
        ),
        event(
            measurements={"duration": 9 * MS, "cost": 0.5}, at_us=9_500,
            metadata={**ids, "span_id": "2", "instrumentation": "y"},
        ),
        event("ensemble.prediction.stop", {"duration": 10 * MS}, start, at_us=10_000),
    ]  # fmt: skip
    found = ensemble(events).models["a"]
    assert (found.calls, found.cost_usd) == (1, 0.5)


def test_votes_without_an_ensemble_count() -> None:
    """A vote that lies in no prediction is a vote all the same."""
    events = [event("ensemble.vote.completed", {"agreement": each}) for each in (1.0, 0.5)]
    found = ensemble(events)
    assert (found.predictions, found.votes, found.agreement.mean) == (0, 2, 0.75)


@pytest.mark.parametrize(
    ("votes", "agreement"),
    [
        ({"yes": 3, "no": 1}, 0.75),
        (["yes", "yes", "no", "no", "yes"], 0.6),
        ([["a"], ["a"]], 1.0),
        ({}, None), ([], None), ({"yes": 0}, None), ({"yes": "three"}, None), ("yes", None),
        (3, None),
    ],
)  # fmt: skip
def test_agreement_is_counted_from_votes(votes: Any, agreement: float | None) -> None:
    """Where the agreement is not told, the votes tell it; if they do not, it stays unknown."""
    assert agreement_of(event(metadata={"votes": votes})) == agreement
    assert agreement_of(event(metadata={"votes": votes, "agreement": 0.1})) == 0.1


# --- hedging ----------------------------------------------------------------------------------


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
    assert metrics(events).cost.total == 8.25


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


def test_requests_without_their_events() -> None:
    """An end without a start, a start without an end, and a duplicate alone are requests each."""
    found = hedging(
        [
            hedge("stop", 10, {"duration": 10 * MS}, request_id="a", **MODELS),
            hedge("start", 20, request_id="b"),
            hedge("duplicated", 30, request_id="c"),
            hedge("stop", 40, {"duration": 1}, request_id="c", winner="someone"),
        ]
    )
    assert (found.requests, found.duplicated) == (3, 1)
    assert found.winner_share == {"big": 0.5, "someone": 0.5}


def test_hedging_with_spans_and_threads() -> None:
    """Spans in a pool, a loser that ends after its request: found by their ids."""

    def slow(model: str, seconds: float) -> None:
        with telemetry.span("req_llm.request", model=model) as span:
            time.sleep(0)
            span.measure(cost_usd=seconds)

    def run() -> None:
        with ThreadPoolExecutor(2) as pool:
            for _ in range(3):
                with telemetry.span("hedging.request", **MODELS) as request:
                    loser = copy_context()
                    request.annotate(winner="small")
                    telemetry.execute("hedging.request.duplicated", {"delay_ms": 1})
                    pool.submit(copy_context().run, slow, "small", 0.25).result()
                pool.submit(loser.run, slow, "big", 1.0).result()

    found = record(run)
    assert found.hedging is not None
    assert (found.hedging.requests, found.hedging.duplicated) == (3, 3)
    assert found.hedging.duplication_cost_usd == 3.0
    assert found.hedging.winner_share == {"small": 1.0}
    assert found.cost.total == 3.75


def test_a_hedged_member_of_an_ensemble_counts_for_both() -> None:
    """Each is told of its calls; the overall cost has them once."""

    def run() -> None:
        with telemetry.span("ensemble.prediction"):
            ask("a")
            with telemetry.span("hedging.request", **MODELS):
                ask("big")

    found = record(run)
    assert found.ensemble is not None
    assert found.hedging is not None
    assert set(found.ensemble.models) == {"a", "big"}
    assert set(found.hedging.models) == {"big"}
    assert found.cost.total == 0.02


def test_many_requests_are_not_confused() -> None:
    """Ids of thousands of requests are forgotten in time, those of open ones are not."""
    events = [hedge("start", 0, request_id="first", **MODELS)]
    for number in range(1500):
        at = 10 * number + 1
        events += [
            hedge("start", at, request_id=number, **MODELS),
            call("big", at + 5, 4, cost=0.5),
            hedge("stop", at + 6, {"duration": 6 * MS}, request_id=number, winner="big"),
        ]
    events.append(hedge("duplicated", 20_000, request_id="first"))
    events.append(hedge("stop", 20_001, {"duration": 20_001 * MS}, request_id="first"))
    found = hedging(events)
    assert (found.requests, found.duplicated) == (1501, 1)
    assert (found.models["big"].calls, found.models["big"].cost_usd) == (1500, 750)


# --- paths, and what is not concerned ---------------------------------------------------------


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
    paths = dict(flatten(metrics(events)))
    assert (paths["hedging.rate"], paths["hedging.requests"]) == (0.0, 3)
    assert (paths["ensemble.agreement.mean"], paths["ensemble.votes"]) == (1.0, 3)
    assert paths["hedging.duplication_cost_usd"] is None
    assert not any("winner_share" in path or "unknown" in path for path in paths)


def test_other_events_pay_nothing() -> None:
    """Without such events no group keeps wholes, and none has such metrics."""
    observed = observe([event(), event("altar.tool.stop", {"duration": 1})])
    (group,) = observed.groups.values()
    assert group.wholes is None
    found = summarise(group)
    assert (found.ensemble, found.hedging) == (None, None)
    assert not any(path.startswith(("ensemble", "hedging")) for path, _ in flatten(found))


steps = st.lists(
    st.sampled_from(["(e", "(h", "(s", ")", "a", "b", "dup", "vote", "plain"]), max_size=40
)


NESTED = {"(e": "ensemble.prediction", "(h": "hedging.request", "(s": "req_llm.request"}


def walk(steps: list[str]) -> None:
    """Open, close and emit, step by step."""
    stack: list[telemetry.Span] = []
    for step in steps:
        if step in NESTED:
            stack.append(telemetry.span(NESTED[step], model="outer").__enter__())
        elif step == ")" and stack:
            stack.pop().__exit__(None, None, None)
        elif step in "ab":
            ask(step, 1.0)
        elif step == "plain":
            metadata = {"model": "a", "cost": 1.0}
            telemetry.execute("req_llm.request.stop", {"duration": 0}, metadata)
        elif step in ("dup", "vote"):
            name = "hedging.request.duplicated" if step == "dup" else "ensemble.vote.completed"
            telemetry.execute(name, {"agreement": 0.5})
    for span in reversed(stack):
        span.__exit__(None, None, None)


@settings(max_examples=60)
@given(steps)
def test_parts_never_exceed_the_whole(steps: list[str]) -> None:
    """However spans nest: no call is counted twice, and no cost beyond what was spent."""
    found = record(lambda: walk(steps))
    asked = sum(steps.count(each) for each in ("a", "b", "plain"))
    assert found.cost.total == (asked or None)
    for part in (found.ensemble, found.hedging):
        if part is not None:
            costs = sum(each.cost_usd or 0 for each in part.models.values())
            named = sum(part.models[each].calls for each in ("a", "b") if each in part.models)
            assert costs <= asked
            assert named <= asked
    if found.hedging is not None:
        assert found.hedging.requests >= steps.count("(h")
        assert found.hedging.duplicated <= steps.count("dup")
    if found.ensemble is not None:
        assert found.ensemble.predictions == steps.count("(e")
        assert found.ensemble.votes == steps.count("vote")


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
