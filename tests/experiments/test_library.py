"""The library: experiments outside pytest, from start to export."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.analysis.run import open_run
from pytest_crucible.runs.experiment_definition import KEYWORDS, LIBRARY, OBEYED_BY, define, obeyed
from tests.made_events import set_clock
from tests.test_html import ELEMENTS, Tags


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Leaves no experiment behind, and proves that nobody listens any more."""
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)
    assert not telemetry.enabled("anything")


def names(handle: crucible.Experiment) -> list[str]:
    return [each.name for each in handle.events]


# --- lifecycle ---------------------------------------------------------------------------------


def test_experiment_records_from_start_to_stop() -> None:
    """What is emitted before the start and after the end is nobody's."""
    telemetry.execute("before")
    handle = crucible.start("exp", hypothesis="it works", condition="control", tags=["t"])
    telemetry.execute("during")
    assert crucible.stop(handle) is handle
    telemetry.execute("after")
    assert names(handle) == ["during"]
    assert (handle.name, handle.condition, handle.status) == ("exp", "control", "stopped")
    assert (handle.definition.hypothesis, handle.definition.tags) == ("it works", ("t",))
    assert (handle.case_id, handle.trial, handle.attempt) == (None, None, None)
    assert repr(handle) == "<experiment 'exp' 'control' stopped>"


def test_block_is_stopped_even_if_it_raises() -> None:
    """An exception leaves the block, and the experiment is over with its record kept."""

    def run() -> None:
        with crucible.experiment("exp"):
            telemetry.execute("x")
            raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        run()
    (handle,) = crucible.list_experiments("stopped")
    assert (names(handle), handle.condition) == (["x"], "default")


def test_block_may_be_stopped_or_cleaned_up_from_within() -> None:
    """Who ends an experiment early is not told off at the end of the block."""
    with crucible.experiment("stopped") as handle:
        crucible.stop(handle)
    with crucible.experiment("gone") as handle:
        crucible.cleanup(handle)
    assert [each.name for each in crucible.list_experiments()] == ["stopped"]


def test_steps_that_the_state_does_not_allow_are_errors() -> None:
    """Each wrong step says which experiment, and in which state it is."""
    handle = crucible.start("exp")
    with pytest.raises(crucible.LifecycleError, match="'exp' cannot be resumed: it is running"):
        handle.resume()
    handle.pause()
    with pytest.raises(crucible.LifecycleError, match="'exp' cannot be paused: it is paused"):
        handle.pause()
    crucible.stop(handle)
    with pytest.raises(crucible.LifecycleError, match="'exp' has been stopped already"):
        crucible.stop(handle)
    with pytest.raises(crucible.LifecycleError, match="cannot be paused: it is stopped"):
        handle.pause()
    with pytest.raises(crucible.LifecycleError, match="cannot be resumed: it is stopped"):
        handle.resume()


def test_experiments_are_found_by_id_and_status() -> None:
    """`get` and `list_experiments` give the handles that `start` gave."""
    first, second, third = (crucible.start(name) for name in "abc")
    second.pause()
    crucible.stop(third)
    assert crucible.get(first.id) is first
    assert crucible.list_experiments() == [first, second, third]
    assert crucible.list_experiments("running") == [first]
    assert crucible.list_experiments("paused") == [second]
    assert crucible.list_experiments("stopped") == [third]
    assert len({first.id, second.id, third.id}) == 3


def test_cleanup_stops_and_forgets() -> None:
    """Running or stopped, an experiment is gone afterwards, and its id means nothing."""
    running, stopped = crucible.start("running"), crucible.start("stopped")
    crucible.stop(stopped.id)
    crucible.cleanup(running)
    crucible.cleanup(stopped.id)
    assert crucible.list_experiments() == []
    assert running.status == "stopped"
    calls: list[Callable[[], object]] = [
        lambda: crucible.get(running.id),
        lambda: crucible.stop(running),
        lambda: crucible.cleanup(running),
        lambda: crucible.compare(running, running),
        lambda: crucible.export(running),
    ]
    for call in calls:
        with pytest.raises(LookupError, match=f"no experiment with the id '{running.id}'"):
            call()


@pytest.mark.parametrize("odd", [None, 7, ["id"]])
def test_what_is_no_id_is_of_no_experiment(odd: Any) -> None:
    """Whatever is asked for: there is no such experiment."""
    with pytest.raises(LookupError, match="no experiment with the id"):
        crucible.get(odd)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"trials": 3}, "trials= needs pytest, which runs the tests; valid: hypothesis, condition"),
        ({"budget_usd": 1.0}, "budget_usd= needs pytest"),
        ({"pass_if": "1/2"}, "pass_if= needs pytest"),
        ({"margin": 0.1}, "margin= needs pytest"),
        ({"inconclusive": "fail"}, "inconclusive= needs pytest"),
        ({"hypotesis": "x"}, "unknown keyword 'hypotesis'; did you mean 'hypothesis'[?] valid: "),
        ({"trails": 3}, "did you mean 'trials', which needs pytest[?] valid: hypothesis, "),
        ({"tags": "one"}, "must be a list"),
    ],
)
def test_arguments_that_make_no_sense_start_nothing(
    arguments: dict[str, Any], problem: str
) -> None:
    """A wrong argument is one line, and leaves no experiment open."""
    before = crucible.list_experiments()  # of tests elsewhere
    with pytest.raises(crucible.DefinitionError, match=problem):
        crucible.start("exp", **arguments)
    with pytest.raises(crucible.DefinitionError, match="non-empty string"):
        crucible.start(" ")
    assert crucible.list_experiments() == before


