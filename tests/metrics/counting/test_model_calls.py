"""Calls of models: each counts once, however many instrumentations told of it."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import JUDGE
from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.spending import Spending, summarise_spending
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.values import Metrics
from tests.made_events import MS, T0_US, event, trial_scope

NO_PRICE, NO_TOKENS = "no price", "no tokens reported"


def told(
    source: str,
    *,
    ms: float = 10,
    at_ms: float = 20,
    cost: float | None = None,
    tokens: int | None = None,
    name: str = "req_llm.request.stop",
    **more: Any,
) -> Event:
    """What one instrumentation tells of a call that ended ``at_ms`` and took ``ms``."""
    numbers: dict[str, Any] = {"duration": ms * MS}
    numbers |= {} if cost is None else {"cost": cost}
    numbers |= {} if tokens is None else {"total_tokens": tokens}
    context = {"instrumentation": source, "strand": "main", "model": "m"} | more
    return event(name, numbers, context, at_us=round(at_ms * 1000))


def group(*events: Event) -> Group:
    (found,) = observe(events).groups.values()
    return found


def spending(*events: Event) -> Spending:
    return summarise_spending(group(*events))


def metrics(*events: Event) -> Metrics:
    return summarise(group(*events))


# --- one call, told of twice -------------------------------------------------------------------


def test_a_call_that_two_instrumentations_tell_of_is_one() -> None:
    """Its latency is the outer's, which is what was waited for; its cost and tokens count once."""
    inner = told("client", ms=10, at_ms=20, cost=0.25, tokens=7)
    outer = told("agent", ms=14, at_ms=22, cost=0.25, tokens=7)
    for pair in ((inner, outer), (outer, inner)):
        found, spent = metrics(*pair), spending(*pair)
        assert (spent.calls, spent.merged) == (1, 1)
        assert (found.latency.count, found.latency.max) == (1, 14)
        assert (found.cost.count, found.cost.total, found.tokens.total) == (1, 0.25, 7)
        assert found.reliability.total == 1


@pytest.mark.parametrize(
    ("inner", "outer", "cost", "tokens"),
    [
        ({"cost": 0.25, "tokens": 7}, {}, 0.25, 7),
        ({}, {"cost": 0.25, "tokens": 7}, 0.25, 7),
        ({"tokens": 7}, {"cost": 0.25}, 0.25, 7),
        ({"cost": 0.25}, {"cost": 0.5, "tokens": 7}, 0.25, 7),
        ({"cost": 0.25, "tokens": 7}, {"cost": 0.5, "tokens": 9}, 0.25, 7),
    ],
)
def test_the_inner_one_says_what_was_spent(
    inner: dict[str, Any], outer: dict[str, Any], cost: float, tokens: int
) -> None:
    """And the outer one what the inner one does not know; cost and tokens each for themselves."""
    found = metrics(told("client", **inner), told("agent", ms=15, at_ms=21, **outer))
    assert (found.cost.count, found.cost.total) == (1, cost)
    assert (found.tokens.count, found.tokens.total) == (1, tokens)


def test_three_tellings_of_one_call_are_one() -> None:
    """However many there are, and whichever of them knows the price."""
    events = [
        told("a", ms=10, at_ms=20, tokens=7),
        told("b", ms=12, at_ms=21, cost=0.25, tokens=7),
        told("c", ms=14, at_ms=22, tokens=7),
    ]
    found = spending(*events)
    assert (found.calls, found.merged, found.unpriced) == (1, 2, {})
    assert metrics(*events).cost.total == 0.25


def test_a_failure_that_the_outer_one_survived_is_none() -> None:
    """An attempt inside, which the agent's span repeated, is no failed operation."""
    failed = told("client", ms=5, at_ms=15, name="req_llm.request.exception", error="Timeout")
    found = group(failed, told("agent", ms=14, at_ms=22))
    assert found.errors == {}
    assert summarise(found).reliability.failed == 0
    assert summarise(found).reliability.successful == 1
    cancelled = told("client", ms=5, at_ms=15, cancelled=True)
    assert metrics(cancelled, told("agent", ms=14, at_ms=22)).reliability.cancelled == 0


@pytest.mark.parametrize("ended", ["inner first", "outer first"])
def test_a_span_around_a_call_is_no_call(ended: str) -> None:
    """An agent's ``chat`` around the client's: the client's is the call."""
    inner = told("client", cost=0.25, span_id="2", parent_span_id="1")
    outer = told("agent", ms=15, at_ms=21, cost=0.25, span_id="1")
    starts = [
        event("req_llm.request.start", metadata={"span_id": "1"}),
        event("req_llm.request.start", metadata={"span_id": "2", "parent_span_id": "1"}),
    ]
    events = [*starts, inner, outer] if ended == "inner first" else [*starts, outer, inner]
    assert spending(*events).calls == 1
    assert metrics(*events).cost.total == 0.25


