"""Peers: other libraries that can emit the same event and store it in memory.

Every function returns a job: a function from the number of events to CPU ns per event. Building the
dicts is not measured, as they are built beforehand. If a peer is not installed, its function raises
ImportError.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import repeat
from typing import Any

NAME = "req_llm.request.stop"
MEASUREMENTS = {"duration": 1_234_567, "input_tokens": 120, "output_tokens": 30}
METADATA = {"model": "gpt-4o-mini", "provider": "openai", "cost": 0.00012}
BOUND = 10_000

Job = Callable[[int], float]
Emit = Callable[[str, Mapping[str, Any], Mapping[str, Any]], object]


def cpu_ns(emit: Emit, events: int) -> float:
    """Emit events and return the CPU time of this thread per event, in ns."""
    measurements, metadata = MEASUREMENTS, METADATA
    began = time.thread_time_ns()
    for _ in repeat(None, events):
        emit(NAME, measurements, metadata)
    return (time.thread_time_ns() - began) / events


def append() -> Job:
    """The minimum for recording: append a tuple with the time to a list of bounded length.

    The bound is small, because a long list of tuples keeps the garbage collector busy, which would
    make us look better.
    """

    def job(events: int) -> float:
        append = deque[tuple[object, ...]](maxlen=BOUND).append

        def emit(name: str, measurements: object, metadata: object) -> None:
            append((name, time.time_ns(), measurements, metadata))

        return cpu_ns(emit, events)

    return job


def blinker() -> Job:
    """A signal with one receiver, which stores."""
    from blinker import Signal

    def job(events: int) -> float:
        stored: list[tuple[object, ...]] = []
        signal = Signal(NAME)

        def receive(sender: str, measurements: object, metadata: object) -> None:
            stored.append((sender, time.time_ns(), measurements, metadata))

        signal.connect(receive)

        def emit(name: str, measurements: object, metadata: object) -> None:
            signal.send(name, measurements=measurements, metadata=metadata)

        return cpu_ns(emit, events)

    return job


def structlog() -> Job:
    """A logger that adds the time and hands the event dict to a list."""
    import structlog as peer

    def job(events: int) -> float:
        stored: list[object] = []

        def stamp(logger: object, method: str, event: Any) -> Any:
            event["time_ns"] = time.time_ns()
            return event

        def store(logger: object, method: str, event: Any) -> Any:
            stored.append(event)
            raise peer.DropEvent

        log = peer.wrap_logger(None, processors=[stamp, store]).bind()

        def emit(name: str, measurements: object, metadata: object) -> None:
            log.info(name, measurements=measurements, metadata=metadata)

        return cpu_ns(emit, events)

    return job


def stdlib_logging() -> Job:
    """A logger whose handler stores the records."""

    def job(events: int) -> float:
        stored: list[logging.LogRecord] = []

        class Store(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                stored.append(record)

        logger = logging.Logger("benchmark", logging.INFO)
        logger.addHandler(Store())

        def emit(name: str, measurements: object, metadata: object) -> None:
            logger.info(name, extra={"measurements": measurements, "metadata": metadata})

        return cpu_ns(emit, events)

    return job


def opentelemetry() -> Job:
    """A span with the same content as attributes, exported to memory."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    attributes: dict[str, Any] = {**MEASUREMENTS, **METADATA}

    def job(events: int) -> float:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
        tracer = provider.get_tracer("benchmark")

        def emit(name: str, measurements: object, metadata: object) -> None:
            with tracer.start_as_current_span(name, attributes=attributes):
                pass

        return cpu_ns(emit, events)

    return job


PEERS: dict[str, Callable[[], Job]] = {
    "blinker": blinker,
    "structlog": structlog,
    "logging": stdlib_logging,
    "OpenTelemetry span": opentelemetry,
}
