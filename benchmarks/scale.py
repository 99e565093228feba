"""A million events: memory, pauses, threads, cost per event, and reading them again.

Some measurements need a fresh process: ``python -m benchmarks.scale WHAT EVENTS`` prints them as
JSON.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.emit import all_in, capturing, header
from benchmarks.peers import METADATA, NAME
from benchmarks.rounds import ROUNDS, Figure, Row, interleaved
from pytest_crucible import telemetry
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.store import Store

EVENTS = 1_000_000
THREADS = 4


def resident_mb() -> float:
    """Return the memory that this process uses now, in MB; its peak, if not on Linux."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


# --- in a fresh process ------------------------------------------------------------------------


def memory(store: Store, events: int) -> dict[str, float]:
    """Measure the MB that captured events add to this process, and the CPU ns per event."""
    with capturing(store):
        all_in(1000)
        before = resident_mb()
        cpu_ns = all_in(events)
        figures = {"mb": resident_mb() - before, "ns": cpu_ns}
    if isinstance(store, MemoryStore):
        # The size of the kept objects: resident memory grows in steps too large for few events.
        kept = [*store._chunks, *store._tail]
        figures["bytes"] = sum(sys.getsizeof(chunk) + 8 for chunk in kept) / (events + 1000)
    return figures


def pauses(store: Store, events: int) -> dict[str, float]:
    """Measure the CPU time of single events, in µs, and how often the garbage collector ran.

    CPU time, because it is no pause of capture if another process had the core.
    """
    clock, execute, times_ns = time.thread_time_ns, telemetry.execute, [0] * events
    metadata = dict(METADATA)
    with capturing(store):
        gc.collect()
        runs = sum(generation["collections"] for generation in gc.get_stats())
        for number in range(events):
            began = clock()
            execute(NAME, {"duration": number, "input_tokens": 120}, metadata)
            times_ns[number] = clock() - began
        runs = sum(generation["collections"] for generation in gc.get_stats()) - runs
    times_ns.sort()
    return {
        "p99.99": times_ns[int(events * 0.9999)] / 1000,
        "worst": times_ns[-1] / 1000,
        "gc": float(runs),
    }  # fmt: skip


def query(events: int) -> dict[str, float]:
    """Measure the ms of a filtered query: on a list of events, and on loaded columns."""
    from pytest_crucible import experiment

    with experiment("benchmark") as handle:
        all_in(events)
        view = handle.events
    began = time.perf_counter_ns()
    len(view.query(name="req_llm.*", success=True))
    filtered = time.perf_counter_ns()
    columns = view.columns()
    loaded = time.perf_counter_ns()
    times_ms = []
    for _ in range(7):
        start = time.perf_counter_ns()
        columns.query(name="req_llm.*", success=True)
        times_ms.append((time.perf_counter_ns() - start) / 1e6)
    return {
        "filter": (filtered - began) / 1e6, "load": (loaded - filtered) / 1e6,
        "columns": statistics.median(times_ms),
    }  # fmt: skip


