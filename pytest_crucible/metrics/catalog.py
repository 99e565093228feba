"""The catalogue of metrics: unit, direction, range and source of observations of every metric.

Expectations, the summary and comparisons read here which metrics they may name, show and compare.
`summary` works out the numbers; `pytest_crucible.stats.metric_samples` draws the observations
behind them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pytest_crucible.metrics.directions import HIGHER as HIGHER
from pytest_crucible.metrics.directions import LOWER as LOWER
from pytest_crucible.metrics.directions import better_by_name
from pytest_crucible.metrics.formula import agreement

MIN, MAX = "min", "max"
"""Which value of a curve is its best."""

FORMULA = "formula"
"""How the observations of a formula are drawn, see `Metric.drawn`."""

Range = tuple[float | None, float | None]
Numbers = Mapping[str, float | None]
"""All metrics of one condition by path."""


class Observed(Protocol):
    """The observations of one condition, as far as the catalogue looks at them."""

    @property
    def success(self) -> Container[float]:
        """1 for operations that succeeded, 0 for failed ones, NaN for other events."""


Values = Callable[[Any], Iterable[tuple[str | None, float]]]
"""From the observations (`Group`) of one condition to pairs of case and value."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    To declare your own, give the attributes that you know, under its name::

        metrics={"token_f1": Metric(better="higher", range=(0, 1)), "words": "lower"}

    Attributes:
        path: as expectations write it, ``latency.p95``; the name of a declared metric, which the
            key of the mapping gives.
        unit: ``ms``, ``$``, ``tokens``, ``%`` (a share between 0 and 1, shown in percent),
            or empty.
        better: ``lower`` or ``higher``; None if neither is better, or nobody said which.
        range: the smallest and the largest possible value; None for no limit.
        margin: the largest change that does not matter: in the unit of the metric if its range has
            two ends, else relative to the baseline. None for the margin of the comparison.
        formula: arithmetic over the sums of recorded numbers: ``2*tp / (2*tp + fp + fn)``.
        values: only for metrics of plugins: a function from the observations of a condition
            (`Group`) to pairs of case and value; the metric is the mean of the values. None for
            numbers given to ``record`` or ``log`` under this name.
        drawn: how its observations are drawn, by the name that `metric_samples` has for it; None
            for facts about the run (totals, counts, extremes), which have no interval.
        statistic: which statistic of its observations a built-in metric is.
        shown: whether the summary shows it, given the numbers of all conditions; None for never.
        compared: whether comparisons have a row for it, given the observations of one side; None
            for never.
        claimed: whether expectations can name it.
    """

    path: str = ""
    unit: str = ""
    better: str | None = None
    range: Range = (None, None)
    margin: float | None = None
    formula: str | None = None
    values: Values | None = None
    drawn: str | None = None
    statistic: str = "total"
    shown: Callable[[Sequence[Numbers]], bool] | None = None
    compared: Callable[[Observed], bool] | None = None
    claimed: bool = True


# --- built-in metrics -------------------------------------------------------------------------

STATISTICS = (
    "count", "total", "mean", "median", "std_dev", "min", "max", "p50", "p90", "p95", "p99",
)  # fmt: skip
"""The fields of a `Distribution`."""

NEUTRAL = ("count", "std_dev", "steps", "best_step")
"""Statistics that say how much there is, or how it varies: neither direction is better."""

_ESTIMATED = frozenset({"mean", "median", "p50", "p90", "p95", "p99", "per_1k", "per_1m"})
"""Statistics that generalise beyond the run, so have an interval. The others are facts about it."""

SHARE: Range = (0.0, 1.0)
POSITIVE: Range = (0.0, None)


def _always(_: object) -> bool:
    return True


def _any(path: str) -> Callable[[Sequence[Numbers]], bool]:
    """Return a predicate: does any condition have a number at ``path`` that is not zero?"""
    return lambda arms: any(arm.get(path) for arm in arms)


def _there(path: str) -> Callable[[Sequence[Numbers]], bool]:
    """Return a predicate: does any condition have a number at ``path``, even zero?"""
    return lambda arms: any(path in arm for arm in arms)


def _rerun(arms: Sequence[Numbers]) -> bool:
    """Whether some trial had more than one attempt."""
    return any(
        (arm.get("tests.attempts") or 0)
        > (arm.get("tests.trials") or 0) - (arm.get("tests.missing") or 0)
        for arm in arms
    )


def _family(head: str, metric: Metric, statistics: Sequence[str] = STATISTICS) -> Iterator[Metric]:
    """Make a metric for every statistic of a set of numbers.

    Args:
        head: path of the set: ``latency``.
        metric: what the metrics have in common.
        statistics: the last part of their paths.
    """
    for statistic in statistics:
        member = replace(
            metric,
            path=f"{head}.{statistic}",
            drawn=metric.drawn if statistic in _ESTIMATED else None,
            statistic=statistic,
        )
        if statistic == "count":
            member = replace(member, unit="", better=None, range=POSITIVE)
        elif statistic == "std_dev":
            member = replace(member, better=None, range=POSITIVE)
        elif statistic == "total" and metric.range[0] == 0:
            member = replace(member, range=POSITIVE)
        yield member


def _with(metrics: Iterable[Metric], path: str, **changes: Any) -> Iterator[Metric]:
    """Change attributes of the metric at ``path``; leave the others as they are."""
    return (replace(m, **changes) if m.path == path else m for m in metrics)


def _rate(path: str, drawn: str, better: str = HIGHER, **more: Any) -> Metric:
    return Metric(path, "%", better, SHARE, drawn=drawn, statistic="rate", **more)


def _counts(head: str, names: Iterable[str], better: str | None = None) -> Iterator[Metric]:
    return (Metric(f"{head}.{name}", "", better, POSITIVE) for name in names)


_OF_TRIALS = (
    _rate("success_rate", "trials", shown=_any("tests.trials"), compared=_always),
    _rate("pass_rate", "trials"),
    *_counts("tests", ("trials",)),
    *_counts("tests", ("passed",), HIGHER),
    *_counts("tests", ("failed", "errored", "crashed", "skipped", "missing", "attempts"), LOWER),
    _rate("tests.pass_rate", "trials"),
    _rate("tests.first_pass_rate", "first attempts", shown=_rerun),
    _rate("flip_rate", "flips", LOWER, shown=_always),
)

_LATENCY = Metric("latency", "ms", LOWER, POSITIVE, drawn="latency")
_COST = Metric("cost", "$", LOWER, POSITIVE, drawn="cost")
_TOKENS = Metric("tokens", "tokens", LOWER, POSITIVE)
_DURATION = Metric("tests.duration_ms", "ms", LOWER, POSITIVE, drawn="durations")

_OF_EVENTS = (
    # Typical latency here, cost and tokens per trial below: rows that only comparisons have.
    replace(_LATENCY, statistic="typical", compared=_always, claimed=False),
    *_with(
        _with(_family("latency", _LATENCY), "latency.p50", shown=_any("latency.count")),
        "latency.p95",
        shown=_any("latency.count"),
        compared=_always,
    ),
    *_with(
        _family("tests.duration_ms", _DURATION),
        "tests.duration_ms.p50",
        shown=lambda arms: not any(arm.get("latency.count") for arm in arms),
    ),
    *_counts("reliability", ("total",)),
    *_counts("reliability", ("successful",), HIGHER),
    *_counts("reliability", ("failed", "cancelled"), LOWER),
    _rate(
        "reliability.success_rate",
        "operations",
        shown=lambda arms: any(
            arm.get("reliability.failed") or not arm.get("tests.trials") for arm in arms
        ),
        compared=lambda side: 0.0 in side.success,
    ),
    _rate("reliability.failure_rate", "failures", LOWER),
    *(Metric(f"reliability.sla_{nines}", "", HIGHER, SHARE) for nines in ("99", "999", "9999")),
    *_counts("ensemble", ("predictions", "votes")),
    *_with(
        _family("ensemble.agreement", Metric("", "", HIGHER, SHARE, drawn="ensemble.agreement")),
        "ensemble.agreement.mean",
        shown=_there("ensemble.votes"),
    ),
    *_counts("hedging", ("requests", "duplicated")),
    Metric(
        "hedging.rate", "%", None, SHARE,
        drawn="hedging.rate", statistic="rate", shown=_there("hedging.requests"),
    ),
    Metric(
        "hedging.backup_share", "%", None, SHARE, drawn="hedging.backup_share", statistic="rate",
    ),
    Metric("hedging.duplication_cost_usd", "$", LOWER, POSITIVE),
    *_with(
        _family("hedging.saved_ms", Metric("", "ms", HIGHER, drawn="hedging.saved_ms")),
        "hedging.saved_ms.mean",
        shown=_there("hedging.requests"),
    ),
    replace(_COST, drawn="cost of trials", statistic="mean", compared=_always, claimed=False),
    *_with(
        _family("cost", _COST, ("count", "total", "mean", "median", "per_1k", "per_1m")),
        "cost.total",
        shown=_always,
    ),
    replace(_TOKENS, drawn="tokens of trials", statistic="mean", compared=_always, claimed=False),
    *_counts("tokens", ("count",)),
    *(replace(_TOKENS, path=f"tokens.{name}") for name in ("total_prompt", "total_completion")),
    replace(_TOKENS, path="tokens.total", shown=_always),
    *(
        replace(_TOKENS, path=f"tokens.mean_{name}", drawn=f"{column} tokens", statistic="mean")
        for name, column in (("prompt", "input"), ("completion", "output"), ("total", "total"))
    ),
    *(
        metric
        for name in ("latency", "cost")
        for metric in (
            Metric(f"anomalies.{name}.count", "", LOWER, POSITIVE),
            Metric(f"anomalies.{name}.share", "%", LOWER, SHARE),
        )
    ),
)  # fmt: skip

BUILT_IN = {metric.path: metric for metric in (*_OF_TRIALS, *_OF_EVENTS)}

RESERVED_NAMES = frozenset(path.partition(".")[0] for path in BUILT_IN)
"""Names that ``record`` and ``log`` must not take."""


def children(path: str) -> tuple[str, ...]:
    """Return the names that may follow ``path`` and a dot; none if ``path`` is a number itself."""
    return _CHILDREN.get(path, ())


def _children() -> dict[str, tuple[str, ...]]:
    by_parent: dict[str, dict[str, None]] = {}
    for metric in BUILT_IN.values():
        names = metric.path.split(".")
        for depth in range(1, len(names)):
            by_parent.setdefault(".".join(names[:depth]), {})[names[depth]] = None
    return {parent: tuple(names) for parent, names in by_parent.items()}


_CHILDREN = _children()

# --- metrics of trials repeated k times, and numbers that users record -------------------------

PASSES = re.compile(r"pass_(at|hat)_(\d+)$")
"""``pass_at_3``: at least one of three trials passes; ``pass_hat_3``: all three do."""

CURVE_STATISTICS = ("steps", "first", "last", "best", "best_step")
"""Statistics of a logged number: ``loss.last``, ``loss.best_step``, …"""


def _unit_by_name(name: str) -> str:
    return "ms" if name.endswith("_ms") else "$" if name.endswith("_usd") else ""


class Catalog:
    """The metrics of one experiment: built-in and declared ones.

    Args:
        declared: metrics of plugins and of the experiment's author. If two have the same name, the
            later one counts.
    """

    def __init__(self, declared: Iterable[Metric] = ()) -> None:
        self.declared = {metric.path: metric for metric in declared}

    def __getitem__(self, path: str) -> Metric:
        """Return the metric at a path; if nobody declared it, its name tells what it can."""
        built_in = BUILT_IN.get(path)
        if built_in is not None:
            return built_in
        if PASSES.match(path):
            return _rate(path, "passes")
        name, statistic = path, "mean"
        if path not in self.declared:
            # Without a dot: a number that a plugin gave.
            name, _, statistic = path.rpartition(".") if "." in path else (path, "", "")
        metric = self.declared.get(name) or Metric(name)
        better = None if statistic in NEUTRAL else metric.better or better_by_name(name)
        metric = replace(metric, better=better, unit=metric.unit or _unit_by_name(name))
        if metric.formula is not None and path in self.declared:
            return replace(metric, drawn=FORMULA)
        unit = "" if statistic in ("count", "steps", "best_step") else metric.unit
        drawn = "recorded" if statistic in (*_ESTIMATED, *CURVE_STATISTICS) else None
        return replace(metric, path=path, unit=unit, drawn=drawn, statistic=statistic)

    def _in_order(self, recorded: Iterable[str]) -> Iterator[Metric]:
        """Yield the metrics of trials, the means of recorded numbers, then those of events."""
        yield from _OF_TRIALS
        yield from (self[f"{name}.mean"] for name in recorded)
        yield from _OF_EVENTS

    def shown(self, arms: Sequence[Numbers], recorded: Iterable[str]) -> Iterator[Metric]:
        """Yield the metrics that the summary shows, in order.

        Args:
            arms: the numbers of every condition.
            recorded: names given to ``record``.
        """
        for metric in self._in_order(recorded):
            if metric.path not in BUILT_IN or (metric.shown is not None and metric.shown(arms)):
                yield metric

    def compared(self, sides: Sequence[Observed], recorded: Iterable[str]) -> Iterator[Metric]:
        """Yield the metrics that comparisons may have a row for, in order.

        Args:
            sides: the observations of baseline and candidate.
            recorded: names given to ``record``.
        """
        for metric in self._in_order(recorded):
            wanted = metric.compared
            if metric.path not in BUILT_IN or (wanted is not None and any(map(wanted, sides))):
                yield metric
        yield from (
            self[path] for path, metric in self.declared.items() if metric.values or metric.formula
        )

    def formulas(self) -> Iterator[Metric]:
        """Yield the metrics that are formulas over recorded numbers."""
        return (metric for metric in self.declared.values() if metric.formula is not None)

    def agreements(self) -> Iterator[tuple[Metric, tuple[str, tuple[str, ...]]]]:
        """Yield those formulas that are agreements of raters, with `formula.agreement` of each."""
        for metric in self.formulas():
            found = agreement(metric.formula or "0")
            if found is not None:
                yield metric, found


PLAIN = Catalog()
"""Only the built-in metrics."""
