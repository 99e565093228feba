"""Plain differences between two sets of metrics: no test, no verdict."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_crucible._html import table
from pytest_crucible.metrics.summary import flatten
from pytest_crucible.metrics.values import Metrics


@dataclass(frozen=True, slots=True)
class Difference:
    """How one metric differs between two experiments; a plain difference, no verdict.

    Attributes:
        metric: ``latency.p95``, ``cost.total``, …
        baseline, candidate, difference: in the metric's unit.
        percent: change relative to the baseline in %, None where the baseline is 0.
    """

    metric: str
    baseline: float
    candidate: float
    difference: float
    percent: float | None


class Differences(tuple[Difference, ...]):
    """The result of `compare`, one difference per metric; a notebook shows it as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<differences in {len(self)} metrics>"

    def _repr_html_(self) -> str:
        return table(
            "plain differences, no verdicts",
            ("metric", "baseline", "candidate", "difference", "%"),
            ((d.metric, d.baseline, d.candidate, d.difference, d.percent) for d in self),
        )


def differences(baseline: Metrics, candidate: Metrics) -> Differences:
    """Return the difference of every metric that both have."""
    after = dict(flatten(candidate))
    rows = []
    for metric, old in flatten(baseline):
        new = after.get(metric)
        if old is not None and new is not None:
            percent = (new - old) / old * 100 if old else None
            rows.append(Difference(metric, old, new, new - old, percent))
    return Differences(rows)
