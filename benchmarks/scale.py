"""A million events: memory, pauses, threads, constant cost, and reading them again.

What needs a fresh process runs in one: ``python -m benchmarks.scale WHAT EVENTS`` prints numbers.
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
    """Memory of this process now (Linux), or at its highest."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


# --- in a process of its own -------------------------------------------------------------------


def memory(store: Store, events: int) -> dict[str, float]:
    """What ``events`` captured events add to this process, and their CPU time."""
    with capturing(store):
        all_in(1000)
        before = resident_mb()
        cpu_ns = all_in(events)
        found = {"mb": resident_mb() - before, "ns": cpu_ns}
    if isinstance(store, MemoryStore):
        # Exactly what is kept: resident memory comes in too large pieces to tell for few events.
        kept = [*store._chunks, *store._tail]
        found["bytes"] = sum(sys.getsizeof(each) + 8 for each in kept) / (events + 1000)
    return found


def pauses(store: Store, events: int) -> dict[str, float]:
    """CPU time of single events, in µs, and how often the collector ran meanwhile.

    CPU time: that another process had the core is no pause that capture causes.
    """
    clock, execute, taken = time.thread_time_ns, telemetry.execute, [0] * events
    metadata = dict(METADATA)
    with capturing(store):
        gc.collect()
        runs = sum(each["collections"] for each in gc.get_stats())
        for number in range(events):
            began = clock()
            execute(NAME, {"duration": number, "input_tokens": 120}, metadata)
            taken[number] = clock() - began
        runs = sum(each["collections"] for each in gc.get_stats()) - runs
    taken.sort()
    return {
        "p99.99": taken[int(events * 0.9999)] / 1000, "worst": taken[-1] / 1000, "gc": float(runs)
    }  # fmt: skip


def query(events: int) -> dict[str, float]:
    """Milliseconds of a filtered query: on a list of events, and on loaded columns."""
    from pytest_crucible import experiment

    with experiment("benchmark") as handle:
        all_in(events)
        view = handle.events
    began = time.perf_counter_ns()
    len(view.query(name="req_llm.*", success=True))
    filtered = time.perf_counter_ns()
    columns = view.columns()
    loaded = time.perf_counter_ns()
    asked = []
    for _ in range(7):
        start = time.perf_counter_ns()
        columns.query(name="req_llm.*", success=True)
        asked.append((time.perf_counter_ns() - start) / 1e6)
    return {
        "filter": (filtered - began) / 1e6, "load": (loaded - filtered) / 1e6,
        "columns": statistics.median(asked),
    }  # fmt: skip


def _alone(what: str, events: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", what, str(events)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def run_alone(what: str, events: int) -> dict[str, float]:
    """The other end of `_alone`."""
    if what == "query":
        return query(events)
    action: Callable[[Any, int], dict[str, float]] = pauses if what.startswith("pause") else memory
    if not what.endswith("spool"):
        return action(MemoryStore(), events)
    with tempfile.TemporaryDirectory() as temporary:
        store = SpoolStore(Path(temporary) / "bench.spool", header())
        found = action(store, events)
        store.close()
        return found


# --- threads -----------------------------------------------------------------------------------


def together(threads: int, events: int) -> float:
    """Wall ns per event of several threads emitting; raises if one is lost."""
    store = MemoryStore()
    with capturing(store):
        before = store.position()
        ready = threading.Barrier(threads + 1)

        def work() -> None:
            ready.wait()
            all_in(events // threads)

        # By context, as in an executor: a bare thread would take the slower way of "sole".
        contexts = [copy_context() for _ in range(threads)]
        workers = [threading.Thread(target=each.run, args=(work,)) for each in contexts]
        for worker in workers:
            worker.start()
        ready.wait()
        began = time.perf_counter_ns()
        for worker in workers:
            worker.join()
        taken = time.perf_counter_ns() - began
        kept = store.position() - before
    if kept != events // threads * threads:
        raise AssertionError(f"{events - kept} of {events} events were lost")
    return taken / events


# --- rows --------------------------------------------------------------------------------------


def rows(events: int = EVENTS, rounds: int = ROUNDS) -> list[Row]:
    return [
        *_memory_rows(events, rounds),
        *_pause_rows(events),
        _thread_row(events // 5, rounds),
        _constant_row(events, rounds),
        *_read_rows(events, rounds),
    ]


def _memory_rows(events: int, rounds: int) -> list[Row]:
    found = []
    for kind, most in (("memory", 170), ("spool", 10)):
        values = Figure(tuple(_alone(f"memory {kind}", events)["mb"] for _ in range(rounds)))
        limit = most * events / EVENTS if kind == "memory" else most
        found.append(
            Row(
                f"memory of {events:,} events, {kind}",
                f"{values.median:,.1f} MB ± {values.spread:.0%}",
                f"≤ {limit:g} MB",
                values.median <= limit,
            )
        )
    return found


def _pause_rows(events: int) -> list[Row]:
    found = []
    for kind in ("memory", "spool"):
        seen = _alone(f"pause {kind}", events)
        text = f"p99.99 {seen['p99.99']:.0f} µs, worst {seen['worst']:,.0f} µs, gc {seen['gc']:.0f}"
        met = seen["p99.99"] <= 1000 and seen["gc"] == 0
        found.append(Row(f"pauses at {events:,} events, {kind}", text, "≤ 1 ms, no gc", met))
    return found


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
        # Small ones wobble, and are quick.
        many = [_alone("memory memory", size) for _ in range(rounds if size <= events else 3)]
        time_ns[size] = Figure(tuple(each["ns"] for each in many)).median
        size_bytes[size] = Figure(tuple(each["bytes"] for each in many)).median
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
    seen = _alone("query", events)
    return [
        Row(
            f"all metrics of {events:,} events, from disk",
            f"{seconds.median:.2f} s ± {seconds.spread:.0%}, peak {peak.median:.0f} MB",
            "≤ 3 s, ≤ 300 MB",
            seconds.median <= 3 and peak.median <= 300,
        ),
        Row(
            f"query of {events:,} events in loaded columns",
            f"{seen['columns']:.1f} ms after {seen['load'] / 1000:.1f} s of loading",
            "≤ 10 ms",
            seen["columns"] <= 10,
        ),
        Row("the same, event by event from memory", f"{seen['filter'] / 1000:.1f} s"),
    ]


if __name__ == "__main__":
    print(json.dumps(run_alone(sys.argv[1], int(sys.argv[2]))))
