"""Odd spans, providers and samplers: a call is a call, no sum is wrong, and nothing gets out."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags

from pytest_crucible.bridges import opentelemetry as bridge
from pytest_crucible.bridges import providers
from pytest_crucible.events.pricing import Pricer
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.spending import summarise_spending
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.record.node_reader import Node
from pytest_crucible.report.spending import spending_lines
from tests.bridges.support import Captured, capturing, no_provider

CHAT = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 0,
}  # fmt: skip
USD = 0.00015
INPUT, CACHED = "gen_ai.usage.input_tokens", "gen_ai.usage.cache_read.input_tokens"
COST, RAW = "operation.cost", "gen_ai.usage.raw"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with no_provider():
        yield


def start(**options: Any) -> Any:
    return trace.get_tracer("lib").start_span("chat", **{"attributes": CHAT, **options})


def shown(captured: Captured) -> str:
    """What the summary would say of it."""
    group = observe(
        Node("main", captured.store.frames()), enrichers=(Pricer(),)
    ).group("exp", "default")  # fmt: skip
    return "\n".join(text for text, _ in spending_lines({"default": summarise_spending(group)}))


@pytest.mark.parametrize(
    ("attributes", "usd"),
    [
        ({}, USD),
        ({"gen_ai.response.time_to_first_chunk": math.nan}, USD),
        ({"gen_ai.response.time_to_first_chunk": math.inf}, USD),
        ({INPUT: math.nan}, None), ({INPUT: -1000}, None), ({INPUT: 10**30}, None),
        ({INPUT: 1e300}, None), ({INPUT: "1000"}, None), ({INPUT: 1000.0}, USD),
        ({CACHED: -5}, USD), ({CACHED: 2000}, None),
        ({COST: -3.0}, USD), ({COST: "0.5"}, USD), ({COST: math.nan}, USD), ({COST: 2.0}, 2.0),
        ({RAW: '{"prompt_tokens_details": [1], "completion_tokens_details": "x"}'}, USD),
        ({RAW: "[" * 100_000}, USD), ({"gen_ai.response.finish_reasons": "[" * 100_000}, USD),
        ({"gen_ai.response.finish_reasons": ()}, USD), ({"error.type": ""}, USD),
        ({"http.request.resend_count": 10**30}, USD),
        ({"gen_ai.response.model": "\ud800é"}, USD),
        ({"gen_ai.response.model": "x" * 1_000_000}, USD),
        ({"gen_ai.operation.name": 3}, USD),  # logfire's older spans have none either
    ],
    ids=str,
)  # fmt: skip
def test_odd_attributes(attributes: dict[str, Any], usd: float | None) -> None:
    """The call counts in any case; what makes no sense is unknown, and so is its cost."""
    with capturing() as captured:
        start(attributes={**CHAT, **attributes}).end()
    (end,) = captured.ends
    assert captured.calls == 1
    assert len(repr(end)) < 5_000
    if usd is None:
        assert "1 of 1 call unpriced" in shown(captured)
    else:
        assert f"1 call ${usd:.4g}" in shown(captured)
    assert "nan" not in shown(captured)


@pytest.mark.parametrize("start_time", [None, "x", 0, -5, 10**30, 1.5, math.nan], ids=str)
@pytest.mark.parametrize("end_time", [None, "x", 0, -5, 10**30, 1.5, math.nan, 17], ids=str)
def test_odd_times(start_time: Any, end_time: Any) -> None:
    """A time that cannot have been is now; an end before the beginning leaves no latency."""
    with capturing() as captured:
        start(start_time=start_time).end(end_time)
    (end,) = captured.ends
    assert captured.calls == 1
    latency = summarise(captured.group).latency
    assert latency.count == (0 if end_time == 17 else 1)
    assert 0 <= (latency.max or 0) < 60_000
    assert end.time_us > 1_600_000_000_000_000


def test_a_model_that_a_terminal_would_obey() -> None:
    """Names stay on one line of the summary and set no colours."""
    with capturing() as captured:
        start(attributes={**CHAT, "gen_ai.request.model": "m\n\x1b[31mred" + "x" * 999}).end()
    (line,) = shown(captured).splitlines()
    assert "\x1b" not in line
    assert len(line) < 200


def test_ended_twice_elsewhere_or_never(caplog: pytest.LogCaptureFixture) -> None:
    """Two ends are one call; another thread may end it; one without end was cancelled."""
    with capturing() as captured:
        twice, elsewhere = start(), start()
        twice.end()
        twice.end()
        thread = threading.Thread(target=elsewhere.end)
        thread.start()
        thread.join()
        start()
    assert captured.calls == 3
    assert captured.metrics.reliability.cancelled == 1
    assert [each.attribution for each in captured.ends] == ["context"] * 3


def test_links_remote_parents_and_recursion() -> None:
    """A remote parent and links are kept apart from our nesting; depth is no matter."""
    far = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
    tracer = trace.get_tracer("lib")

    def agent(depth: int) -> None:
        attributes = {"gen_ai.operation.name": "invoke_agent"}
        with tracer.start_as_current_span("agent", attributes=attributes):
            if depth:
                agent(depth - 1)
            else:
                start().end()

    with capturing() as captured:
        above = trace.set_span_in_context(NonRecordingSpan(far))
        start(context=above, links=[Link(far)]).end()
        agent(100)
    assert captured.calls == 2
    first = captured.ends[0].metadata
    assert first["otel_parent_span_id"] == f"{2:016x}"
    assert "parent_span_id" not in first
    assert captured.metrics.reliability.total == 2


def test_exceptions_in_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """Exceptions with strange types and texts; the text stays outside."""

    class StrangeError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with capturing() as captured:
        span = start()
        span.record_exception(ValueError("SECRET"), attributes={"exception.type": ("a", "b.C")})
        span.set_attribute("error.type", object())
        span.set_status(trace.StatusCode.ERROR, "SECRET")
        span.end()
        with pytest.raises(RuntimeError):
            start().record_exception(StrangeError())
    assert captured.calls == 2
    assert captured.metrics.reliability.failed == 1
    assert "SECRET" not in repr(captured.events)


def test_an_exception_that_is_being_handled_is_not_the_calls() -> None:
    """A call made while a cancellation is handled went as it went."""
    with capturing() as captured:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            bare = {"gen_ai.operation.name": "execute_tool"}
            start(attributes=bare).end()
            failed = start()
            failed.set_status(trace.StatusCode.ERROR)
            failed.end()
    assert [each.name for each in captured.ends] == ["altar.tool.stop", "req_llm.request.exception"]
    assert captured.ends[1].metadata["error"] == "error"


# --- providers --------------------------------------------------------------------------------


def test_a_provider_that_is_shut_down_midway() -> None:
    """Its exporter gets what it gets without us; nothing raises."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    with capturing() as captured:
        start().end()
        open_one = start()
        provider.shutdown()
        open_one.end()
        start().end()
    assert len(exporter.get_finished_spans()) == 1
    assert captured.calls >= 2


