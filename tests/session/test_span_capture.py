"""Capturing and pricing in whole sessions, with hand-made spans."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.session.span_capture import environment_problems
from tests.bridges.support import no_provider
from tests.session import support
from tests.session.priced import SPANS, manifest


def test_spans_are_captured_and_priced(priced: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Calls of unchanged code are events of their trials, in every way to run a session."""
    priced.makepyfile(
        SPANS
        + """
@pytest.mark.experiment("e", trials=4)
def test_it(experiment):
    ask()
    with experiment.judge():
        ask(2000)
    ask(model="unknown")
"""
    )
    result = support.run(priced, *mode)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "*8 calls $4 · 4 calls of judges $8 · $4 per passed case",
            "*4 of 12 calls unpriced: 4 × genai-prices has no unknown",
        ]
    )
    spending = support.only(priced).spending["default"]
    assert (spending.calls, spending.judge_calls) == (12, 4)
    roles = [event.scope.role for event in support.events(priced) if event.scope]
    assert roles.count("judge") == 8  # start and stop
    assert manifest(priced)["pricing"]["genai_prices"]


def test_unmarked_tests_are_left_alone(priced: pytest.Pytester) -> None:
    """Between trials no span is recorded, and the application still has no provider."""
    priced.makepyfile(
        SPANS
        + """
@pytest.mark.experiment("e")
def test_marked():
    ask()

def test_unmarked():
    assert not trace.get_tracer("lib").start_span("x").is_recording()
    assert trace._TRACER_PROVIDER is None
"""
    )
    support.run(priced).assert_outcomes(passed=2)
    assert support.only(priced).spending["default"].calls == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--crucible-budget=none", "--crucible-budget: 'none' is not an amount of US dollars*"),
        ("--crucible-budget=-1", "--crucible-budget: '-1' is not an amount of US dollars*"),
        ("--crucible-budget=0", "--crucible-budget: '0' is not an amount of US dollars*"),
        ("--crucible-budget=nan", "--crucible-budget: 'nan' is not an amount of US dollars*"),
        ("--crucible-budget=inf", "--crucible-budget: 'inf' is not an amount of US dollars*"),
        ("--crucible-budget=2 EUR", "--crucible-budget: '2 EUR' is not an amount of US dollars*"),
        ("--crucible-prices=.", "--crucible-prices: *: Is a directory"),
        ("--crucible-prices=nope.toml", "--crucible-prices: *nope.toml: No such file*"),
        ("--crucible-instrument=opnai", "--crucible-instrument: unknown client 'opnai'; valid: *"),
        ("--crucible-instrument=auto,openai", "--crucible-instrument: 'auto' cannot be combined *"),
        ("--crucible-instrument=openai,none", "--crucible-instrument: 'none' cannot be combined *"),
    ],
)
def test_a_wrong_option_is_one_line(pytester: pytest.Pytester, arguments: str, line: str) -> None:
    """It names the option, the value and what would be right."""
    from fnmatch import fnmatch

    assert fnmatch(support.refused(support.run(pytester, arguments)), line)


def test_a_disabled_sdk_is_told_before_tests_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: tuple[str, ...]
) -> None:
    """It stands above the first result, and again in the summary."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    pytester.makepyfile(
        SPANS
        + """
@pytest.mark.experiment("e")
def test_it():
    ask()
"""
    )
    result = support.run(pytester, *mode)
    result.stdout.fnmatch_lines(
        ["capture: OTEL_SDK_DISABLED is set*", "*experiments*", "capture: OTEL_SDK_DISABLED*"]
    )


@pytest.mark.parametrize(
    ("sampler", "share", "told"),
    [
        ("always_off", "", True), ("parentbased_always_off", "", True),
        ("traceidratio", "0.1", True), ("traceidratio", "", False),
        ("parentbased_traceidratio", "1.0", False), ("always_on", "0.1", False),
    ],
)  # fmt: skip
def test_a_sampler_of_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, sampler: str, share: str, told: bool
) -> None:
    """With the other problems of the environment, which every kind of session tells first."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
    problems = environment_problems()
    assert [each.partition(":")[0] for each in problems] == (
        [f"OTEL_TRACES_SAMPLER={sampler}"] if told else []
    )