@pytest.mark.parametrize("keyword", [key for key in KEYWORDS if LIBRARY not in OBEYED_BY[key]])
def test_what_the_library_does_not_obey_it_refuses(keyword: str) -> None:
    """Outside pytest no keyword is accepted and then ignored, not even with its default."""
    given: dict[str, Any] = {keyword: getattr(define("exp"), keyword)}
    calls: list[Callable[[], object]] = [
        lambda: crucible.start("exp", **given),
        lambda: crucible.experiment("exp", **given).__enter__(),
    ]
    for call in calls:
        with pytest.raises(crucible.DefinitionError) as caught:
            call()
        assert str(caught.value) == (
            f"{keyword}= needs pytest, which runs the tests; valid: {', '.join(obeyed(LIBRARY))}"
        )


def test_metadata_may_hold_anything() -> None:
    """A client or a lock in the metadata neither has to be copied nor encoded."""
    lock = threading.Lock()
    handle = crucible.start("exp", metadata={"lock": lock})
    assert handle.definition.metadata == {"lock": lock}


def test_experiment_in_memory_cannot_be_joined() -> None:
    """Another process has no way in, and is told so instead of recording into nothing."""
    with pytest.raises(crucible.LifecycleError, match="'exp' is kept in memory"):
        crucible.start("exp").child_env()


# --- numbers --------------------------------------------------------------------------------------


def test_metrics_of_a_stopped_experiment_are_exact() -> None:
    """Asked for exact ones, its handle gives what it gives in any case."""
    with crucible.experiment("exp", condition="c") as handle:
        handle.execute("llm.stop", {"duration": 5_000_000}, {"cost": 0.5})
        handle.record(score=0.5)
    assert handle.metrics(exact=True) == handle.metrics()
    assert (handle.metrics().latency.p50, handle.metrics().cost.total) == (5, 0.5)


def test_parent_span_adds_nothing_to_its_children() -> None:
    """Real nested spans: what the children cost is not counted again at the parent."""
    with crucible.experiment("exp") as handle, handle.span("agent.run", cost=0.3):
        for cost in (0.1, 0.2):
            with telemetry.span("llm.call", input_tokens=10) as span:
                span.measure(cost=cost)
    found = handle.metrics()
    assert found.cost.total == pytest.approx(0.3)
    assert (found.tokens.total, found.reliability.total, found.latency.count) == (20, 1, 1)


def test_compare_puts_metrics_side_by_side() -> None:
    """Every number that both have is compared, with a percentage where that has a meaning."""
    before, after = crucible.start("before"), crucible.start("after")
    before.execute("llm.stop", {"duration": 10_000_000})
    after.execute("llm.stop", {"duration": 15_000_000}, {"cost": 1})
    found = {each.metric: each for each in crucible.compare(before, after)}
    latency = found["latency.p50"]
    assert (latency.baseline, latency.candidate, latency.difference) == (10, 15, 5)
    assert latency.percent == 50
    assert found["cost.count"].percent is None
    assert "cost.total" not in found


def test_compare_takes_whatever_has_metrics(tmp_path: Path) -> None:
    """Handles, ids, recorded runs and metrics give the same differences."""
    before, after = crucible.start("before"), crucible.start("after")
    for cost, handle in enumerate((before, after), 1):
        handle.execute("llm.stop", {"duration": 10_000_000 * cost}, {"cost": cost})
        handle.record(score=cost)
    found = crucible.compare(before, after)
    assert {"latency.p50", "cost.total", "score.mean"} <= {each.metric for each in found}
    runs = [
        crucible.open_run(crucible.export(each, "jsonl", tmp_path / f"{each.name}.jsonl"))
        for each in (before, after)
    ]
    assert crucible.compare(*runs) == found
    assert crucible.compare(before.id, runs[1].metrics("after", "default")) == found
    assert repr(found) == f"<differences in {len(found)} metrics>"
    assert Tags(found._repr_html_()).names == ELEMENTS