def test_a_wrapper_that_hides_its_processors_gets_one_listener() -> None:
    """However many trials there are, we are added once."""

    class Wrapper(trace.TracerProvider):
        def __init__(self) -> None:
            self.hidden = TracerProvider(shutdown_on_exit=False)

        def add_span_processor(self, processor: Any) -> None:
            self.hidden.add_span_processor(processor)

        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            return self.hidden.get_tracer(*args, **kwargs)

    trace.set_tracer_provider(Wrapper())
    told: list[str] = []
    own = bridge.Bridge(told.append)
    for _ in range(3):
        with capturing(bridge=own) as captured:
            start().end()
        assert len(captured.events) == 2
    own.close()


def test_what_goes_wrong_as_a_provider_is_set_stays_here() -> None:
    """The application's ``set_tracer_provider`` never raises because of us."""
    told: list[str] = []
    own = bridge.Bridge(told.append)
    own.on_provider = lambda provider: 1 / 0  # type: ignore[assignment]
    with capturing(bridge=own) as captured:
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
        start().end()
    own.close()
    assert captured.calls == 1
    assert told == ["a span could not be captured (provider: ZeroDivisionError: division by zero)"]


class Limited(Sampler):
    """Lets three spans through, and only calls of models."""

    def __init__(self) -> None:
        self.left = 3

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        attributes = kwargs.get("attributes") or args[4]
        assert "gen_ai.operation.name" in attributes
        self.left -= 1
        chosen = ALWAYS_ON if self.left >= 0 else ALWAYS_OFF
        return chosen.should_sample(*args, **kwargs)

    def get_description(self) -> str:
        return "Limited"


def test_the_canary_uses_nothing_up() -> None:
    """A sampler with a memory lets as many of the application's spans through as without us."""
    trace.set_tracer_provider(TracerProvider(sampler=Limited(), shutdown_on_exit=False))
    share, _ = providers.canary(trace.get_tracer_provider())
    assert 0 < share < 1
    with capturing() as captured:
        for _ in range(5):
            start().end()
    assert captured.calls == 3


# --- where a span belongs ---------------------------------------------------------------------


def test_a_judges_threads() -> None:
    """OpenTelemetry's own context, as its threading instrumentor carries it, knows the judge."""
    from pytest_crucible.experiments.library import MemoryScopes
    from pytest_crucible.runs.experiment_definition import define

    with capturing() as captured:
        scopes = MemoryScopes(captured.store, None)
        handle = Experiment(
            define("exp"), captured.opened, captured.store, "run", "main", scopes=scopes
        )
        with handle.judge():
            carried = context.get_current()

            def work() -> None:
                token = context.attach(carried)
                start().end()
                context.detach(token)

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        start().end()
    counts = captured.group.calls
    assert (counts.application, counts.judge) == (1, 1)


FORK = """
import os, signal
from tests.bridges.support import capturing
from opentelemetry import trace

CHAT = {"gen_ai.operation.name": "chat"}
with capturing() as captured:
    span = trace.get_tracer("lib").start_span("chat", attributes=CHAT)
    # Imported only now, as by an application: a fork takes its lock, and frees it in the child
    # after the handlers of providers that were made before.
    import concurrent.futures.thread

    child = os.fork()
    span.end()
    if child == 0:
        os._exit(7)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(20)
    _, status = os.waitpid(child, 0)
print(captured.calls, os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_within_a_span() -> None:
    """The child gets on, and ends its own copy; the parent's record has one call."""
    root = Path(__file__).parent.parent.parent
    found = subprocess.run(
        [sys.executable, "-c", FORK], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (found.stdout, found.stderr) == ("1 7\n", "")