def test_calls_within_a_call_of_our_own_bus() -> None:
    """Nothing tells threads there: who lies around others, at any distance, is no call."""

    def span(own: str, parent: str | None, name: str = "req_llm.request") -> Event:
        ids = {"span_id": own} | ({} if parent is None else {"parent_span_id": parent})
        return event(f"{name}.stop", {"duration": MS, "cost": 0.25}, ids)

    inner = [span("a", "step"), span("b", "step")]
    step, outer = span("step", "outer", "agent.step"), span("outer", None)
    assert spending(*inner, step, outer).calls == 2
    assert spending(*inner, span("alone", None)).calls == 3
    assert spending(span("tool", "outer", "altar.tool"), span("outer", None)).calls == 1


def test_what_one_telling_knows_holds_for_the_call() -> None:
    """Its answer, its time and who told of it: each later telling is held against all of it."""
    first, second = told("a"), told("b", ms=14, at_ms=22, response_id="r1")
    elsewhere = told("c", ms=12, at_ms=23, strand="other", response_id="r1")
    assert spending(first, second, elsewhere).calls == 1
    assert spending(first, second, told("b", ms=9, at_ms=23)).calls == 2  # the same client again
    between = told("c", ms=13.5, at_ms=22.5)  # began after the second, before the first
    assert metrics(first, second, between).latency.max == 14


# --- calls that are two ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "second",
    [
        told("b", ms=5, at_ms=40),  # after the first had ended
        told("b", ms=11, at_ms=21, strand="other"),
        told("b", ms=11, at_ms=21, provider="anthropic"),
        told("b", ms=11, at_ms=21, response_id="r2"),
        told("a", ms=11, at_ms=21),  # one client at two things
    ],
    ids=["after", "strand", "provider", "response", "instrumentation"],
)
def test_what_differs_is_another_call(second: Event) -> None:
    """Time, thread, provider, answer, or one instrumentation twice: none of it is guessed away."""
    first = told("a", provider="openai", response_id="r1")
    assert spending(first, second).calls == 2
    assert spending(first, second).merged == 0
    assert metrics(first, second).reliability.total == 2


@pytest.mark.parametrize(
    "second",
    [
        told("b", ms=11, at_ms=21, strand="worker thread", response_id="r1"),
        told("b", ms=11, at_ms=21, provider="OpenAI"),
        told("b", ms=11, at_ms=21, response_id="r1"),
    ],
    ids=["other thread", "spelt otherwise", "same answer"],
)
def test_what_is_the_same_call_for_all_that(second: Event) -> None:
    """The id of the answer tells it across threads; a provider's name has no case."""
    assert spending(told("a", provider="openai", response_id="r1"), second).calls == 1


def test_events_of_our_own_bus_are_a_call_each() -> None:
    """``execute`` is said once per call: two alike at one time are two calls."""
    same = event("req_llm.request.stop", {"duration": MS, "cost": 0.25}, {"model": "m"})
    assert spending(same, same).calls == 2
    assert metrics(same, same).cost.total == 0.5


def test_the_moment_of_the_beginning_is_believed() -> None:
    """Where it is told: a duration may leave out what the client waited for."""
    late = told("b", ms=1, at_ms=30)
    assert spending(told("a"), late).calls == 2
    since = (T0_US + 15_000) * 1000
    assert spending(told("a"), told("b", ms=1, at_ms=30, start_ns=since)).calls == 1


def test_other_operations_are_no_calls() -> None:
    """A tool, a start and a number are not calls of a model, whatever they cost."""
    found = spending(
        event("altar.tool.stop", {"duration": MS, "cost": 1.0}),
        event("req_llm.request.start", metadata={"span_id": "1"}),
    )
    assert (found.calls, found.application_usd) == (0, 1.0)


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_tellings_in_any_order_are_the_calls_that_were_made(
    tellings: list[int], chance: Any
) -> None:
    """Each call on a thread of its own, told of by one to three instrumentations."""
    events = [
        told(
            "abc"[source], ms=10 + source, at_ms=20 + source, cost=0.25, tokens=7, strand=str(call)
        )
        for call, sources in enumerate(tellings)
        for source in range(sources)
    ]
    chance.shuffle(events)
    found, spent = metrics(*events), spending(*events)
    calls = len(tellings)
    assert (spent.calls, spent.merged) == (calls, len(events) - calls)
    assert (found.cost.total, found.tokens.total) == (0.25 * calls, 7 * calls)
    assert (found.latency.count, found.reliability.successful) == (calls, calls)


# --- streams -----------------------------------------------------------------------------------


def stream(*data: Event) -> tuple[Event, ...]:
    """A call that returned at once, and the data of its stream, which ended later."""
    return told("client", ms=2, at_ms=12), *data


DATA = told("client", ms=25, at_ms=37, cost=0.25, tokens=7, continues=True)


def test_the_data_of_a_stream_belong_to_its_call() -> None:
    """Told in a span of its own: one call, as long as the stream took, at what the data cost."""
    found, spent = metrics(*stream(DATA)), spending(*stream(DATA))
    assert (spent.calls, spent.unpriced) == (1, {})
    assert (found.latency.count, found.latency.max) == (1, 27)
    assert (found.cost.total, found.tokens.total, found.reliability.total) == (0.25, 7, 1)


