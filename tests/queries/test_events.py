"""Views: whatever is asked, the answer is that of a plain list of events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_crucible as crucible
from pytest_crucible.analysis.run import open_run
from pytest_crucible.events.event import TRIAL_STOP, Event
from pytest_crucible.queries.events import Events
from tests.made_events import T0_US, event, reference_events, trial, trial_scope, write_run
from tests.queries.support import view

START = datetime.fromtimestamp(T0_US / 1e6, tz=UTC)


some_events = st.lists(
    st.builds(
        lambda name, at, metadata, condition: event(
            name, metadata=metadata, at_us=at, scope=trial_scope(condition=condition)
        ),
        st.sampled_from(["llm.stop", "llm.exception", "tool.start", "tool.stop"]),
        st.integers(0, 100),
        st.fixed_dictionaries({}, optional={"model": st.sampled_from(["a", "b"])}),
        st.sampled_from(["control", "treatment"]),
    ),
    max_size=12,
)
Step = tuple[str, Any]
steps = st.one_of(
    st.tuples(st.just("name"), st.sampled_from(["llm.*", "*.stop", "tool.start", "nothing"])),
    st.tuples(st.just("success"), st.booleans()),
    st.tuples(st.just("model"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("condition"), st.just("control")),
    st.tuples(st.just("last_n"), st.integers(0, 8)),
    st.tuples(st.just("last"), st.integers(1, 60)),
    st.tuples(st.just("between"), st.tuples(st.integers(0, 50), st.integers(50, 100))),
)


def asked(events: Events, step: Step) -> Events:
    """The step as a query."""
    match step:
        case "last_n", number:
            return events.last_n(number)
        case "last", span:
            return events.last(span / 1e6, "seconds")
        case "between", (start, end):
            return events.between(T0_US + start, T0_US + end)
        case key, value:
            return events.query(**{key: value})
    raise AssertionError(step)


def plainly(events: list[Event], step: Step) -> list[Event]:
    """The step on a list."""
    match step:
        case "last_n", number:
            return events[max(0, len(events) - number) :]
        case "last", span:
            end = max((each.time_us for each in events), default=0)
            return [each for each in events if each.time_us >= end - span]
        case "between", (start, end):
            return [each for each in events if start <= each.time_us - T0_US <= end]
        case "name", pattern:
            return [each for each in events if fnmatch(each.name, pattern)]
        case "success", value:
            return [
                each
                for each in events
                if each.name.endswith((".stop", ".exception"))
                and each.name.endswith(".stop") is value
            ]
        case "model", value:
            return [each for each in events if each.metadata.get("model") == value]
        case _, value:
            return [each for each in events if each.scope and each.scope.condition == value]


@given(some_events, st.lists(steps, max_size=4))
def test_chained_queries_are_those_of_a_list(events: list[Event], chain: list[Step]) -> None:
    """In any order, each query narrows what the one before it left."""
    found, expected = view(events), events
    for step in chain:
        found, expected = asked(found, step), plainly(expected, step)
    assert list(found) == expected
    assert found == expected
    assert len(found) == len(expected)
    assert found[::-1] == expected[::-1]


def test_view_is_lazy_and_reads_once() -> None:
    """Nothing is read while a query is put together, and a list is made in one reading."""
    readings: list[int] = []

    def source() -> Iterator[Event]:
        readings.append(1)
        return iter(reference_events())

    queried = Events(source).query(name="*.stop").last_n(3)
    assert readings == []
    assert [each.sequence for each in list(queried)] == [8, 9, 10]
    assert (len(queried), queried[-1].sequence, len(readings)) == (3, 10, 1)


def test_view_of_a_running_experiment_follows_it() -> None:
    """What is recorded after the view was made, and after it was used, is seen."""
    with crucible.experiment("exp") as handle:
        failed = handle.events.query(success=False)
        assert (len(failed), list(failed), failed == []) == (0, [], True)
        handle.execute("x.exception")
        assert (len(failed), failed[0].name) == (1, "x.exception")
        handle.execute("y.exception")
        assert [each.name for each in failed] == ["x.exception", "y.exception"]
    crucible.cleanup(handle)


def test_query_finds_metadata_scope_and_what_was_worked_out() -> None:
    """Metadata first; then what enrichment says; then scope and event."""
    events = [
        event("a", metadata={"case": "mine", "team": None}, scope=trial_scope("c1")),
        event("b", scope=trial_scope("c1", trial=2), node="gw1"),
        event("crucible_train.epoch.stop", {"epoch": 3}, scope=None),
    ]
    found = view(events)

    def names(**wanted: Any) -> list[str]:
        return [each.name for each in found.query(**wanted)]

    assert names(case="c1") == ["b"]
    assert names(case="mine") == ["a"]
    assert names(team=None) == ["a"]
    assert names(trial=2, node="gw1") == ["b"]
    assert names(epoch=3) == ["crucible_train.epoch.stop"]
    assert names(condition="default") == ["a", "b"]
    assert names(epoch=4) == []


def test_query_finds_measurements() -> None:
    """What has no other meaning may be a number that the event itself holds."""
    found = view([event("a", {"n": 1}), event("b", {"n": 2}), event("c", metadata={"n": 2})])
    assert [each.name for each in found.query(n=2)] == ["b", "c"]


def test_checking_a_key_reads_no_further_than_it_must() -> None:
    """The first event that has it is enough; for what every event has, none is read."""
    read: list[int] = []

    def source() -> Iterator[Event]:
        for number in range(100):
            read.append(number)
            yield event(metadata={"user": "ann"} if number else {})

    found = Events(source)
    found.query(model="gpt", case="c1", cohort="x")
    assert read == []
    found.query(user="ann")
    assert read == [0, 1]


def test_times_may_be_datetimes_of_any_zone() -> None:
    """Both ends are included, to the microsecond; None is open."""
    found = view([event(at_us=i, sequence=i) for i in range(5)])
    one, three = (START + timedelta(microseconds=i) for i in (1, 3))
    between = [each.sequence for each in found.between(one, three)]
    assert between == [each.sequence for each in found.query(time_range=(one, three))] == [1, 2, 3]
    assert len(found.between(None, three)) == 4
    assert len(found.between(one, None)) == 4
    assert len(found.last(2e-6, until=three)) == 3


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda v: v.between(2, 1), "the end 1 is before the start 2"),
        (lambda v: v.between(datetime(2026, 1, 1), None), "has no time zone"),
        (lambda v: v.last(5, "days"), "unit 'days' is not one of seconds, minutes, hours"),
        (lambda v: v.last(0, "minutes"), "above zero"),
        (lambda v: v.last_n(-1), "at least 0"),
        (lambda v: v.windowed_metrics(0), "size=0 is not above zero"),
        (lambda v: v.windowed_metrics(1, timedelta(0)), "is not above zero"),
    ],
)
def test_questions_that_make_no_sense_are_errors(
    ask: Callable[[Events], object], problem: str
) -> None:
    """Told when it is asked, not when the answer is read."""
    with pytest.raises(ValueError, match=problem):
        ask(view([]))


def test_runs_are_queried_offline(tmp_path: Path) -> None:
    """A recorded run takes the same questions; trials are no operations that succeeded."""
    folder = write_run(
        tmp_path / "run-1", [*reference_events(), *trial("passed", trial_scope("c1"))]
    )
    events = open_run(folder).events
    assert len(events.query(name="req_llm.*", success=False)) == 2
    assert len(events.query(success=True)) == 10
    assert len(events.query(internal=False)) == 12
    assert [each.name for each in events.query(case="c1").query(name="*.stop")] == [TRIAL_STOP]


# --- numbers and tables ------------------------------------------------------------------------


def test_to_numpy_has_nan_where_there_is_no_number() -> None:
    """Columns compute at once; an unknown number is not zero."""
    array = view(reference_events()).to_numpy()
    assert array["latency_ms"].dtype == np.float64
    assert np.nanmean(array["latency_ms"]) == 550
    assert np.nansum(array["cost_usd"]) == pytest.approx(0.055)
    assert np.isnan(array["latency_ms"]).sum() == 2
    assert array["success"].tolist() == [1] * 10 + [0] * 2
    assert array["total_tokens"][0] == 300
    assert array["name"][-1] == "req_llm.request.exception"
    assert view([]).to_numpy().shape == (0,)


MIXED = [
    event("a", {"n": 1, "x": 1}, {"who": "z", "deep": {"k": [1]}}, sequence=1),
    event("b", {"n": 2.5, "x": "text"}, {}, sequence=2),
    event("c", {}, {"who": None}, scope=None, sequence=3),
]


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars"])
def test_tables_have_the_columns_of_exports(kind: str) -> None:
    """One row per event, one type per column, nothing for what an event does not have."""
    table = getattr(view(MIXED), f"to_{kind}")()
    columns = list(table.column_names if kind == "arrow" else table.columns)
    assert columns[:2] == ["run", "event_id"]
    assert columns[-4:] == ["measurements.n", "measurements.x", "metadata.deep.k", "metadata.who"]
    values = {name: list(table[name]) for name in columns}
    if kind == "arrow":
        values = table.to_pydict()
    assert values["event"] == ["a", "b", "c"]
    assert values["measurements.n"][:2] == [1.0, 2.5]
    assert values["measurements.x"][:2] == ["1", "text"]
    assert values["metadata.deep.k"][0] == "[1]"
    assert getattr(view([]), f"to_{kind}")().shape[0] == 0


@pytest.mark.parametrize(
    ("module", "kind", "extra"),
    [("pyarrow", "arrow", "parquet"), ("pandas", "pandas", "pandas"), ("polars",) * 3],
)
def test_missing_library_is_named_with_its_extra(
    module: str, kind: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        crucible.MissingExtraError,
        match=rf"to_{kind} needs: pip install 'pytest-crucible\[{extra}\]'",
    ):
        getattr(view(MIXED), f"to_{kind}")()


# --- metrics of a part -------------------------------------------------------------------------


def test_metrics_of_a_part_are_those_of_an_experiment_that_emitted_only_it() -> None:
    """Counts, cost and percentiles of what was selected; an operation and its parts count once."""
    with crucible.experiment("whole", condition="c") as whole:
        for n in range(1, 6):
            with whole.span("agent.run", model="a"):
                whole.execute(
                    "llm.stop", {"duration": n * 1_000_000, "cost": 0.1 * n}, {"model": "b"}
                )
        whole.record(score=1)
    with crucible.experiment("whole", condition="c") as part:
        for n in range(3, 6):
            part.execute("llm.stop", {"duration": n * 1_000_000, "cost": 0.1 * n}, {"model": "b"})
    found = whole.events.query(model="b", name="llm.*").last_n(3).metrics()
    expected = part.metrics(exact=True)
    assert (found.latency, found.cost) == (expected.latency, expected.cost)
    assert found.reliability == expected.reliability
    assert (found.summary.total_events, found.tests.trials) == (3, 0)
    assert whole.events.metrics().cost == whole.metrics(exact=True).cost
    assert (found.experiment, found.condition) == ("whole", "c")


def test_metrics_of_several_conditions_ask_which() -> None:
    """They are not mixed; a query or a name chooses."""
    events = view([
        event("llm.stop", measurements={"duration": n}, scope=trial_scope(condition=name))
        for n, name in enumerate(["a", "b", "b"])
    ])  # fmt: skip
    with pytest.raises(LookupError, match=r"which one\? valid: \('exp', 'a'\), \('exp', 'b'\)$"):
        events.metrics()
    assert events.metrics(condition="b").summary.total_events == 2
    assert events.query(condition="b").metrics() == events.metrics("exp", "b")


def test_metrics_of_nothing_are_zero() -> None:
    """A query that finds nothing is an answer, not an error."""
    found = view([]).metrics()
    assert (found.summary.total_events, found.cost.total) == (0, None)
    assert view([event(scope=None)]).metrics("x", "y").experiment == "x"


def test_metrics_of_a_run_have_its_trials_and_numbers(tmp_path: Path) -> None:
    """They are among its events."""
    started, stopped = trial("passed", trial_scope())
    run = open_run(write_run(tmp_path / "r", [started, event(scope=trial_scope()), stopped]))
    assert run.events.metrics().tests.trials == 1
    assert run.events.query(internal=False).metrics().tests.trials == 0
