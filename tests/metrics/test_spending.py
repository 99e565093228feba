"""Spending: how many calls there were, what they cost, and whose they were."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import JUDGE
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.spending import Spending, passed_cases, summarise_spending
from tests.made_events import MS, event, trial, trial_scope


def spending(*events: Event) -> Spending:
    (group,) = observe(events).groups.values()
    return summarise_spending(group)


def call(case: str, cost: float | None = None, role: str | None = None, number: int = 1) -> Event:
    numbers: dict[str, float] = {"duration": MS} | ({} if cost is None else {"cost": cost})
    return event(measurements=numbers, scope=replace(trial_scope(case, number), role=role))


def ran(case: str, outcome: str, number: int = 1) -> list[Event]:
    return trial(outcome, trial_scope(case, number))


def test_what_is_unknown_is_none() -> None:
    """Calls without a cost are no cost of zero, and no calls are none at all."""
    assert spending(call("a")).application_usd is None
    assert spending(event("work.done", {"duration": MS})) == Spending()


def test_the_judges_are_counted_beside_the_application() -> None:
    """Its cost per passed case is what users will pay, not what it took to find out."""
    events = [*ran("a", "passed"), call("a", 0.5), call("a", 0.25, JUDGE)]
    found = spending(*events)
    assert (found.calls, found.judge_calls) == (2, 1)
    assert (found.application_usd, found.judge_usd) == (0.5, 0.25)
    assert found.usd_per_passed_case == 0.5


@pytest.mark.parametrize(
    ("outcomes", "passed"),
    [
        ({"a": ["passed", "passed"]}, {"a"}),
        ({"a": ["passed", "failed"], "b": ["passed"]}, {"b"}),
        ({"a": ["skipped"], "b": ["skipped", "passed"]}, {"b"}),
        ({"a": ["errored"]}, set()),
        ({"a": ["xpassed"]}, {"a"}),
        ({}, set()),
    ],
)
def test_a_case_has_passed_if_all_its_trials_have(
    outcomes: dict[str, list[str]], passed: set[str]
) -> None:
    """Skipped trials say nothing; a case of nothing else did not run."""
    events = [
        each
        for case, trials in outcomes.items()
        for number, outcome in enumerate(trials, 1)
        for each in ran(case, outcome, number)
    ]
    groups = list(observe(events).groups.values())
    assert passed_cases(each for group in groups for each in group.trials) == passed


def test_nothing_passed_has_no_cost_per_case() -> None:
    """Rather than a division by zero, or a cost of nothing."""
    found = spending(*ran("a", "failed"), call("a", 0.5))
    assert (found.application_usd, found.usd_per_passed_case) == (0.5, None)


def test_reasons_come_most_frequent_first() -> None:
    """As the summary tells them."""
    tokens = event(measurements={"duration": MS, "input_tokens": 3})
    found = spending(call("a"), tokens, changed(tokens, time_us=1))
    assert list(found.unpriced.items()) == [("no price", 2), ("no tokens reported", 1)]


def test_calls_that_were_only_seen_are_told_by_host() -> None:
    """And are no calls: nobody knows what they were."""
    (group,) = observe([event("work.done", {"duration": MS})]).groups.values()
    group.http_calls["api.openai.com", "openai"] += 2
    found = summarise_spending(group)
    assert found.http_calls == {"api.openai.com (openai)": 2}
    assert found.calls == 0