def test_data_that_nobody_waits_for_are_a_call() -> None:
    """Of another model or thread, or told a second time: then it is no continuation."""
    other_model = told("client", ms=25, at_ms=37, tokens=7, continues=True, model="other")
    assert spending(*stream(other_model)).calls == 2
    assert spending(*stream(DATA, told("client", at_ms=90, continues=True))).calls == 2
    assert spending(DATA).calls == 1


def test_a_stream_that_another_has_priced_is_not_priced_again() -> None:
    """The agent knew the tokens already; the client's data add nothing to them."""
    agent = told("agent", ms=4, at_ms=13, cost=0.25, tokens=7)
    found = metrics(*stream(agent, DATA))
    assert (found.cost.total, found.tokens.total) == (0.25, 7)
    assert spending(*stream(agent, DATA)).calls == 1


def test_a_stream_that_two_tell_of_has_data_twice() -> None:
    """Each instrumentation tells them in a span of its own; they are counted once."""
    agents = told("agent", ms=4, at_ms=13), told("agent", ms=26, at_ms=38, cost=0.5, tokens=7,
                                                 continues=True)  # fmt: skip
    for data in ((DATA, agents[1]), (agents[1], DATA)):
        events = [*stream(), agents[0], *data]
        assert spending(*events).calls == 1
        assert metrics(*events).cost.count == 1


def test_who_tells_late_adds_nothing_to_the_data() -> None:
    """The data were spent; an outer span that comes last has its latency only."""
    late = told("agent", ms=40, at_ms=41, cost=0.5, tokens=9)
    found = metrics(*stream(DATA, late))
    assert (found.cost.total, found.tokens.total) == (0.25, 7)
    assert (found.latency.count, found.latency.max) == (1, 40)
    assert spending(*stream(DATA, late)).calls == 1


def test_a_call_that_failed_has_no_data_to_come() -> None:
    """What continues then is the next one."""
    failed = told("client", ms=2, at_ms=12, name="req_llm.request.exception", error="Timeout")
    assert spending(failed, DATA).calls == 2


def test_rows_that_stand_for_no_call_are_known() -> None:
    """For exports and traces: the tellings beside the one that counts, and data of streams."""
    assert group(told("client"), told("agent", ms=14, at_ms=22)).merged == {0}
    assert group(told("agent", ms=14, at_ms=22), told("client")).merged == {1}
    assert group(*stream(DATA)).merged == {1}


# --- what has no price -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "reasons"),
    [
        (told("a", cost=0.25), {}),
        (told("a", tokens=7), {NO_PRICE: 1}),
        (told("a"), {NO_TOKENS: 1}),
        (told("a", cancelled=True), {"cancelled: what it had used is unknown": 1}),
        (told("a", error="Timeout", name="req_llm.request.exception"), {}),
    ],
)
def test_a_call_without_a_cost_says_why(call: Event, reasons: dict[str, int]) -> None:
    """One that failed has none to have; all of them are calls."""
    assert spending(call).unpriced == reasons
    assert spending(call).calls == 1


def test_the_reason_is_gone_once_another_tells_the_price() -> None:
    """And what stays unpriced is counted once, by what the inner one says."""
    assert spending(told("a", tokens=7), told("b", ms=11, at_ms=21, cost=0.25)).unpriced == {}
    both = spending(told("a", tokens=7), told("b", ms=11, at_ms=21))
    assert both.unpriced == {NO_PRICE: 1}


# --- whose calls they are ----------------------------------------------------------------------


def test_calls_of_judges_are_counted_beside() -> None:
    """They are calls, and not the application's."""
    ours = trial_scope()
    judges = changed(ours, role=JUDGE)
    call = told("a", cost=0.25)
    found = spending(replace(call, scope=ours), replace(call, scope=judges, time_us=1))
    assert (found.calls, found.judge_calls) == (2, 1)
    assert (found.application_usd, found.judge_usd) == (0.25, 0.25)


def test_a_judge_and_what_it_judges_never_merge() -> None:
    """Another scope is another call, even at the same time on the same thread."""
    ours = replace(told("a"), scope=trial_scope())
    theirs = replace(told("b", ms=11, at_ms=21), scope=changed(trial_scope(), role=JUDGE))
    assert spending(ours, theirs).calls == 2


def test_a_sample_stands_for_the_calls_it_was_drawn_from() -> None:
    """Calls, and those without a price, count as often as they stand for."""
    drawn = [
        replace(told("a", tokens=7), weight=4.0),
        replace(told("a", at_ms=90, cost=0.25), weight=2.0),
    ]
    found = spending(*drawn)
    assert (found.calls, found.unpriced, found.application_usd) == (6, {NO_PRICE: 4}, 0.5)


def test_providers_are_told_as_the_calls_named_them() -> None:
    """In lower case, each once; nothing for a call that named none."""
    calls = [
        told("a", at_ms=50 * n, provider=p) for n, p in enumerate(("OpenAI", "openai", "x"), 1)
    ]
    assert spending(*calls, told("a", at_ms=500)).providers == ("", "openai", "x")
