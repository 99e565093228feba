"""What has been recorded of a scope so far, for code that asks while it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import pytest_crucible as crucible
from pytest_crucible.capture.open_scope import OpenScope
from pytest_crucible.capture.recorder import close_scope, open_scope, record_into, stop_listening
from pytest_crucible.capture.sampler import NodeSampler
from pytest_crucible.events.pricing import Price, use_prices
from pytest_crucible.events.scope import JUDGE, Scope
from pytest_crucible.experiments.own_record import OwnRecord
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.runs.experiment_definition import Definition

SCOPE = Scope(experiment="e", condition="c", test="t", case="a", trial=1, attempt=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@contextmanager
def scope_in(store: MemoryStore, number: int = 1, scope: Scope = SCOPE) -> Iterator[OpenScope]:
    opened = open_scope(scope, store, number)
    try:
        yield opened
    finally:
        close_scope(opened)
        stop_listening()


def call(opened: OpenScope, cost: float = 0.5) -> None:
    record_into(opened, "req_llm.request.stop", {"duration": 4_000_000, "cost": cost}, {})


def record_of(opened: OpenScope, store: MemoryStore, since: int | None = None) -> OwnRecord:
    return OwnRecord(opened, store, "run-1", "main", since)


def test_events_of_the_scope_and_its_judges(store: MemoryStore) -> None:
    """And of nobody else in the same store, whatever runs beside it."""
    other = replace(SCOPE, case="b", test="other")
    judge = replace(SCOPE, role=JUDGE)
    with scope_in(store) as opened, scope_in(store, 2, other) as beside:
        own = record_of(opened, store)
        call(opened)
        call(beside)
        judging = OpenScope(-opened.id, judge, store)
        call(judging)
        assert [event.scope for event in own] == [SCOPE, judge]
        assert [(event.run, event.node) for event in own] == [("run-1", "main")] * 2


def test_it_begins_where_it_was_made_or_told(store: MemoryStore) -> None:
    """What came before belongs to somebody else, unless a position is given."""
    with scope_in(store) as opened:
        since = store.position()
        call(opened, cost=1)
        late, early = record_of(opened, store), record_of(opened, store, since)
        call(opened, cost=2)
        assert [event.measurements["cost"] for event in late] == [2]
        assert [event.measurements["cost"] for event in early] == [1, 2]


def test_it_can_be_read_again_and_again(store: MemoryStore) -> None:
    """And each time it holds what has come meanwhile; the version says that there is more."""
    with scope_in(store) as opened:
        own = record_of(opened, store)
        versions = []
        for number in range(3):
            versions.append(own.version())
            assert len(list(own)) == number
            call(opened)
        assert len(set(versions)) == 3
        assert own.version() == own.version()


@pytest.mark.parametrize("closed", [False, True])
def test_metrics_are_those_of_the_events(closed: bool, store: MemoryStore) -> None:
    """While it runs they are added up as events come, afterwards from all: the same numbers."""
    opened = open_scope(SCOPE, store, 1)
    own = record_of(opened, store)
    for number in range(1, 4):
        call(opened, cost=number)
        if closed and number == 3:
            close_scope(opened)
        found = own.metrics(Definition(name="exp"), exact=False)
        assert (found.experiment, found.condition) == ("e", "c")
        assert found.cost.total == sum(range(1, number + 1))
        (timed,) = found.by_event.values()
        assert (timed.latency.count, timed.latency.mean) == (number, 4.0)
        assert found.latency.count == 1  # one trial
    close_scope(opened)
    stop_listening()


def test_metrics_of_a_sample_are_estimates(store: MemoryStore) -> None:
    """Whoever asks gets the size of the whole, not of what was kept."""
    sampler = NodeSampler("e", "c", "reservoir:5", store.append, seed=1)
    opened = open_scope(SCOPE, store, 1, sampler)
    own = record_of(opened, store)
    for _ in range(50):
        sampler.capture(opened, "req_llm.request.stop", {"duration": 1_000_000}, {}, 0)
    found = own.metrics(Definition(name="exp"), exact=False)
    assert (found.summary.kept_events, found.summary.total_events) == (5, 50)
    close_scope(opened)
    stop_listening()


def test_a_forked_child_reads_its_own_file_from_the_beginning(tmp_path: Path) -> None:
    """Positions of the parent's file mean nothing there."""
    (tmp_path / "nodes").mkdir()
    recording = NodeRecording(tmp_path, "run-1", "main")
    opened = recording.open(SCOPE)
    for _ in range(3):
        call(opened)
    own = OwnRecord(opened, recording.store, "run-1", "main")
    call(opened, cost=1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            call(opened, cost=2)
            status = [event.measurements["cost"] for event in own] != [2]
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [event.measurements["cost"] for event in own] == [1]
    recording.close()


def test_live_metrics_are_priced_as_in_the_summary() -> None:
    """With the user's table, live and exact, in the library, too."""
    use_prices({"m": Price(input=2.0)})
    try:
        with crucible.experiment("priced") as handle:
            told = {"input_tokens": 500_000, "output_tokens": 0}
            handle.execute("req_llm.request.stop", told, {"model": "m"})
            assert handle.metrics().cost.total == handle.metrics(exact=True).cost.total == 1.0
        assert handle.metrics().cost.total == 1.0
    finally:
        use_prices(None)
        crucible.cleanup(handle)
