"""Traces: the tree comes back as it was; nothing is lost, guessed or endless."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.events.event import Event
from pytest_crucible.queries.trace import Trace, TraceNode, trace
from tests.made_events import MS, event

Shape = tuple[str, list[Any]]


def shape(nodes: tuple[TraceNode, ...]) -> list[Shape]:
    return [(node.event.name, shape(node.children)) for node in nodes]


def flat(found: Trace) -> list[Event]:
    nodes = [node for _, node in found.walk()]
    return [each for node in nodes for each in (node.start, node.event) if each is not None]


def lines(found: Trace) -> list[str]:
    return str(found).splitlines()


def recorded(run: Callable[[crucible.Experiment], object]) -> crucible.Events:
    with crucible.experiment("exp") as exp:
        run(exp)
    return exp.events


def test_spans_and_events_are_where_they_were() -> None:
    """Spans below spans, plain events below the span that was open, in order of beginning."""

    def run(_: object) -> None:
        telemetry.execute("before")
        with telemetry.correlate("job"):
            telemetry.execute("first")
            with telemetry.span("a"):
                with telemetry.span("b"):
                    telemetry.execute("in b")
                telemetry.execute("in a")
                with telemetry.span("c"):
                    pass

    events = recorded(run)
    found = events.trace("job")
    assert shape(found.roots) == [
        ("first", []),
        ("a.stop", [("b.stop", [("in b", [])]), ("in a", []), ("c.stop", [])]),
    ]
    assert len(flat(found)) == len(events) - 1


def test_concurrent_tasks_and_threads_do_not_mix() -> None:
    """Each id has its own tree, whatever ran at the same time."""

    async def job(name: str) -> None:
        with telemetry.correlate(name), telemetry.span("job"):
            await asyncio.gather(step(name), asyncio.to_thread(telemetry.execute, f"thread {name}"))

    async def step(name: str) -> None:
        with telemetry.span(f"step {name}"):
            await asyncio.sleep(0)
            telemetry.execute(f"event {name}")

    async def main() -> None:
        await asyncio.gather(job("x"), job("y"))

    events = recorded(lambda _: asyncio.run(main()))
    for name in "xy":
        (root,) = events.trace(name).roots
        assert root.event.name == "job.stop"
        assert sorted(shape(root.children)) == [
            (f"step {name}.stop", [(f"event {name}", [])]),
            (f"thread {name}", []),
        ]


def test_a_span_id_gives_the_tree_below_it() -> None:
    """Without correlation, the id of a span gives it and what is below it."""
    inner: list[str | None] = []

    def run(_: object) -> None:
        with telemetry.span("a"), telemetry.span("b") as span:
            inner.append(span.id)
            with telemetry.span("c"):
                pass

    assert shape(recorded(run).trace(str(inner[0])).roots) == [("b.stop", [("c.stop", [])])]


def test_children_without_an_id_come_along_and_others_do_not() -> None:
    """A captured span below one of the trace belongs to it, unless it says otherwise."""
    events = [
        event("a.stop", metadata={"span_id": "1", "correlation_id": "job"}),
        event("b.stop", metadata={"span_id": "2", "parent_span_id": "1"}),
        event("c.stop", metadata={"span_id": "3", "parent_span_id": "2"}),
        event("d.stop", metadata={"span_id": "4", "parent_span_id": "1", "correlation_id": "x"}),
        event("e.stop", metadata={"span_id": "5"}),
    ]
    assert shape(trace(events, "job").roots) == [("a.stop", [("b.stop", [("c.stop", [])])])]


def test_an_opentelemetry_trace_id() -> None:
    """The spans of one trace of OpenTelemetry, whatever their parents are."""
    events = [
        event("a.stop", metadata={"span_id": "1", "trace_id": "t", "parent_span_id": "gone"}),
        event("b.stop", metadata={"span_id": "2", "trace_id": "t", "parent_span_id": "1"}),
        event("c.stop", metadata={"span_id": "3", "trace_id": "u", "parent_span_id": "1"}),
    ]
    assert shape(trace(events, "t").roots) == [("a.stop", [("b.stop", [])])]


def test_an_id_that_nobody_has_is_an_error() -> None:
    """A typo does not pass for an empty trace."""
    with pytest.raises(LookupError, match="no event has the correlation, trace or span id 'nope'"):
        trace([event()], "nope")
    with pytest.raises(LookupError):
        trace([event(metadata={"span_id": ""})], "")


# --- text -------------------------------------------------------------------------------------


def test_the_text_of_a_trace() -> None:
    """Names, models, latencies, costs and what became of each span, indented."""
    ids = {"trace_id": "t"}
    events = [
        event("agent.start", metadata={**ids, "span_id": "1"}),
        event(
            "req_llm.request.stop", {"duration": 12.34 * MS, "cost": 0.0021},
            {**ids, "span_id": "2", "parent_span_id": "1", "model": "gpt\n4o"}, at_us=20_000,
        ),
        event(
            "altar.tool.exception", {"duration": 1 * MS},
            {**ids, "span_id": "3", "parent_span_id": "1", "tool_name": "f", "error": "KeyError"},
            at_us=30_000,
        ),
        event(
            "wait.exception", {"duration": 5 * MS},
            {**ids, "span_id": "4", "parent_span_id": "1", "cancelled": True}, at_us=40_000,
        ),
        event("agent.stop", {"duration": 1234 * MS}, {**ids, "span_id": "1"}, at_us=1_234_000),
        event("left.start", metadata={**ids, "span_id": "5"}, at_us=2_000_000),
    ]  # fmt: skip
    assert lines(trace(events, "t")) == [
        "trace t",
        "  agent · 1,234 ms",
        "    req_llm.request · gpt 4o · 12.3 ms · $0.0021",
        "    altar.tool (failed) · f · KeyError · 1.0 ms",
        "    wait (cancelled) · 5.0 ms",
        "  left (not ended)",
    ]


def causal(id: str, at_us: int = 0, **metadata: Any) -> Event:
    measured = {"confidence": metadata.pop("confidence")} if "confidence" in metadata else {}
    more = {"trace_id": "why", "event_id": id, **metadata}
    return event("causal_trace.event.created", measured, more, at_us=at_us)


def test_a_causal_trace_shows_decisions_and_what_was_rejected() -> None:
    """Effects hang below their causes; a second cause is named."""
    events = [
        causal("1", 1, event_type="hypothesis", decision="ask", alternatives=["guess", "ask"],
               confidence=0.85),
        causal("2", 2, event_type="search", parent_id="1"),
        causal("3", 3, event_type="answer", parent_ids=["2", "1"], decision=42),
        causal("4", 4, parents=["lost"], alternatives="no list"),
    ]  # fmt: skip
    name = "causal_trace.event.created"
    assert lines(trace(events, "why")) == [
        "trace why",
        f"  {name} · hypothesis · confidence 0.85",
        "    chosen: ask",
        "    rejected: guess",
        f"    {name} · search",
        f"      {name} · answer · also caused by 1",
        "        chosen: 42",
        f"  {name} · also caused by lost",
    ]
    assert shape(trace(events, "2").roots) == [(name, [(name, [])])]


def test_causal_events_stand_below_their_span_where_they_name_no_cause() -> None:
    """Inside `correlate` a thought belongs to the span that was open when it came up."""

    def run(_: object) -> None:
        with telemetry.correlate("job"), telemetry.span("agent"):
            telemetry.execute("causal_trace.event.created", None, {"event_id": 1})
            with telemetry.span("tool"):
                metadata = {"event_id": 2, "parent_id": 1}
                telemetry.execute("causal_trace.event.created", None, metadata)

    name = "causal_trace.event.created"
    assert shape(recorded(run).trace("job").roots) == [
        ("agent.stop", [(name, [(name, [])]), ("tool.stop", [])])
    ]


def test_a_run_has_its_recorded_numbers_in_the_trace(tmp_path: Any) -> None:
    """What was given to `record` stands where it was recorded."""
    with crucible.experiment("exp") as exp, telemetry.correlate("job"), telemetry.span("grade"):
        exp.record(score=0.5)
    path = crucible.archive(exp, tmp_path / "a.zip")
    found = crucible.open_run(path).events.trace("job")
    assert lines(found)[2] == "    crucible.record · score=0.5"


# --- whatever the ids say ---------------------------------------------------------------------

few = st.sampled_from(["1", "2", "3", "4", 5, "", None])
metadata = st.fixed_dictionaries(
    {},
    optional={
        "span_id": few, "parent_span_id": few, "event_id": few, "parent_id": few,
        "parent_ids": st.lists(few, max_size=3) | few, "open_span_id": few,
        "correlation_id": st.sampled_from(["job", "job", "other", None]),
    },
)  # fmt: skip
events_with_ids = st.lists(
    st.tuples(st.sampled_from(["a.start", "a.stop", "a.exception", "b"]), metadata), max_size=12
)


@settings(max_examples=200)
@example(
    [
        ("a.start", {"span_id": "1", "correlation_id": "job"}),
        ("a.stop", {"span_id": "2", "correlation_id": "job"}),
        ("a.start", {"parent_span_id": "1", "event_id": "2"}),
    ],
    "job",
)
@given(events_with_ids, st.sampled_from(["job", "1"]))
def test_nothing_is_lost_or_endless(made: list[tuple[str, dict[str, Any]]], id: str) -> None:
    """Cycles, missing parents, doubled ids: each event of the trace is in it exactly once."""
    events = [
        event(name, metadata=metadata, at_us=number, sequence=number)
        for number, (name, metadata) in enumerate(made)
    ]
    must = [each for each in events if each.metadata.get("correlation_id") == id]
    try:
        found = trace(events, id)
    except LookupError:
        assert not must
        return
    shown = [each.sequence for each in flat(found)]
    assert len(shown) == len(set(shown))
    assert {each.sequence for each in must} <= set(shown)
    assert str(found)


trees: st.SearchStrategy[list[Any]] = st.recursive(
    st.just([]), lambda below: st.lists(below, max_size=3), max_leaves=12
)


@settings(max_examples=60)
@given(trees)
def test_any_tree_of_spans_comes_back(tree: list[Any]) -> None:
    """Whatever was nested comes back with the same shape."""

    def walk(below: list[Any]) -> None:
        with telemetry.span("s"):
            for each in below:
                walk(each)

    def expected(below: list[Any]) -> list[Shape]:
        return [("s.stop", expected(each)) for each in below]

    def run(_: object) -> None:
        with telemetry.correlate("job"):
            walk(tree)

    assert shape(recorded(run).trace("job").roots) == [("s.stop", expected(tree))]


def test_a_deep_trace_does_not_exhaust_the_stack() -> None:
    """A chain of 3,000 spans is built and printed without recursion."""
    events = [
        event("s.stop", metadata={"correlation_id": "j", "span_id": i, "parent_span_id": i - 1})
        for i in range(3_000)
    ]
    found = trace(reversed(events), "j")
    assert len(lines(found)) == 3_001
    assert len(found.roots) == 1


def test_text_of_odd_values_is_plain_and_short() -> None:
    """No nan, nothing that a terminal obeys, and a long chain neither runs off nor recurses."""

    def run(exp: crucible.Experiment) -> None:
        with telemetry.correlate("job\x1b[31m"):
            telemetry.execute("x", {"confidence": float("nan")}, {"model": "m\x1b[31m"})
            telemetry.execute("causal_trace.y", {"confidence": True}, {"decision": "\x1b[2J"})
            for n in range(2_000):
                ids = {"event_id": f"d{n}", "parent_id": f"d{n - 1}"}
                telemetry.execute("causal_trace.z", {}, ids)

    found = recorded(run).trace("job\x1b[31m")
    assert all(each.isprintable() for each in lines(found))
    assert lines(found)[1:4] == ["  x · m [31m", "  causal_trace.y", "    chosen: [2J"]
    assert lines(found)[-2].strip().startswith("(1998) causal_trace.z")
    assert max(map(len, lines(found))) < 150
    assert len(repr(found)) < 10_000


def test_an_id_of_no_text_is_looked_for_as_such() -> None:
    """A number is found as it is told; None and an empty text are nobody's id."""
    events = recorded(lambda _: telemetry.execute("x", None, {"trace_id": 17}))
    assert len(events.trace(17).roots) == 1  # type: ignore[arg-type]
    for nobody in (None, ""):
        with pytest.raises(LookupError, match="no event has"):
            events.trace(nobody)  # type: ignore[arg-type]