def test_compare_of_a_run_with_several_arms_says_how(tmp_path: Path) -> None:
    """Which of them is meant is asked in one line that names them."""
    handles = [crucible.start("exp", condition=name) for name in ("a", "b")]
    for each in handles:
        each.execute("llm.stop", {"duration": 1})
    path = crucible.export_multiple(handles, "jsonl", tmp_path / "e.jsonl")
    run = crucible.open_run(path)
    with pytest.raises(LookupError, match=r"which one\?; valid: \('exp', 'a'\), \('exp', 'b'\)"):
        crucible.compare(run, handles[0])
    assert crucible.compare(run.metrics(condition="a"), run.metrics(condition="b"))


def test_exact_metrics_read_the_whole_record() -> None:
    """While it runs they are what they will be at the end: no sketch, and anomalies are told."""
    with crucible.experiment("exp") as handle:
        for n in range(1, 2001):
            handle.execute("llm.stop", {"duration": n * 1_000_000})
        quick, exact = handle.metrics(), handle.metrics(exact=True)
    assert exact == handle.metrics()
    assert exact.latency.p50 == 1000.5
    assert exact.anomalies["latency"].judged == 2000
    assert quick.anomalies == {}
    assert quick.latency.p50 == pytest.approx(1000.5, rel=0.01)


# --- export ------------------------------------------------------------------------------------


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that moves on by a millisecond each time it is asked."""
    ticks = count(1_763_900_000_000_000_000, 1_000_000)
    set_clock(monkeypatch, lambda: next(ticks))


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_export_multiple_is_in_order_of_time(format: str, tmp_path: Path, ticking: None) -> None:
    """Events of several experiments stand in the order in which they happened."""
    handles = [crucible.start(name) for name in "abc"]
    order = [0, 1, 0, 2, 2, 1, 0]
    for i, which in enumerate(order):
        handles[which].execute(f"e{i}")
    path = crucible.export_multiple(handles[::-1], format, tmp_path / "new" / f"all.{format}")
    found = list(open_run(path).events)
    assert [each.name for each in found] == [f"e{i}" for i in range(len(order))]
    assert [each.run for each in found] == [handles[which].id for which in order]


def test_export_multiple_counts_an_experiment_once(tmp_path: Path) -> None:
    """Naming one twice, by handle and by id, does not double its events."""
    handle = crucible.start("a")
    handle.execute("e")
    path = crucible.export_multiple([handle, handle.id], "jsonl", tmp_path / "all.jsonl")
    assert len(open_run(path).events) == 1


def test_export_goes_to_a_safe_name_in_the_results_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the experiment is called, its file stays in the folder for results."""
    monkeypatch.chdir(tmp_path)
    with crucible.experiment("../../etc/x") as handle:
        telemetry.execute("x")
    path = crucible.export(handle)
    assert path.parent == Path("crucible-results")
    assert path.name.startswith("etc-x-")
    assert path.name.endswith(f"-{handle.id}.csv")
    assert [each.name for each in open_run(path).events] == ["x"]


def test_export_takes_options_and_compresses(tmp_path: Path) -> None:
    """The options are those of the command line; the format may say how to compress."""
    with crucible.experiment("x") as handle:
        handle.execute("a.stop", {"n": 1}, {"user_id": "ann"})
    options = crucible.ExportOptions(columns=["event", "metadata.*"], anonymize="drop")
    path = crucible.export(handle, "jsonl", tmp_path / "x.jsonl", options)
    assert path.read_text() == '{"event":"a.stop"}\n'
    packed = crucible.export(handle, "csv.gz", tmp_path / "x.csv.gz")
    assert list(crucible.open_run(packed).events) == list(handle.events)
    with pytest.raises(crucible.DefinitionError, match=r"a csv\.gz file ends with \.gz"):
        crucible.export(handle, "csv.gz", tmp_path / "x.csv")


def test_export_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    """An unknown format, and a file where the folder should be, are one line each."""
    handle = crucible.start("exp")
    with pytest.raises(crucible.DefinitionError, match="unknown export format 'xlsx'"):
        crucible.export(handle, "xlsx")
    (tmp_path / "file").touch()
    with pytest.raises(crucible.OutputError, match="output folder"):
        crucible.export(handle, "csv", tmp_path / "file" / "x.csv")


ADDRESS = "s3://bucket/e"


@pytest.mark.parametrize("path", [ADDRESS, Path(ADDRESS)])
def test_the_address_of_a_storage_is_refused(
    path: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says so from whatever takes a path, and no folder named like it."""
    monkeypatch.chdir(tmp_path)
    with crucible.experiment("e") as handle:
        handle.execute("a")
    for refused in (
        lambda: crucible.export(handle, "csv", path),
        lambda: crucible.export_multiple([handle], "csv", path),
        lambda: crucible.archive(handle, f"{path}.zip" if isinstance(path, str) else path),
        lambda: crucible.open_run(path),
        lambda: crucible.JSONLMetrics(path),
    ):
        with pytest.raises(crucible.DefinitionError, match="there is no storage for s3://"):
            refused()
    assert list(tmp_path.iterdir()) == []
    crucible.cleanup(handle)
