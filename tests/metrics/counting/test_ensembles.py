"""Ensembles and hedging: which calls and votes belong to which whole, none of them twice."""

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

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.metrics.counting.ensembles import agreement_of
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.metrics.values import Metrics
from tests.made_events import MS, event
from tests.metrics.support import MODELS, call, ensemble, hedge, hedging, metrics


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
    assert metrics(*events).cost.total == 10.0  # not also the 5.0 of the whole


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
