"""The application's provider works as without us, and every span finds its experiment."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased

from pytest_crucible import _clock, telemetry
from pytest_crucible.bridges import opentelemetry as bridge
from pytest_crucible.bridges import providers
from tests.bridges.support import Captured, capturing, no_provider

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "p"}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with no_provider():
        yield


def application() -> InMemorySpanExporter:
    """The application sets its provider, with an exporter."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def call(tracer: Any = None, tokens: int = 1, **attributes: Any) -> None:
    tracer = tracer or trace.get_tracer("lib")
    with tracer.start_as_current_span("chat", attributes=CHAT) as span:
        span.set_attribute("gen_ai.usage.input_tokens", tokens)
        span.set_attributes({key.replace("_", "."): value for key, value in attributes.items()})


def ways(captured: Captured) -> list[str]:
    return [event.attribution for event in captured.ends]


# --- the application's own telemetry ----------------------------------------------------------


def test_a_provider_set_before() -> None:
    """Its exporter gets every span; so do we, during the trial only."""
    exporter = application()
    call()
    with capturing() as captured:
        call()
    call()
    assert (captured.calls, len(exporter.get_finished_spans())) == (1, 3)


def test_a_provider_set_within(caplog: pytest.LogCaptureFixture) -> None:
    """Set in the middle of a trial it takes effect at once, also for tracers asked for before."""
    tracer: Any
    early = trace.get_tracer("early")
    with capturing() as captured:
        during = trace.get_tracer("during")
        for tracer in (early, during):
            call(tracer)
        exporter = application()
        for tracer in (early, during, None):
            call(tracer)
    for tracer in (early, during, None):
        call(tracer)
    assert (captured.calls, len(exporter.get_finished_spans())) == (5, 6)
    assert not caplog.records


def test_a_provider_set_after(caplog: pytest.LogCaptureFixture) -> None:
    """The latch is still free after a trial without provider; nothing is overridden."""
    with capturing() as captured:
        tracer = trace.get_tracer("lib")
        call(tracer)
    exporter = application()
    call(tracer)
    assert (captured.calls, len(exporter.get_finished_spans())) == (1, 1)
    assert not caplog.records


def test_never_a_provider() -> None:
    """Calls are captured all the same, and outside of trials no span is recorded."""
    tracer = trace.get_tracer("lib")
    with capturing() as captured:
        call(tracer)
        # Applications ask by type whether they still have to set one up.
        assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        assert not isinstance(trace.get_tracer_provider(), TracerProvider)
    assert captured.calls == 1
    assert not tracer.start_span("after").is_recording()
    assert trace._TRACER_PROVIDER is None


def test_setting_it_twice_warns_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """The application's second provider is refused within a trial as it is outside."""
    with capturing() as captured:
        first, second = application(), application()
        call()
    assert "Overriding of current TracerProvider is not allowed" in caplog.text
    assert captured.calls == 1
    assert [len(e.get_finished_spans()) for e in (first, second)] == [1, 0]


def test_the_samplers_word_holds() -> None:
    """What the application's sampler drops is dropped, for us too."""
    trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    with capturing() as captured:
        call()
    assert captured.events == []


def test_a_wrapped_provider_is_unwrapped() -> None:
    """Wrappers such as logfire's keep the real provider in ``provider``."""

    class Wrapper(trace.TracerProvider):
        def __init__(self) -> None:
            self.provider = TracerProvider(shutdown_on_exit=False)

        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            return self.provider.get_tracer(*args, **kwargs)

    trace.set_tracer_provider(Wrapper())
    with capturing() as captured:
        call()
    assert captured.calls == 1


def test_nothing_is_left_behind() -> None:
    """After the session the provider has the processors it had before."""
    application()
    provider: Any = trace.get_tracer_provider()
    before = provider._active_span_processor._span_processors
    for _ in range(3):
        with capturing():
            assert len(provider._active_span_processor._span_processors) == len(before) + 1
    assert provider._active_span_processor._span_processors == before


