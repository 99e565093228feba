"""The sampler: operations are kept whole or not at all, and what is kept stands for the rest."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import copy_context

import numpy as np
import pytest

from pytest_crucible import telemetry
from pytest_crucible.capture import recorder as _recorder
from pytest_crucible.capture import sampler as _sampler
from pytest_crucible.capture.frames import SamplingFrame, ScopeFrame
from pytest_crucible.capture.open_scope import OpenScope, current_scope
from pytest_crucible.capture.recorder import close_scope, open_scope, pause_scope, resume_scope
from pytest_crucible.capture.sampler import NodeSampler
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.observations import Group, observe
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.store import Recorded

STRATEGIES = ["uniform:0.3", "reservoir:60", "stratified:0.3", "adaptive:0.3", "importance:0.3"]
MS = 1_000_000


class Recording:
    """A sampled scope that is current, in a store of its own."""

    def __init__(self, sampling: str | None, seed: int = 1) -> None:
        self.store = MemoryStore()
        self.sampler = None
        if sampling is not None:
            self.sampler = NodeSampler("e", "default", sampling, self.store.append, seed)
        self.opened = open_scope(Scope(experiment="e"), self.store, 1, self.sampler)

    def __enter__(self) -> OpenScope:
        self._token = current_scope.set(self.opened)
        return self.opened

    def __exit__(self, *error: object) -> None:
        current_scope.reset(self._token)
        close_scope(self.opened)

    @property
    def node(self) -> Node:
        self.opened.tell_sampled()
        return Node("main", Recorded(self.store), run="run")

    @property
    def events(self) -> list[Event]:
        return list(self.node)

    @property
    def group(self) -> Group:
        return observe(self.node).group("e", "default")

    @property
    def metrics(self) -> Metrics:
        return summarise(self.group)


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    yield
    for opened in list(_recorder._open):
        close_scope(opened)
    _recorder.stop_listening()


Operation = tuple[int, float, bool, int]
"""duration in ns, cost in USD, whether it failed, number of parts"""


def workload(seed: int = 11, count: int = 150) -> list[Operation]:
    rng = random.Random(seed)
    return [
        (
            round(rng.lognormvariate(1, 0.8) * MS * (3 if number > 100 else 1)),
            rng.lognormvariate(-5, 1),
            rng.random() < 0.1,
            rng.randrange(3),
        )
        for number in range(count)
    ]


def perform(operations: list[Operation]) -> None:
    """Each operation is a span whose parts tell the cost, or, without parts, a single event."""
    say = _recorder.capture
    for number, (duration, cost, failed, parts) in enumerate(operations):
        outcome = {"error": "boom"} if failed else {}
        if not parts:
            numbers = {"duration": duration, "cost_usd": cost}
            say("req_llm.request.stop", numbers, {"success": not failed, **outcome})
            continue
        root = {"span_id": f"r{number}"}
        say("agent.start", {}, root)
        for part in range(parts):
            inner = {"span_id": f"p{number}.{part}", "parent_span_id": f"r{number}"}
            say("req_llm.request.start", {}, inner)
            numbers = {"duration": duration // 4, "cost_usd": cost / parts, "input_tokens": 10}
            say("req_llm.request.stop", numbers, inner)
        say("agent.exception" if failed else "agent.stop", {"duration": duration}, root | outcome)


def numbers_of(metrics: Metrics) -> dict[str, float]:
    """What has to be unbiased; the mean and the rate are ratios of two such totals."""
    mean, rate = metrics.latency.mean, metrics.reliability.success_rate
    assert mean is not None
    assert rate is not None
    return {
        "cost": metrics.cost.total or 0.0,
        "latency": metrics.latency.total or 0.0,
        "latency.mean": mean,
        "success_rate": rate,
        "operations": metrics.reliability.total,
        "failed": metrics.reliability.failed,
        "events": metrics.summary.total_events,
        "parts": metrics.by_event["req_llm.request.stop"].count,
        "tokens": metrics.tokens.total or 0.0,
    }


@pytest.mark.parametrize("sampling", STRATEGIES)
def test_estimates_are_unbiased(sampling: str) -> None:
    """Over many samples the mean of every estimate is the truth, to within 4 standard errors."""
    operations, repeats = workload(), 40
    whole = Recording(None)
    with whole:
        perform(operations)
    truth = numbers_of(whole.metrics)
    found: dict[str, list[float]] = {name: [] for name in truth}
    fewer = 0
    for seed in range(repeats):
        sample = Recording(sampling, seed)
        with sample:
            perform(operations)
        metrics = sample.metrics
        for name, value in numbers_of(metrics).items():
            found[name].append(value)
        fewer += (metrics.summary.kept_events or 0) < truth["events"]
    assert fewer == repeats
    for name, values in found.items():
        error = float(np.std(values, ddof=1)) / math.sqrt(repeats)
        # Half a unit for what is rounded to whole numbers, and the small bias of ratios.
        rounding = 0.01 * truth[name] if name in ("latency.mean", "success_rate") else 0.5
        slack = rounding if name not in ("cost", "latency") else 1e-9
        assert abs(float(np.mean(values)) - truth[name]) <= 4 * error + slack, name


def test_reservoir_keeps_exactly_its_size() -> None:
    """As many operations as it holds, whole; all stand for the same number; few stood in between.

    About k (1 + ln(n/k)) operations are written in all.
    """
    sample = Recording("reservoir:20")
    with sample:
        perform([(MS, 0.1, False, 1)] * 1000)
    group = sample.group
    assert sum(group.counted) == 20
    assert len(group.name) == 20 * 4
    assert set(group.weight) == {50.0}
    written = sum(1 for _, frame in sample.store.frames() if getattr(frame, "slot", -1) >= 0)
    assert 20 * 4 < written < 4 * 2 * 20 * (1 + math.log(1000 / 20))


def test_few_operations_are_all_kept_and_stand_for_themselves() -> None:
    """A reservoir that is not full changes no number."""
    whole, sample = Recording(None), Recording("reservoir:1000")
    for each in (whole, sample):
        with each:
            perform(workload())
    complete, kept = whole.metrics, sample.metrics
    assert kept.by_event == complete.by_event  # in a sample, each operation is a latency
    assert kept.cost == complete.cost
    assert kept.reliability == complete.reliability
    assert kept.summary.kept_events == kept.summary.total_events == complete.summary.total_events


@pytest.mark.parametrize("sampling", STRATEGIES)
def test_operations_are_kept_whole(sampling: str) -> None:
    """Of a span that is kept every part is there, and of one that is dropped none."""
    sample = Recording(sampling)
    with sample:
        perform(workload())
    begun: Counter[str] = Counter()
    for event in sample.events:
        span = event.metadata.get("span_id")
        if span is not None:
            begun[str(span)] += 1
            parent = event.metadata.get("parent_span_id")
            assert parent is None or begun[str(parent)] == 1
    assert begun
    assert set(begun.values()) == {2}


def test_what_the_plugin_says_itself_is_never_dropped() -> None:
    """Recorded numbers and trials belong to the record whatever the sample."""
    sample = Recording("uniform:0.000001")
    with sample as opened:
        for _ in range(50):
            telemetry.execute("x")
            telemetry.execute("crucible.record", {"score": 1})
        _recorder.record_into(opened, "crucible.trial.stop", {}, {"outcome": "passed"})
    assert Counter(event.name for event in sample.events) == {
        "crucible.record": 50,
        "crucible.trial.stop": 1,
    }


def test_all_errors_are_there_even_inside_what_succeeded() -> None:
    """Stratified: an operation with a failed part is kept as one that failed."""
    sample = Recording("stratified:0.000001")
    with sample:
        for number in range(20):
            with telemetry.span("agent"):
                try:
                    with telemetry.span("tool"):
                        if number % 2:
                            raise ValueError
                except ValueError:
                    pass
    names = Counter(event.name for event in sample.events)
    assert names["tool.exception"] == names["agent.stop"] == 10
    assert "tool.stop" not in names


def test_events_inside_a_span_share_its_fate() -> None:
    """Plain events of its context, and of threads while a whole is open, go with the span."""
    sample = Recording("uniform:0.5")
    with sample:
        for _ in range(50):
            with telemetry.span("ensemble.prediction"):
                telemetry.execute("req_llm.request.stop", {"duration": MS, "cost_usd": 1.0})
                thread = threading.Thread(target=telemetry.execute, args=("x", {"duration": MS}))
                thread.start()
                thread.join()
    names = Counter(event.name for event in sample.events)
    assert 10 < names["ensemble.prediction.stop"] < 40
    assert len(set(names.values())) == 1


def test_wholes_told_by_plain_events_are_not_drawn() -> None:
    """Their parts would have been drawn before them: then plain events are kept, all of them."""
    sample = Recording("uniform:0.1")
    with sample:
        telemetry.execute("ensemble.prediction.stop", {"duration": 0})
        for _ in range(50):
            telemetry.execute("req_llm.request.stop", {"cost_usd": 1.0})
            # So long that the part lies within it, however long this process has to wait.
            telemetry.execute("ensemble.prediction.stop", {"duration": 10**12, "cost_usd": 1.0})
    assert len(sample.events) == 101
    assert sample.metrics.cost.total == 50.0
    assert not sample.group.sampled


def test_what_does_not_end_is_kept() -> None:
    """A span that is still open as its scope ends is there, and stands for itself."""
    sample = Recording("stratified:0.000001")
    with sample:
        span = telemetry.span("agent").__enter__()
        telemetry.execute("inside")
        assert sample.events == []
    assert [event.name for event in sample.events] == ["agent.start", "inside"]
    token = current_scope.set(sample.opened)
    span.__exit__(None, None, None)
    current_scope.reset(token)
    assert [(event.name, event.weight) for event in sample.events] == [
        ("agent.start", 1.0),
        ("inside", 1.0),
        ("agent.stop", 1.0),
    ]


def test_waiting_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation with more events than may wait is kept as it is."""
    monkeypatch.setattr(_sampler, "MOST_WAITING", 10_000)
    sample = Recording("stratified:0.000001")
    with sample, telemetry.span("agent"):
        for _ in range(1000):
            telemetry.execute("inside", {"n": 1})
    assert len(sample.events) == 1002
    assert sample.sampler is not None
    assert sample.sampler._waiting == 0


