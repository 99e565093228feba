"""The metrics of one experiment under one condition, as values. `summary` works them out.

A number that cannot be worked out is None, never NaN. If a run was sampled, counts, totals, means
and percentiles are estimates for all events; minimum and maximum are those of the sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from pytest_crucible._html import short_number, table
from pytest_crucible._text import plural
from pytest_crucible.metrics.anomalies import Unusual
from pytest_crucible.metrics.curves import Logged
from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.ensembles import EnsembleMetrics, HedgingMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """How much was recorded, and when.

    Attributes:
        total_events: how many events happened; an estimate if the run was sampled.
        kept_events: how many events the sample kept; None if the run was not sampled.
        start, end: times of the first and the last event, ISO 8601 in UTC.
        duration_s: from the first to the last event, in seconds.
        event_types: number of events by name.
        unattributed: how many events were emitted without context while other experiments were
            open, too: they may belong to this one, and count nowhere. None in the metrics of a run
            with several experiments or conditions, whose `Results.unattributed` counts them.
    """

    total_events: int = 0
    kept_events: int | None = None
    start: str | None = None
    end: str | None = None
    duration_s: float = 0.0
    event_types: Mapping[str, int] = field(default_factory=dict)
    unattributed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of the ``count`` events that report one, in US dollars.

    ``per_1k`` and ``per_1m`` are the mean times 1,000 and 1,000,000.
    """

    count: int = 0
    total: float | None = None
    mean: float | None = None
    median: float | None = None
    per_1k: float | None = None
    per_1m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How operations (events that succeed or fail) ended; every operation counts once.

    ``cancelled`` operations are in neither rate. ``sla_999`` says whether the success rate is at
    least 99.9 %.
    """

    total: int = 0
    successful: int = 0
    failed: int = 0
    cancelled: int = 0
    success_rate: float | None = None
    failure_rate: float | None = None
    sla_99: bool | None = None
    sla_999: bool | None = None
    sla_9999: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens of the ``count`` events that report them."""

    count: int = 0
    total_prompt: float | None = None
    total_completion: float | None = None
    total: float | None = None
    mean_prompt: float | None = None
    mean_completion: float | None = None
    mean_total: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """Outcomes of trials. The last attempt of a trial decides; a crash is a failed trial.

    Attributes:
        trials: trials that were selected to run: passed + failed + errored + crashed + skipped +
            missing. An xpass counts as passed, an xfail as failed.
        pass_rate: passed / (trials that are neither skipped nor missing).
        first_pass_rate: the same, but the first attempt decides.
        duration_ms: setup, call and teardown together, of every attempt.
    """

    __test__ = False  # else pytest collects it as a test class

    trials: int = 0
    passed: int = 0
    failed: int = 0
    errored: int = 0
    crashed: int = 0
    skipped: int = 0
    missing: int = 0
    attempts: int = 0
    pass_rate: float | None = None
    first_pass_rate: float | None = None
    duration_ms: Distribution = field(default_factory=Distribution)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMetrics:
    """Metrics of all events with one name, including those that are parts of other events."""

    count: int = 0
    latency: Distribution = field(default_factory=Distribution)
    cost: Cost = field(default_factory=Cost)
    reliability: Reliability = field(default_factory=Reliability)
    tokens: Tokens = field(default_factory=Tokens)


_PARTS = ("summary", "latency", "cost", "reliability", "tokens", "tests", "ensemble", "hedging")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """All numbers of one experiment under one condition.

    Attributes:
        latency: in ms: the time that each trial spent in operations; outside trials, of each
            operation.
        recorded: numbers given to ``record``, by name.
        logged: numbers given to ``log``, by name.
        by_event: metrics by event name.
        custom: numbers that plugins added, by name.
        anomalies: values far from the others, in ``latency``, ``cost`` and every recorded number.
        ensemble, hedging: None if no event is about them.
    """

    experiment: str
    condition: str
    summary: Recording = field(default_factory=Recording)
    latency: Distribution = field(default_factory=Distribution)
    cost: Cost = field(default_factory=Cost)
    reliability: Reliability = field(default_factory=Reliability)
    tokens: Tokens = field(default_factory=Tokens)
    tests: Tests = field(default_factory=Tests)
    recorded: Mapping[str, Distribution] = field(default_factory=dict)
    logged: Mapping[str, Logged] = field(default_factory=dict)
    by_event: Mapping[str, EventMetrics] = field(default_factory=dict)
    custom: Mapping[str, float] = field(default_factory=dict)
    anomalies: Mapping[str, Unusual] = field(default_factory=dict)
    ensemble: EnsembleMetrics | None = None
    hedging: HedgingMetrics | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON; keys are the attributes."""
        return asdict(self)

    def __repr__(self) -> str:
        told = [plural(self.summary.total_events, "event")]
        if self.summary.unattributed:
            told.append(f"{self.summary.unattributed:,} unattributed")
        if self.tests.trials:
            told.append(plural(self.tests.trials, "trial"))
        for what, value, unit in (
            ("success rate", self.reliability.success_rate, ""),
            ("latency p50", self.latency.p50, " ms"),
            ("cost", self.cost.total, " USD"),
        ):
            if value is not None:
                told.append(f"{what} {short_number(value)}{unit}")
        return f"<metrics of {self.experiment!r} {self.condition!r}: {', '.join(told)}>"

    def _repr_html_(self) -> str:
        caption = f"{self.experiment} ({self.condition})"
        by_name = (
            (name, each.count, each.latency.mean, each.latency.p95, each.cost.total)
            for name, each in self.by_event.items()
        )
        columns = ("event", "count", "latency mean, ms", "latency p95, ms", "cost, USD")
        return table(caption, ("metric", "value"), self._numbers()) + (
            table("by event", columns, by_name) if self.by_event else ""
        )

    def _numbers(self) -> Iterator[tuple[str, float]]:
        """Every number that there is, with its path, but for those of single events."""
        parts: dict[str, object] = {name: getattr(self, name) for name in _PARTS}
        parts |= {**self.recorded, **self.logged, **self.custom}
        for name, part in parts.items():
            if name != "tests" or self.tests.trials:  # outside pytest there are none
                yield from _with_paths(name, part)


def _with_paths(path: str, part: object) -> Iterator[tuple[str, float]]:
    if isinstance(part, (int, float)):
        yield path, part
    elif is_dataclass(part):
        for each in fields(part):
            yield from _with_paths(f"{path}.{each.name}", getattr(part, each.name))