def test_what_goes_wrong_here_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the processor reaches nobody; it is told once."""
    monkeypatch.setattr(bridge, "read", lambda span: 1 / 0)
    exporter = application()
    told: list[str] = []
    own = bridge.Bridge(told.append)
    with capturing(bridge=own):
        call()
        call()
    own.close()
    assert len(exporter.get_finished_spans()) == 2
    assert told == ["a span could not be captured (on_end: ZeroDivisionError: division by zero)"]


# --- attribution ------------------------------------------------------------------------------


def test_context_comes_first() -> None:
    """In the test itself, and in threads that carry its context, it is exact."""
    with capturing() as captured, ThreadPoolExecutor(1) as pool:
        call()
        pool.submit(copy_context().run, call).result()
    assert ways(captured) == ["context", "context"]


def test_bare_threads_with_one_experiment() -> None:
    """A thread without context belongs to the only experiment that is open."""
    with capturing() as captured, ThreadPoolExecutor(1) as pool:
        pool.submit(call).result()
    assert ways(captured) == ["sole"]


def test_bare_threads_with_several_experiments() -> None:
    """They belong to nobody, and are counted as unattributed in each record."""
    with capturing("one") as one, capturing("two") as two, ThreadPoolExecutor(1) as pool:
        pool.submit(call).result()
    assert one.calls == two.calls == 0
    assert one.observations.unattributed == two.observations.unattributed == 2  # start and stop


def test_opentelemetrys_context_is_carried() -> None:
    """What the threading instrumentor carries along is exact, also with several experiments."""
    from opentelemetry import context

    with capturing("one") as one, capturing("two") as two:
        carried = context.get_current()

        def work() -> None:
            token = context.attach(carried)
            call()
            context.detach(token)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert (one.calls, ways(two)) == (0, ["opentelemetry"])


def test_the_span_above_tells() -> None:
    """A span made for an open one belongs where that one does."""
    with capturing("one") as one, capturing("two") as two:
        above = trace.get_tracer("lib").start_span("above", attributes={})
        bare = trace.set_span_in_context(above, Context())
        tracer = trace.get_tracer("lib")

        def work() -> None:
            tracer.start_span("chat", context=bare, attributes=CHAT).end()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
    assert (one.calls, ways(two)) == (0, ["parent"])


def test_a_late_span_is_late() -> None:
    """A span that ends after its trial belongs to that trial, as late."""
    with capturing() as captured:
        span = trace.get_tracer("lib").start_span("chat", attributes=CHAT)
        exporter = application()
    span.end()
    assert ways(captured) == ["late"]
    assert exporter.get_finished_spans() == ()


def test_a_backdated_span_belongs_to_the_trial_of_its_time() -> None:
    """litellm tells later, from a thread, of a call; not to the trial that runs by then."""
    application()
    told: list[str] = []
    own = bridge.Bridge(told.append)
    with capturing("one", own) as one:
        began = _clock.wall_ns()
    tracer = trace.get_tracer("litellm")

    def tell() -> None:
        tracer.start_span("chat", attributes=CHAT, start_time=began).end()

    with capturing("two", own) as two, ThreadPoolExecutor(1) as pool:
        pool.submit(tell).result()
    own.close()
    assert (ways(one), ways(two)) == (["late"], [])


# --- nesting ----------------------------------------------------------------------------------


def test_calls_below_an_agent() -> None:
    """The agent is the operation, its calls say what was spent, and ids rebuild the nesting."""
    tracer = trace.get_tracer("agents")
    with (
        capturing() as captured,
        tracer.start_as_current_span(
            "agent",
            attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 5},
        ),
        tracer.start_as_current_span("no event of ours"),
    ):
        call(tokens=2)
        call(tokens=3)
    assert captured.tokens == (5, 0)
    assert captured.calls == 2
    assert captured.metrics.reliability.total == 1
    *calls, agent = captured.ends
    assert {each.metadata["parent_span_id"] for each in calls} == {agent.metadata["span_id"]}
    assert len({each.metadata["trace_id"] for each in captured.ends}) == 1


def test_a_call_that_ends_after_its_agent_is_part_of_it() -> None:
    """A cancelled task ends after the agent that began it: one operation was cancelled, not two."""
    tracer = trace.get_tracer("agents")
    with capturing() as captured:
        agent = tracer.start_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"})
        inner = tracer.start_span(
            "chat", context=trace.set_span_in_context(agent), attributes=CHAT
        )  # fmt: skip
        for span in (agent, inner):
            span.set_attribute("error.type", "CancelledError")
            span.end()
    assert (captured.calls, captured.metrics.reliability.cancelled) == (1, 1)


def test_a_failed_call_within_one_that_is_known_only_as_it_ends() -> None:
    """OpenInference says at the end that its span was a call: the client's below it is part."""
    litellm = trace.get_tracer("openinference.instrumentation.litellm")
    with capturing() as captured:
        with litellm.start_as_current_span("completion") as outer:
            with trace.get_tracer("lib").start_as_current_span("chat", attributes=CHAT) as inner:
                inner.set_attribute("error.type", "InternalServerError")
            outer.set_attribute("openinference.span.kind", "LLM")
            outer.set_attribute("error.type", "InternalServerError")
        call()
    reliability = captured.metrics.reliability
    assert captured.calls == reliability.total == 2
    assert (reliability.failed, captured.group.errors) == (1, {"InternalServerError": 1})


def test_a_call_within_a_call_is_one() -> None:
    """An agent's ``chat`` around the client's own is one call with the client's tokens."""
    with (
        capturing() as captured,
        trace.get_tracer("agents").start_as_current_span("chat", attributes=CHAT) as outer,
    ):
        call(tokens=3)
        outer.set_attribute("gen_ai.usage.input_tokens", 4)
    assert (captured.calls, captured.tokens) == (1, (3, 0))


