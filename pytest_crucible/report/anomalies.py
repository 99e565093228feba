"""What the summary says of anomalies: one line per experiment, and none where there are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_crucible.metrics.unusual import COLUMNS, Unusual, Worst
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.report.numbers import decimals, show

_UNITS = {"latency": "ms", "cost": "$"}
_NOUNS = {"latency": "latencies", "cost": "costs"}


def anomaly_line(metrics: Mapping[str, Metrics]) -> str | None:
    """``anomalies: 3 of 600 latencies (worst 1,204 ms, …)``.

    Args:
        metrics: of an experiment, per condition.
    """
    parts = []
    for metric in dict.fromkeys(name for each in metrics.values() for name in each.anomalies):
        found = {
            condition: each.anomalies[metric]
            for condition, each in metrics.items()
            if metric in each.anomalies
        }
        if any(each.count for each in found.values()):
            parts.append(_part(metric, found))
    return f"anomalies: {'; '.join(parts)}" if parts else None


def _part(metric: str, found: Mapping[str, Unusual]) -> str:
    count = sum(each.count for each in found.values())
    judged = sum(each.judged for each in found.values())
    noun = _NOUNS.get(metric, f"values of {metric}")
    (condition, worst) = max(
        ((condition, each.worst) for condition, each in found.items() if each.worst is not None),
        key=lambda each: abs(each[1].score),
    )
    named = [f"{condition}"] if len(found) > 1 else []
    details = ", ".join([*_worst(metric, worst), *_place(worst), *named])
    return f"{count:,} of {judged:,} {noun} ({details})"


def _worst(metric: str, worst: Worst) -> Iterator[str]:
    unit = _UNITS.get(metric, "")
    yield f"worst {show(worst.value, unit, decimals([worst.value]))}"
    if metric in COLUMNS:
        times = worst.value / worst.median
        yield f"{show(times, '', 0 if times >= 10 else decimals([times]))} × the median of " + (
            worst.event
        )
    else:
        yield f"median {show(worst.median, '', decimals([worst.median]))}"


def _place(worst: Worst) -> Iterator[str]:
    if worst.case is not None:
        yield worst.case.rpartition("::")[2]
    if worst.trial is not None and worst.trial > 1:
        yield f"trial {worst.trial}"
