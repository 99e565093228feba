"""How much capture changes the latency that it measures.

Two calls are measured, alternately with and without an experiment around them. The first waits 1 ms
by the clock and emits a span with tokens, as an adapter would. The second is a call of the real
``openai`` client to a local server, whose OpenTelemetry spans are captured.
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
    """Return the µs of a call without and with capture.

    The first is a median; the second adds the median difference of pairs, so that drift drops out.
    """
    plain, captured = [], []
    store = MemoryStore()
    for _ in range(calls):
        plain.append(_call())
        with capturing(store):
            captured.append(_call())
    extra_ns = median(a - b for a, b in zip(captured, plain, strict=True))
    return median(plain) / 1000, (median(plain) + extra_ns) / 1000


def rows(calls: int = CALLS) -> list[Row]:
    """Measure both calls; return the rows of the table."""
    return [_fixed_row(calls), _client_row(calls // 4)]


def _client_row(calls: int) -> Row:
    from benchmarks import capture

    work = "a call of the openai client to a local server"
    try:
        micros = capture.measure(calls)
    except ImportError as error:
        return Row(work, f"not measured: {error.name} is not installed", met=False)
    ratio = micros["measuring"] / micros["without"]
    limit = capture.LIMITS["measuring"]
    extra = micros["measuring"] - micros["without"]
    text = f"{micros['without']:.0f} µs without, {extra:+.0f} µs with: {ratio - 1:+.1%}"
    return Row(work, text, f"≤ {limit - 1:+.0%}", ratio <= limit)


def _fixed_row(calls: int) -> Row:
    plain, captured = measure(calls)
    extra = captured - plain
    text = f"{plain:.1f} µs without, {extra:+.1f} µs with: {extra / plain:+.2%}"
    return Row("a call of 1 ms, with a span around it", text)