def _alone(what: str, events: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", what, str(events)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def run_alone(what: str, events: int) -> dict[str, float]:
    """Measure, in the process that `_alone` has started.

    Args:
        what: ``query``, or ``memory`` or ``pause`` and a store: ``pause spool``.
        events: number of events.
    """
    if what == "query":
        return query(events)
    action: Callable[[Any, int], dict[str, float]] = pauses if what.startswith("pause") else memory
    if not what.endswith("spool"):
        return action(MemoryStore(), events)
    with tempfile.TemporaryDirectory() as temporary:
        store = SpoolStore(Path(temporary) / "bench.spool", header())
        figures = action(store, events)
        store.close()
        return figures


# --- threads -----------------------------------------------------------------------------------


def together(threads: int, events: int) -> float:
    """Measure the wall ns per event if several threads emit.

    Raises:
        AssertionError: events were lost.
    """
    store = MemoryStore()
    with capturing(store):
        before = store.position()
        ready = threading.Barrier(threads + 1)

        def work() -> None:
            ready.wait()
            all_in(events // threads)

        # With the context, as in an executor; without it, attribution ("sole") is slower.
        contexts = [copy_context() for _ in range(threads)]
        workers = [threading.Thread(target=context.run, args=(work,)) for context in contexts]
        for worker in workers:
            worker.start()
        ready.wait()
        began = time.perf_counter_ns()
        for worker in workers:
            worker.join()
        duration_ns = time.perf_counter_ns() - began
        kept = store.position() - before
    if kept != events // threads * threads:
        raise AssertionError(f"{events - kept} of {events} events were lost")
    return duration_ns / events


# --- rows --------------------------------------------------------------------------------------


def rows(events: int = EVENTS, rounds: int = ROUNDS) -> list[Row]:
    """Measure everything at ``events`` events; return the rows of the table."""
    return [
        *_memory_rows(events, rounds),
        *_pause_rows(events),
        _thread_row(events // 5, rounds),
        _constant_row(events, rounds),
        *_read_rows(events, rounds),
    ]


def _memory_rows(events: int, rounds: int) -> list[Row]:
    table = []
    for kind, most in (("memory", 170), ("spool", 10)):
        values = Figure(tuple(_alone(f"memory {kind}", events)["mb"] for _ in range(rounds)))
        limit = most * events / EVENTS if kind == "memory" else most
        table.append(
            Row(
                f"memory of {events:,} events, {kind}",
                f"{values.median:,.1f} MB ± {values.spread:.0%}",
                f"≤ {limit:g} MB",
                values.median <= limit,
            )
        )
    return table


def _pause_rows(events: int) -> list[Row]:
    table = []
    for kind in ("memory", "spool"):
        pause = _alone(f"pause {kind}", events)
        p, worst, collections = pause["p99.99"], pause["worst"], pause["gc"]
        text = f"p99.99 {p:.0f} µs, worst {worst:,.0f} µs, gc {collections:.0f}"
        met = p <= 1000 and collections == 0
        table.append(Row(f"pauses at {events:,} events, {kind}", text, "≤ 1 ms, no gc", met))
    return table


def _thread_row(events: int, rounds: int) -> Row:
    figures = interleaved(
        {"one": partial(together, 1, events), "four": partial(together, THREADS, events)}, rounds
    )
    ratio = figures["one"].over(figures["four"])
    text = f"nothing lost, {ratio:.2f} × one thread ± {figures['four'].spread:.0%}"
    return Row(f"{THREADS} threads emitting", text, "≥ 0.8 ×", ratio >= 0.8)


def _constant_row(events: int, rounds: int) -> Row:
    sizes = [events // 100, events // 10, events, events * 10]
    time_ns, size_bytes = {}, {}
    for size in sizes:
        # More rounds for small sizes: they vary more, and are quick.
        runs = [_alone("memory memory", size) for _ in range(rounds if size <= events else 3)]
        time_ns[size] = Figure(tuple(run["ns"] for run in runs)).median
        size_bytes[size] = Figure(tuple(run["bytes"] for run in runs)).median
    middle = time_ns[events], size_bytes[events]
    worst = [
        max(abs(values[size] / centre - 1) for size in sizes)
        for values, centre in ((time_ns, middle[0]), (size_bytes, middle[1]))
    ]
    text = " · ".join(f"{time_ns[size]:.0f} ns {size_bytes[size]:.0f} B" for size in sizes)
    met = max(worst) <= 0.10
    return Row(f"per event, {sizes[0]:,} to {sizes[-1]:,} in tens", text, "± 10 %", met)


def _read_rows(events: int, rounds: int) -> list[Row]:
    from benchmarks.merging import measure_one

    seconds, peak = measure_one(events, rounds)
    query_ms = _alone("query", events)
    return [
        Row(
            f"all metrics of {events:,} events, from disk",
            f"{seconds.median:.2f} s ± {seconds.spread:.0%}, peak {peak.median:.0f} MB",
            "≤ 3 s, ≤ 300 MB",
            seconds.median <= 3 and peak.median <= 300,
        ),
        Row(
            f"query of {events:,} events in loaded columns",
            f"{query_ms['columns']:.1f} ms after {query_ms['load'] / 1000:.1f} s of loading",
            "≤ 10 ms",
            query_ms["columns"] <= 10,
        ),
        Row("the same, event by event from memory", f"{query_ms['filter'] / 1000:.1f} s"),
    ]


if __name__ == "__main__":
    print(json.dumps(run_alone(sys.argv[1], int(sys.argv[2]))))
