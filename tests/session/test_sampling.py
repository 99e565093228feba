"""Sampling under pytest: markers, the summary, workers, children, crashes, exports."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from pytest_crucible import telemetry
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import ExperimentResult
from pytest_crucible.analysis.run import Run, open_run
from pytest_crucible.capture.open_scope import current_scope
from pytest_crucible.events.pricing import Pricer
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.report.terminal import render
from pytest_crucible.runs.experiment_definition import Definition
from pytest_crucible.runs.run import open_folder
from pytest_crucible.session.budget import Budget
from tests.session.support import OUTPUT, newest, only, refused, results, run

SUITE = """
    import random
    import pytest
    from pytest_crucible import telemetry

    @pytest.mark.experiment("e", sampling={sampling!r}, expect={expect!r})
    @pytest.mark.parametrize("case", range(4))
    def test_calls(case, experiment):
        state = random.getstate()
        for number in range(100):
            telemetry.execute("req_llm.request.stop", {{"duration": 10**6, "cost_usd": 0.01}})
        experiment.record(score=1)
        assert random.getstate() == state
        assert experiment.metrics().recorded["score"].count == 1
        assert case
"""
EXPECT = ("cost.total <= 10", "latency.mean < 5", "success_rate > 0.1", "tests.failed <= 1")


def make(pytester: pytest.Pytester, sampling: str, expect: tuple[str, ...] = ()) -> None:
    pytester.makepyfile(SUITE.format(sampling=sampling, expect=expect))


def test_summary_says_that_a_sample_was_taken(pytester: pytest.Pytester) -> None:
    """Kept events, estimates of all, seeds in the manifest; trials and recorded numbers complete.

    No interval, and no verdict, is made up for what was estimated.
    """
    make(pytester, "reservoir:40", EXPECT)
    result = run(pytester, "-p", "no:xdist", "--crucible-export=csv,jsonl")
    result.stdout.fnmatch_lines(
        [
            "*e*",
            "*recorded 4/4 trials*",
            "*sampled: reservoir of 40, 40 of about 400 events kept*",
            "*cost.total *$4.00*",
            "*latency.p50, *: no interval: sampled: an estimate whose error is unknown*",
        ]
    )
    found = only(pytester)
    assert {each.expectation: each.verdict for each in found.verdicts} == {
        "cost.total <= 10": "INCONCLUSIVE",
        "latency.mean < 5": "INCONCLUSIVE",
        "tests.failed <= 1": "CONFIRMED",
        "success_rate > 0.1": "CONFIRMED",
    }
    metrics = found.metrics["default"]
    assert (metrics.tests.passed, metrics.tests.failed) == (3, 1)
    assert metrics.recorded["score"].count == 4
    assert found.spending["default"].calls == 400
    manifest = newest(pytester).manifest or {}
    (sampling,) = manifest["nodes"][0]["sampling"]
    assert (sampling["sampling"], sampling["operations"]) == ("reservoir:40", 400)
    assert isinstance(sampling["seed"], int)
    assert manifest["experiments"]["e"]["definition"]["sampling"] == "reservoir:40"
    _assert_exports_keep_the_weights(newest(pytester))


def _assert_exports_keep_the_weights(folder: Run) -> None:
    assert folder.path is not None
    whole = [(event.id, event.weight) for event in folder.events]
    assert Counter(weight for _, weight in whole)[10.0] == 40
    for ending in ("csv", "jsonl"):
        read = open_run(folder.path / f"events.{ending}")
        assert [(event.id, event.weight) for event in read.events] == whole
        (found,) = analyse(read).experiments
        assert found.metrics["default"].cost.total == pytest.approx(4.0)
        assert found.metrics["default"].summary.kept_events == 40


def test_workers_sample_on_their_own(pytester: pytest.Pytester) -> None:
    """Each worker has a reservoir of its own; together they stand for everything."""
    make(pytester, "reservoir:30")
    run(pytester, "-n2", "--dist=load")
    found = only(pytester)
    summary = found.metrics["default"].summary
    assert (summary.kept_events, summary.total_events) == (60, 400)
    assert found.recorded == 4
    assert results(pytester).incomplete == ()
    seeds = {
        each["seed"]
        for node in (newest(pytester).manifest or {})["nodes"]
        for each in node.get("sampling", ())
    }
    assert len(seeds) == 2


def test_contradicting_markers_are_refused(pytester: pytest.Pytester) -> None:
    """Tests of one experiment sample alike, or their events could not be added up."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("e", sampling="uniform:0.1")
        def test_one(): ...

        @pytest.mark.experiment("e")
        def test_other(): ...
        """
    )
    assert refused(run(pytester)) == (
        "test_contradicting_markers_are_refused.py::test_other: @pytest.mark.experiment: "
        "experiment 'e' has sampling=None here and 'uniform:0.1' in "
        "test_contradicting_markers_are_refused.py::test_one"
    )


# --- processes that fork or die ----------------------------------------------------------------

SCOPE = Scope(experiment="e", test="t", case="c", trial=1, attempt=1)


def calls(number: int) -> None:
    for _ in range(number):
        with telemetry.span("req_llm.request") as span:
            span.measure(cost_usd=0.01)


def in_child(function: object) -> None:
    """Call a function in a forked child that dies at once afterwards, running no cleanup."""
    child = os.fork()
    if not child:
        try:
            function()  # type: ignore[operator]
            os._exit(0)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def record(folder: Path, sampling: str, number: int) -> NodeRecording:
    recording = NodeRecording(folder, "run", "main")
    recording.announce({"e": Definition(name="e", sampling=sampling)}, [])
    current_scope.set(recording.open(SCOPE, sampling))
    calls(number)
    return recording


def read(folder: Path) -> ExperimentResult:
    (found,) = analyse(open_folder(folder)).experiments
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nodes").mkdir()
    return tmp_path


@pytest.mark.parametrize("sampling", ["uniform:0.5", "reservoir:50", "stratified:0.5"])
def test_crash_leaves_a_readable_sample(folder: Path, sampling: str) -> None:
    """A process that dies leaves what it wrote, and that it broke off before the end is said."""

    def die() -> None:
        record(folder, sampling, 200)
        telemetry.span("req_llm.request").__enter__()

    in_child(die)
    found = read(folder)
    summary = found.metrics["default"].summary
    assert 40 <= (summary.kept_events or 0) // 2 <= 160
    assert 280 <= summary.total_events <= 520
    lines = [line.text for line in render(analyse(open_folder(folder)))]
    (said,) = [line for line in lines if line.strip().startswith("sampled:")]
    assert ("main stopped before reporting how many" in said) == sampling.startswith("reservoir")
    if sampling.startswith("reservoir"):
        assert summary.total_events <= 401


def test_failures_that_alone_are_left_are_no_rate(folder: Path) -> None:
    """Where the lot left no success, the record knows all the same that it is a sample."""
    recording = record(folder, "stratified:0.000001", 50)
    for _ in range(20):
        telemetry.execute("req_llm.request.stop", {"duration": 1}, {"error": "boom"})
    recording.close()
    current_scope.set(None)
    found = read(folder)
    rate = found.subject("default").estimate("reliability.success_rate")
    assert (rate.value, rate.low, rate.high) == (0.0, None, None)


def test_forked_children_sample_on_their_own(folder: Path) -> None:
    """A child draws anew, in a file of its own: nothing is lost and nothing is there twice."""
    recording = record(folder, "reservoir:20", 100)
    with telemetry.span("agent"):
        in_child(lambda: calls(100))
    recording.close()
    current_scope.set(None)
    opened = open_folder(folder)
    events = [event for event in opened.events if event.weight is not None]
    assert len({event.id for event in events}) == len(events)
    ends = Counter(event.node == "main" for event in events if event.name.endswith("request.stop"))
    assert 19 <= ends[True] <= 20
    assert ends[False] == 20
    seeds = {frame.seed for node in opened.nodes for frame in node.samplings.values()}
    assert len(seeds) == 2
    (found,) = analyse(opened).experiments
    cost = found.metrics["default"].cost
    assert cost.total == pytest.approx(2.0, abs=0.3)
    assert OUTPUT not in str(folder)


@pytest.mark.parametrize("number", [0, 3])
def test_a_child_that_had_nothing_to_draw_broke_nothing_off(folder: Path, number: int) -> None:
    """Of a child that dies after it told nothing of an experiment there is nothing to say."""

    def child() -> None:
        telemetry.execute("crucible.other")
        calls(number)

    recording = record(folder, "reservoir:20", 100)
    in_child(child)
    recording.close()
    current_scope.set(None)
    assert len(read(folder).broken_off) == (1 if number else 0)


@pytest.mark.parametrize("sampling", ["reservoir:50", "uniform:0.5"])
def test_budget_counts_what_was_spent_and_not_what_was_kept(folder: Path, sampling: str) -> None:
    """$2.50 of calls in pieces, of which a part is recorded, are more than $1.50."""
    recording = record(folder, sampling, 50)
    budget = Budget(recording, Pricer(), None)
    assert budget.refusal("e", 1.5) is None
    for _ in range(4):
        calls(50)
        budget.refusal("e", 1.5)
    refusal = budget.refusal("e", 1.5)
    recording.close()
    current_scope.set(None)
    assert refusal is not None
    assert refusal.startswith("budget of $1.5 of experiment 'e' is spent ($")
