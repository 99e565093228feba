"""How much capture changes the latency that it measures.

A call of a fixed time, and the real ``openai`` client's to a local server, each with and without an
experiment around it, in turn. The first waits for 1 ms by the clock and emits what an adapter
would, a span with tokens; of the second OpenTelemetry's spans are captured.
"""

from __future__ import annotations

import time
from statistics import median

from benchmarks.emit import capturing
from benchmarks.rounds import Row
from pytest_crucible import telemetry
from pytest_crucible.record.memory import MemoryStore

CALLS = 2_000
CALL_NS = 1_000_000


def _call() -> int:
    began = time.perf_counter_ns()
    with telemetry.span("req_llm.request", model="gpt-4o-mini", provider="openai") as span:
        until = time.perf_counter_ns() + CALL_NS
        while time.perf_counter_ns() < until:
            pass
        span.measure(input_tokens=120, output_tokens=30)
    return time.perf_counter_ns() - began


def measure(calls: int = CALLS) -> tuple[float, float]:
    """Median µs of a call without and with capture; pairs, so that drift hits both."""
    plain, captured = [], []
    store = MemoryStore()
    for _ in range(calls):
        plain.append(_call())
        with capturing(store):
            captured.append(_call())
    more = median(a - b for a, b in zip(captured, plain, strict=True))
    return median(plain) / 1000, (median(plain) + more) / 1000


def rows(calls: int = CALLS) -> list[Row]:
    return [_fixed_row(calls), _client_row(calls // 4)]


def _client_row(calls: int) -> Row:
    from benchmarks import capture

    work = "a call of the openai client to a local server"
    try:
        found = capture.measure(calls)
    except ImportError as error:
        return Row(work, f"not measured: {error.name} is not installed", met=False)
    ratio = found["measuring"] / found["without"]
    limit = capture.LIMITS["measuring"]
    more = found["measuring"] - found["without"]
    text = f"{found['without']:.0f} µs without, {more:+.0f} µs with: {ratio - 1:+.1%}"
    return Row(work, text, f"≤ {limit - 1:+.0%}", ratio <= limit)


def _fixed_row(calls: int) -> Row:
    plain, captured = measure(calls)
    more = captured - plain
    text = f"{plain:.1f} µs without, {more:+.1f} µs with: {more / plain:+.2%}"
    return Row("a call of 1 ms, with a span around it", text)