PROVIDERS = """
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

class Broken(type(ALWAYS_ON)):
    def should_sample(self, *args, **kwargs):
        raise RuntimeError("no")

@pytest.fixture(scope="session", autouse=True)
def provider():
    trace.set_tracer_provider({provider})

@pytest.mark.experiment("e")
def test_it(): pass
"""


@pytest.mark.parametrize(
    ("provider", "line"),
    [
        ("TracerProvider(sampler=ALWAYS_OFF)", "the sampler (AlwaysOff*) drops every span*"),
        ("trace.NoOpTracerProvider()", "the tracer provider (NoOp*) takes no span processor*"),
        ("TracerProvider(sampler=Broken(0))", "the sampler could not be tried (RuntimeError: no)"),
    ],
)
def test_a_provider_without_spans_is_told(
    pytester: pytest.Pytester, provider: str, line: str
) -> None:
    """Whatever kind of provider a fixture sets, the summary says why there is nothing to see."""
    pytester.makepyfile(PROVIDERS.replace("{provider}", provider))
    with no_provider():
        result = support.run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"capture: {line}"])


def test_limits_that_make_no_sense(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the SDK cannot be made with is told, and the tests run."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    pytester.makepyfile(
        """
import pytest
@pytest.mark.experiment("e", trials=2)
def test_it(): pass
"""
    )
    result = support.run(pytester)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["capture: a span could not be captured (enter: ValueError: OTEL*"])


def test_nothing_is_printed_when_silence_is_asked_for(
    priced: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under ``-q -q`` there is neither a summary nor a warning, and no error output."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    priced.makepyfile(
        SPANS
        + """
@pytest.mark.experiment("e", trials=3, budget_usd=1)
def test_it():
    ask()
"""
    )
    result = support.run(priced, "-q", "-q")
    (line,) = [line for line in result.outlines if line]
    assert line.split() == [".ss", "[100%]"]
    assert result.errlines == []


def test_a_marked_test_without_calls(priced: pytest.Pytester) -> None:
    """No calls, no lines about calls."""
    priced.makepyfile(
        """
import pytest
@pytest.mark.experiment("e")
def test_it(): pass
"""
    )
    text = support.run(priced).stdout.str().partition("= experiments =")[2]
    assert not any(word in text for word in ("call", "capture", "unpriced", "$", "nan"))