def test_siblings_are_one_call() -> None:
    """Two instrumentations side by side tell of one call: its operation, tokens and cost once."""
    with capturing() as captured:
        outer = trace.get_tracer("outer").start_span("chat", attributes=CHAT)
        call(tokens=3)
        outer.set_attribute("gen_ai.usage.input_tokens", 4)
        outer.end()
    assert (captured.calls, captured.tokens) == (1, (3, 0))
    assert captured.metrics.reliability.total == captured.metrics.latency.count == 1
    assert captured.group.calls.merged == 1


@pytest.mark.parametrize(
    "other",
    [{"gen_ai_provider_name": "q"}, {"gen_ai_response_id": "other"}],
    ids=["provider", "response id"],
)
def test_siblings_that_differ_are_two_calls(other: dict[str, str]) -> None:
    """Another provider or response id means another call, however much they overlap."""
    names = {
        "gen_ai_provider_name": "gen_ai.provider.name",
        "gen_ai_response_id": "gen_ai.response.id",
    }
    with capturing() as captured:
        outer = trace.get_tracer("outer").start_span("chat", attributes=CHAT)
        outer.set_attribute("gen_ai.response.id", "mine")
        inner = trace.get_tracer("inner").start_span("chat", attributes=CHAT)
        for key, value in other.items():
            inner.set_attribute(names[key], value)
        inner.end()
        outer.end()
    assert captured.calls == 2


def test_two_calls_of_one_instrumentation_are_two() -> None:
    """Calls at once, told by one instrumentation, are never merged."""
    with capturing() as captured:
        spans = [trace.get_tracer("lib").start_span("chat", attributes=CHAT) for _ in range(3)]
        for span in spans:
            span.end()
    assert captured.calls == 3


def test_a_span_within_a_span_of_our_bus() -> None:
    """Both tell of the same request: one call."""
    with capturing() as captured, telemetry.span("req_llm.request") as span:
        call(tokens=3)
        span.measure(input_tokens=3)
    assert (captured.calls, captured.tokens[0]) == (1, 3)


def test_a_call_that_is_thrown_away_was_cancelled() -> None:
    """Some instrumentations never end the span of a cancelled call; it is told at the end."""
    with capturing() as captured:
        trace.get_tracer("lib").start_span("chat", attributes=CHAT)
    assert captured.metrics.reliability.cancelled == 1
    assert captured.calls == 1


# --- the canary -------------------------------------------------------------------------------


def test_the_canary_finds_samplers() -> None:
    """It tells the share that a sampler lets through, and the application exports nothing."""
    exporter = application()
    assert providers.canary(trace.get_tracer_provider())[0] == 1
    assert exporter.get_finished_spans() == ()
    assert providers.canary(TracerProvider(sampler=ALWAYS_OFF))[0] == 0
    share, name = providers.canary(TracerProvider(sampler=TraceIdRatioBased(0.5)))
    assert 0 < share < 1
    assert name == "TraceIdRatioBased{0.5}"


def test_the_canary_finds_a_disabled_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_SDK_DISABLED there are no spans."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert providers.canary()[0] == 0


# --- sampling ---------------------------------------------------------------------------------


def test_captured_calls_are_kept_but_go_with_a_span_of_ours() -> None:
    """A sample drops no call of its own accord; inside a span of ours they go with that."""
    application()
    agent = trace.get_tracer("openinference.instrumentation.x")
    with capturing(sampling="uniform:0.5") as captured:
        for _ in range(20):
            call()
        for _ in range(40):
            with telemetry.span("pipeline"), agent.start_as_current_span("agent"):
                call()
    weights = Counter((event.name, event.weight) for event in captured.ends)
    kept = weights["pipeline.stop", 2.0]
    assert 8 < kept < 32
    assert weights == {
        ("req_llm.request.stop", None): 20,
        ("req_llm.request.stop", 2.0): kept,
        ("pipeline.stop", 2.0): kept,
    }
    assert captured.calls == 20 + 2 * kept


# --- correlation ------------------------------------------------------------------------------


def test_captured_spans_carry_the_correlation_id() -> None:
    """The id of the context in which a span began, wherever it ends; none without one."""
    application()
    with capturing() as captured:
        with telemetry.correlate("job"), telemetry.span("app"):
            call()
            late = trace.get_tracer("lib").start_span("chat", attributes=CHAT)
        late.end()
        call()
    found = [(event.name, event.metadata.get("correlation_id")) for event in captured.ends]
    assert found == [
        ("req_llm.request.stop", "job"), ("app.stop", "job"), ("req_llm.request.stop", "job"),
        ("req_llm.request.stop", None),
    ]  # fmt: skip