def test_spans_without_an_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that nobody ends do not fill the memory; what they said is kept."""
    monkeypatch.setattr(_sampler, "MOST_OPEN", 10)
    sample = Recording("stratified:0.000001")
    with sample:
        for number in range(100):
            _recorder.capture("agent.start", {}, {"span_id": number})
        assert sample.sampler is not None
        assert len(sample.sampler._open) == 10
        assert len(sample.events) == 90
    assert len(sample.events) == 100


def test_paused_and_resumed_it_goes_on_sampling() -> None:
    """Nothing while paused; a sample again afterwards."""
    sample = Recording("uniform:0.5")
    with sample as opened:
        pause_scope(opened)
        for _ in range(100):
            telemetry.execute("paused")
        resume_scope(opened)
        for _ in range(100):
            telemetry.execute("x")
    names = Counter(event.name for event in sample.events)
    assert list(names) == ["x"]
    assert 25 < names["x"] < 75


def test_threads_lose_and_double_nothing() -> None:
    """Every operation is seen once, and is there once or not at all, whichever thread it is in."""
    sample = Recording("reservoir:100")

    def work(name: str) -> None:
        for number in range(200):
            with telemetry.span("agent", name=name, number=number), telemetry.span("tool"):
                pass

    with sample:
        run: list[Callable[[], None]] = [copy_context().run for _ in range(4)]  # type: ignore[misc]
        threads = [
            threading.Thread(target=each, args=(work, f"t{i}")) for i, each in enumerate(run)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ends = [e for e in sample.events if e.name == "agent.stop"]
    assert len({(e.metadata["name"], e.metadata["number"]) for e in ends}) == len(ends) == 100
    assert {event.weight for event in sample.events} == {8.0}


def test_values_that_do_not_fit_keep_their_weight() -> None:
    """What has to be kept as its repr is sampled like anything else."""
    for sampling in ("uniform:0.5", "stratified:0.5"):
        sample = Recording(sampling)
        with sample:
            for _ in range(40):
                telemetry.execute("x", {"big": 2**70})
        assert {event.weight for event in sample.events} == {2.0}
        assert {event.degraded for event in sample.events} == {1}


def test_record_tells_seed_and_number_of_operations() -> None:
    """Strategy, seed and how many operations there were stand in the record."""
    sample = Recording("uniform:0.1", seed=42)
    with sample:
        for _ in range(30):
            telemetry.execute("x")
    frames = [frame for _, frame in sample.store.frames() if isinstance(frame, SamplingFrame)]
    assert [(each.sampling, each.seed, each.seen) for each in frames] == [
        ("uniform:0.1", 42, 0),
        ("uniform:0.1", 42, 30),
    ]


def test_reservoir_in_a_torn_record_is_read() -> None:
    """Without the frames that tell scopes and sizes each event stands for what it stood for."""
    sample = Recording("reservoir:10")
    with sample:
        for _ in range(50):
            telemetry.execute("x")
    torn = [
        (position, frame)
        for position, frame in sample.store.frames()
        if not isinstance(frame, (SamplingFrame, ScopeFrame))
    ]
    events = list(Node("main", torn))
    assert len(events) == 10
    assert all(event.scope is None and 1 <= (event.weight or 0) <= 5 for event in events)


def test_reading_in_pieces_adds_up_to_an_unbiased_sum() -> None:
    """A reservoir read as it grows counts each event as it came; the sum is right on average."""
    sums = []
    for seed in range(200):
        sample = Recording("reservoir:10", seed)
        with sample:
            for number in range(100):
                telemetry.execute("x", {"cost_usd": float(number)})
        node = Node("main", sample.store.frames(), piecewise=True)
        sums.append(sum(e.measurements["cost_usd"] * (e.weight or 1) for e in node))
    error = float(np.std(sums, ddof=1)) / math.sqrt(len(sums))
    assert abs(float(np.mean(sums)) - 4950) < 4 * error


class Unreadable(dict[str, object]):
    """Metadata that do not want to be looked into."""

    def get(self, key: str, default: object = None) -> object:
        raise ValueError


class Unprintable:
    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("name", "metadata"),
    [("x", Unreadable(a=1)), (Unprintable(), None), ("x.start", {"span_id": Unprintable()})],
)
def test_odd_events_do_not_reach_the_code_under_test(
    name: str, metadata: dict[str, object]
) -> None:
    """What cannot be looked into, or has no text, is sampled like any other event."""
    recording = Recording("uniform:1")
    token = current_scope.set(recording.opened)
    try:
        telemetry.execute(name, None, metadata)
    finally:
        current_scope.reset(token)
        close_scope(recording.opened)
    assert len(list(Node("main", Recorded(recording.store), run="run"))) == 1
