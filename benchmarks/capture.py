"""What capturing costs: a client call with us, compared with the same call without us.

A real ``openai`` client asks a local server in another process. The application has its own
OpenTelemetry provider, so that its spans cost the same with and without us. All ways are measured
in every round, so that a slow machine slows all of them.

    .venv-capture/bin/python -m benchmarks capture
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples"
SERVER = """
import sys, fake_openai
fake_openai.MODELS = {"cedar-8b": (0.0, 0.0)}
with fake_openai.serve() as url:
    print(url, flush=True)
    sys.stdin.read()
"""
PACKAGES = ("openai", "httpx", "opentelemetry-sdk", "msgspec", "pytest-crucible")
ROUNDS, WARM_UP = 1500, 50
LIMITS = {"idle": 1.02, "measuring": 1.05}


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """Measure the µs of a call: ``without`` us, ``idle`` (listening, no trial), ``measuring``.

    ``without`` is a median; the others add the median of their differences to it.
    """
    from openai import DefaultHttpxClient, OpenAI
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    from pytest_crucible.bridges.opentelemetry import Bridge
    from pytest_crucible.capture.open_scope import current_scope
    from pytest_crucible.capture.recorder import close_scope, open_scope, stop_listening
    from pytest_crucible.events.scope import Scope
    from pytest_crucible.record.memory import MemoryStore

    provider = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    tracer: Any = trace.get_tracer("benchmark")
    active: Any = provider._active_span_processor
    store = MemoryStore()
    times: dict[str, list[int]] = {"without": [], "idle": [], "measuring": []}
    with (
        _server() as url,
        DefaultHttpxClient(trust_env=False) as http,
        OpenAI(base_url=url, api_key="local", max_retries=0, http_client=http) as client,
    ):

        def call() -> int:
            began = perf_counter_ns()
            with tracer.start_as_current_span(
                "chat",
                attributes={
                    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "cedar-8b",
                },
            ) as span:  # fmt: skip
                answer = client.chat.completions.create(
                    model="cedar-8b", messages=[{"role": "user", "content": "hi"}]
                )
                span.set_attribute("gen_ai.response.id", answer.id)
                span.set_attribute("gen_ai.response.model", answer.model)
                span.set_attribute("gen_ai.response.finish_reasons", ("stop",))
                span.set_attribute("gen_ai.usage.input_tokens", answer.usage.prompt_tokens)  # type: ignore[union-attr]
                span.set_attribute("gen_ai.usage.output_tokens", answer.usage.completion_tokens)  # type: ignore[union-attr]
            return perf_counter_ns() - began

        bridge = Bridge(print)
        opened = open_scope(Scope(experiment="benchmark"), store, 1)
        bridge.enter(opened)
        bridge.leave(opened)
        close_scope(opened)
        stop_listening()
        with_us = active._span_processors
        for number in range(rounds + WARM_UP):
            ways = list(times)
            for way in ways[number % 3 :] + ways[: number % 3]:
                # All ways do the same before the call: the work between trials is not measured.
                active._span_processors = () if way == "without" else with_us
                opened = open_scope(Scope(experiment="benchmark"), store, number + 2)
                token = current_scope.set(opened)
                bridge.enter(opened)
                if way != "measuring":
                    _close(bridge, opened, token)
                if way == "without":  # the bridge has added itself again
                    active._span_processors = ()
                duration_ns = call()
                if way == "measuring":
                    _close(bridge, opened, token)
                if number >= WARM_UP:
                    times[way].append(duration_ns)
        bridge.close()
    # The median of differences within rounds: the speed of the machine changes between rounds.
    plain = times["without"]
    micros = {"without": median(plain) / 1000}
    for way in LIMITS:
        extra_ns = median(a - b for a, b in zip(times[way], plain, strict=True))
        micros[way] = micros["without"] + extra_ns / 1000
    return micros


@contextmanager
def _server() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=EXAMPLES, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.communicate("")  # ends it


def _close(bridge: Any, opened: Any, token: Any) -> None:
    from pytest_crucible.capture.open_scope import current_scope
    from pytest_crucible.capture.recorder import close_scope, stop_listening

    bridge.leave(opened)
    current_scope.reset(token)
    close_scope(opened)
    stop_listening()


def main() -> int:
    """Print the figures; return 1 if a limit is exceeded."""
    micros = measure()
    worst = 0
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}; "
        + ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    )
    print(f"medians of {ROUNDS} rounds")
    print(f"without us  {micros['without']:8.1f} µs a call")
    for way, limit in LIMITS.items():
        ratio = micros[way] / micros["without"]
        worst |= ratio > limit
        print(f"{way:<10}  {micros[way]:8.1f} µs, ratio {ratio:.4f} (at most {limit})")
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
