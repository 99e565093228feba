"""The emit path: CPU time of one event, compared with peers in the same rounds.

``python -m benchmarks emit``
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.peers import BOUND, METADATA, NAME, PEERS, append, cpu_ns
from benchmarks.rounds import ROUNDS, Figure, Row, interleaved
from pytest_crucible import telemetry
from pytest_crucible.capture.frames import SCHEMA, HeaderFrame
from pytest_crucible.capture.open_scope import current_scope
from pytest_crucible.capture.recorder import close_scope, open_scope, stop_listening
from pytest_crucible.events.scope import Scope
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.store import Store

EVENTS = 100_000
"""Number of events in a round."""

# By way: limit in ns, and limit as a multiple of a bounded append.
LIMITS = {
    "no experiment open": (50, 0.4),
    "captured, dicts built": (500, 4.0),
    "captured, all in": (650, None),
    "captured into the spool, all in": (850, None),
    "span, start and stop": (2000, None),
}


@contextmanager
def capturing(store: Store) -> Iterator[None]:
    """Attribute the events of this block to an experiment, by context."""
    opened = open_scope(Scope(experiment="benchmark"), store, 1)
    token = current_scope.set(opened)
    try:
        yield
    finally:
        current_scope.reset(token)
        close_scope(opened)
        stop_listening()


def header() -> HeaderFrame:
    """Return the header of a spool file."""
    return HeaderFrame(SCHEMA, "run", "bench", "0", 1, "here", 0, 0)


def all_in(events: int) -> float:
    """Measure CPU ns per event, including the building of its dicts, with a changing number."""
    execute = telemetry.execute
    began = time.thread_time_ns()
    for number in range(events):
        execute(
            NAME,
            {"duration": number, "input_tokens": 120, "output_tokens": 30},
            {"model": "gpt-4o-mini", "provider": "openai", "cost": 0.00012},
        )
    return (time.thread_time_ns() - began) / events


def _spans(events: int) -> float:
    span = telemetry.span
    began = time.thread_time_ns()
    for _ in range(events):
        with span("req_llm.request", METADATA):
            pass
    return (time.thread_time_ns() - began) / events


def _in_memory(job: Callable[[int], float], events: int) -> float:
    with capturing(MemoryStore()):
        return job(events)


def _spooled(folder: Path, events: int) -> float:
    path = folder / "bench.spool"
    store = SpoolStore(path, header())
    try:
        with capturing(store):
            return all_in(events)
    finally:
        store.close()
        path.unlink()


def measure(events: int = EVENTS, rounds: int = ROUNDS) -> tuple[dict[str, Figure], list[str]]:
    """Return CPU ns per event for every way, and the names of peers that are not installed."""
    execute = partial(cpu_ns, telemetry.execute)
    jobs: dict[str, Callable[[], float]] = {"bounded append": partial(append(), events)}
    missing = []
    for name, make in PEERS.items():
        try:
            slow = name.startswith("OpenTelemetry")  # so slow that it gets fewer events
            jobs[name] = partial(make(), events // 10 if slow else events)
        except ImportError:
            missing.append(name)
    with tempfile.TemporaryDirectory() as temporary:
        jobs |= {
            "no experiment open": partial(execute, events),
            "captured, dicts built": partial(_in_memory, execute, events),
            "captured, all in": partial(_in_memory, all_in, events),
            "captured into the spool, all in": partial(_spooled, Path(temporary), events),
            "span, start and stop": partial(_in_memory, _spans, events),
        }
        return interleaved(jobs, rounds), missing


def rows(events: int = EVENTS, rounds: int = ROUNDS) -> list[Row]:
    """Measure the emit path and the peers; return the rows of the table."""
    figures, missing = measure(events, rounds)
    least, built = figures["bounded append"], figures["captured, dicts built"]
    table = [Row(f"append a tuple to a list of at most {BOUND:,}", _ns(least))]
    for name, (limit_ns, limit_ratio) in LIMITS.items():
        figure, ratio = figures[name], figures[name].over(least)
        must, met = f"≤ {limit_ns} ns", figure.median <= limit_ns
        if limit_ratio is not None:
            must, met = f"{must}, ≤ {limit_ratio:g} ×", met and ratio <= limit_ratio
        table.append(Row(f"execute: {name}", f"{_ns(figure)}, {ratio:.2f} × append", must, met))
    for name in PEERS:
        if name in missing:
            table.append(Row(f"{name}, storing it", "not installed", "", False))
            continue
        share = 30 if name.startswith("OpenTelemetry") else 4
        ratio = figures[name].over(built)
        text = f"{_ns(figures[name])}, {ratio:.1f} × ours"
        table.append(Row(f"{name}, storing it", text, f"≥ {share} × ours", ratio >= share))
    return table


def _ns(figure: Figure) -> str:
    return f"{figure.median:,.0f} ns ± {figure.spread:.0%}"


def main() -> None:
    """Print the rows of the emit path."""
    for row in rows():
        print(f"{row.work:52} {row.found:32} {row.must}")