def test_without_the_sdk(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API alone makes no spans: tests run as ever, and instrumentors are refused."""
    for place in ("settings", "span_capture"):
        monkeypatch.setattr(f"pytest_crucible.session.{place}.sdk_installed", lambda: False)
    pytester.makepyfile(
        """
import pytest
@pytest.mark.experiment("e")
def test_it(): pass
"""
    )
    support.run(pytester).assert_outcomes(passed=1)
    line = support.refused(support.run(pytester, "--crucible-instrument=auto"))
    assert "pip install 'pytest-crucible[otel]'" in line


def test_a_client_that_is_imported_too_late(pytester: pytest.Pytester) -> None:
    """``auto`` instruments what is imported as a trial begins; what came later is told."""
    pytester.makepyfile(
        fake_client="",
        test_it="""
import pytest
from pytest_crucible.bridges import instrumentors

instrumentors.CLIENTS["fake"] = instrumentors.Client("fake_client", (), "it")

@pytest.mark.experiment("e")
def test_it():
    import fake_client
""",
    )
    pytester.syspathinsert()
    result = support.run(pytester, "--crucible-instrument=auto")
    result.stdout.fnmatch_lines(
        ["capture: fake was imported within a trial,*--crucible-instrument=fake"]
    )


def test_a_provider_that_a_fixture_sets(pytester: pytest.Pytester) -> None:
    """It is followed, its exporter gets every span, and its sampler is looked at."""
    pytester.makepyfile(
        SPANS
        + """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
EXPORTER = InMemorySpanExporter()

@pytest.fixture(scope="session", autouse=True)
def provider():
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(provider)

@pytest.mark.experiment("e", trials=3)
def test_it():
    ask()

def test_exported():
    assert len(EXPORTER.get_finished_spans()) == 3
"""
    )
    result = pytester.runpytest_subprocess(*support.ARGUMENTS, "-W", "error")
    result.assert_outcomes(passed=4)
    assert support.only(pytester).spending["default"].calls == 3


def test_http_calls_without_spans(pytester: pytest.Pytester) -> None:
    """Calls of a client that nobody instrumented are noticed, with the one line that helps."""
    root = str(Path(__file__).parent.parent.parent)
    pytester.makepyfile(
        f"import sys\nsys.path.insert(0, {root!r})"
        + """
import openai
import pytest
from tests.clients.fake_models import serve

@pytest.mark.experiment("e")
def test_it():
    with serve() as log, openai.OpenAI(base_url=log.url + "/v1", api_key="x") as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
"""
    )
    result = support.run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*1 HTTP call to a model host (127.0.0.1) but no spans: pip install*"]
    )


def test_opentelemetry_may_come_within_a_trial(pytester: pytest.Pytester) -> None:
    """Nothing of OpenTelemetry is imported before the code under test does; no span is missed."""
    pytester.makepyfile(
        """
        import sys, threading
        import pytest

        def ask():
            from opentelemetry import trace
            attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
            with trace.get_tracer("lib").start_as_current_span("chat", attributes=attributes):
                pass

        @pytest.mark.experiment("zero")
        def test_zero():
            assert "opentelemetry.trace" not in sys.modules

        @pytest.mark.experiment("first")
        def test_first(experiment):
            ask()
            assert len(experiment.events) == 2

        @pytest.mark.experiment("second")
        def test_second(experiment):
            ask()
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
            trace.set_tracer_provider(TracerProvider())
            ask()
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
            assert len(experiment.events) == 6

        def test_unmarked():
            ask()

        def test_as_it_was():
            from opentelemetry import trace
            assert type(trace._TRACER_PROVIDER_SET_ONCE).__module__ == "opentelemetry.util._once"
        """
    )
    result = pytester.runpytest_subprocess(*support.ARGUMENTS)
    result.assert_outcomes(passed=5)
    pair = ["req_llm.request.start", "req_llm.request.stop"]
    assert support.heard(pytester) == {
        "first/default": pair,
        "second/default": sorted(pair * 3),
    }


def test_a_thread_may_import_opentelemetry(pytester: pytest.Pytester) -> None:
    """Also where another thread imports it, its spans and those of the trial are captured."""
    pytester.makepyfile(
        """
        import threading
        import pytest

        def ask():
            from opentelemetry import trace
            attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
            with trace.get_tracer("lib").start_as_current_span("chat", attributes=attributes):
                pass

        @pytest.mark.experiment("e", scope="module")
        def test_first(experiment):
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
            ask()
            assert len(experiment.events) == 4

        @pytest.mark.experiment("e", scope="module")
        def test_second(experiment):
            ask()
            assert len(experiment.events) == 2
        """
    )
    result = pytester.runpytest_subprocess(*support.ARGUMENTS)
    result.assert_outcomes(passed=2)
    assert len(support.events(pytester)) == 6


def test_modules_may_be_put_back_after_opentelemetry_came(pytester: pytest.Pytester) -> None:
    """A trial that imports it under `mock.patch.dict` does not blind those after it."""
    pytester.makepyfile(
        """
        import sys
        from unittest import mock
        import pytest

        def ask():
            from opentelemetry import trace
            attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
            with trace.get_tracer("lib").start_as_current_span("chat", attributes=attributes):
                pass

        @pytest.mark.experiment("e")
        def test_put_back():
            with mock.patch.dict(sys.modules):
                ask()

        @pytest.mark.experiment("e")
        @pytest.mark.parametrize("case", range(2))
        def test_later(case):
            ask()
            from opentelemetry.sdk.trace import TracerProvider
        """
    )
    result = pytester.runpytest_subprocess(*support.ARGUMENTS)
    result.assert_outcomes(passed=3)
    assert len(support.events(pytester)) == 6
