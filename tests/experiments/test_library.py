"""The library: experiments outside pytest, from start to export."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.runs.experiment_definition import KEYWORDS, LIBRARY, OBEYED_BY, define, obeyed
from tests.experiments.support import TWO_OPEN


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Leaves no experiment behind, and proves that nobody listens any more."""
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)
    assert not telemetry.enabled("anything")


def names(handle: crucible.Experiment) -> list[str]:
    return [each.name for each in handle.events]


def emit_in_thread(name: str) -> None:
    """A thread has no context, so it belongs to none of several open experiments."""
    thread = threading.Thread(target=telemetry.execute, args=(name,))
    thread.start()
    thread.join()


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


@TWO_OPEN
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


@TWO_OPEN
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
        lambda: crucible.paused(running),
        lambda: crucible.judge(running, "success_rate > 0.5"),
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


@pytest.mark.parametrize("wrong", [{"conditon": "x"}, {"trials": 3}, {"tags": "one"}])
def test_a_wrong_keyword_of_a_block_is_refused_at_the_call(wrong: dict[str, Any]) -> None:
    """Not only when the block begins: `experiment` checks at once, and begins later."""
    with pytest.raises(crucible.DefinitionError):
        crucible.experiment("exp", **wrong)
    block = crucible.experiment("exp")
    assert crucible.list_experiments() == []
    with block as handle:
        assert crucible.list_experiments() == [handle]


# --- two open at once ----------------------------------------------------------------------------


def test_a_second_start_warns_and_says_what_to_do() -> None:
    """As when a cell of a notebook runs twice; the text names the cures, and the earlier one."""
    first = crucible.start("cell")
    with pytest.warns(crucible.AttributionWarning) as caught:
        second = crucible.start("cell")
    (warning,) = caught
    text = str(warning.message)
    assert "'cell' is still open" in text
    assert "with handle.active():" in text
    assert f"crucible.stop({first.id!r})" in text
    assert (warning.filename, issubclass(warning.category, UserWarning)) == (__file__, True)
    crucible.stop(first.id)
    telemetry.execute("mine")
    assert names(second) == ["mine"]


def test_a_warning_that_is_an_error_starts_nothing() -> None:
    """Under ``-W error`` there is no second experiment that nobody has a handle of."""
    first = crucible.start("cell")
    with pytest.raises(crucible.AttributionWarning):
        crucible.start("cell")
    assert crucible.list_experiments() == [first]


@TWO_OPEN
def test_events_of_nobody_are_counted_and_told(tmp_path: Path) -> None:
    """By the metrics of each that was open, in text and HTML, and by `stop`; never guessed."""
    first = crucible.start("a")
    telemetry.execute("mine", {"n": 1})
    second = crucible.start("b")
    for _ in range(3):
        telemetry.execute("whose", {"n": 1})
    second.execute("ours")
    assert (names(first), names(second)) == (["mine"], ["ours"])
    for handle in (first, second):
        for exact in (False, True):
            assert handle.metrics(exact=exact).summary.unattributed == 3
        assert "3 unattributed" in repr(handle.metrics())
        assert "summary.unattributed</td>" in handle.metrics()._repr_html_()
        with pytest.warns(crucible.AttributionWarning, match="^3 events belong to no") as caught:
            crucible.stop(handle)
        assert [each.filename for each in caught] == [__file__]
    assert second.metrics().summary.unattributed == 3
    run = crucible.open_run(crucible.archive(second, tmp_path / "b.zip"))
    assert run.metrics() == second.metrics(exact=True)
    assert second.status == "archived"


def test_blocks_and_handles_that_lose_nothing_do_not_warn() -> None:
    """Blocks within blocks, `active`, and handles: every event has its experiment."""
    with crucible.experiment("a") as first, crucible.experiment("b") as second:
        telemetry.execute("inner")
        with first.active():
            telemetry.execute("outer")
            third = crucible.start("c")  # in a context: nothing goes astray
        third.execute("third")
        crucible.stop(third)
    assert [names(each) for each in (first, second, third)] == [["outer"], ["inner"], ["third"]]
    assert [each.metrics().summary.unattributed for each in (first, second)] == [0, 0]


def test_a_block_within_a_block_warns_when_a_thread_lost_something() -> None:
    """A thread has no context: at the end of the block its loss is told, at the block's line."""

    def lose() -> None:
        with crucible.experiment("b"):
            emit_in_thread("whose")

    with crucible.experiment("a") as first:
        with pytest.warns(crucible.AttributionWarning, match="^1 event belongs to no") as caught:
            lose()
        assert [each.filename for each in caught] == [__file__]
        assert first.metrics().summary.unattributed == 1
        with pytest.warns(crucible.AttributionWarning):
            crucible.stop(first)


def test_a_pause_loses_nothing() -> None:
    """What happens meanwhile is not that of a paused experiment."""
    with crucible.experiment("a") as first, first.paused(), crucible.experiment("b") as second:
        emit_in_thread("whose")
        assert first.metrics().summary.unattributed == 0
        with pytest.warns(crucible.AttributionWarning):
            crucible.stop(second)


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
