"""Results: what a run says, once it has been read and judged; what every report shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_crucible._html import table
from pytest_crucible._text import plural
from pytest_crucible.analysis.nodes import NodeResult
from pytest_crucible.metrics.catalog import Catalog
from pytest_crucible.metrics.declared import plain
from pytest_crucible.metrics.observations import (
    Group,
)
from pytest_crucible.metrics.spending import Spending
from pytest_crucible.metrics.summary import flatten
from pytest_crucible.metrics.trials import BROKEN_OFF, MISSING, Trial
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.runs.definition import Definition
from pytest_crucible.stats.comparison import Comparison
from pytest_crucible.stats.expectations import (
    CONFIRMED,
    INCONCLUSIVE,
    REJECTED,
    Verdict,
)
from pytest_crucible.stats.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """One experiment of a run.

    Attributes:
        definition: as its author described it.
        conditions: in order; the first is the baseline.
        metrics: per condition.
        catalog: what is known of the metrics.
        groups: the observations per condition.
        spending: calls of models and their cost per condition.
        verdicts: of every expectation for every condition it applies to.
        comparisons: of every other condition with the baseline, by condition.
        trials: what became of every trial, over all conditions.
        errors: failed operations by error, over all conditions.
        broken_off: processes that did not say how many operations a reservoir had seen.
        invalid: what the catalog says is wrong with events, with how many of them; over all
            conditions. ``refused`` are those that ``validate="error"`` does not let pass.
    """

    definition: Definition
    conditions: tuple[str, ...]
    metrics: Mapping[str, Metrics]
    catalog: Catalog
    groups: Mapping[str, Group]
    spending: Mapping[str, Spending]
    verdicts: tuple[Verdict, ...]
    comparisons: Mapping[str, tuple[Comparison, ...]]
    trials: tuple[Trial, ...]
    errors: Mapping[str, int]
    broken_off: tuple[str, ...] = ()
    invalid: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        told = [", ".join(map(repr, self.conditions)), plural(len(self.trials), "trial")]
        told += [self.verdict] if self.verdict else []
        return f"<result of {self.definition.name!r}: {', '.join(told)}>"

    def _repr_html_(self) -> str:
        name = self.definition.name
        tables = [table(name, _COLUMNS, _arm_rows((self,)))]
        if self.verdicts:
            rows = ((j.expectation, j.condition, j.verdict, j.observed) for j in self.verdicts)
            tables.append(table("expectations", ("expectation", "condition", "", "is"), rows))
        for condition, comparisons in self.comparisons.items():
            caption = f"{condition} against {self.baseline}"
            tables.append(table(caption, COMPARED, map(comparison_cells, comparisons)))
        return "".join(tables)

    @property
    def verdict(self) -> str | None:
        """The worst of `verdicts`; None if there are none."""
        verdicts = {each.verdict for each in self.verdicts}
        for verdict in (REJECTED, INCONCLUSIVE, CONFIRMED):
            if verdict in verdicts:
                return verdict
        return None

    @property
    def baseline(self) -> str:
        """The condition that the others are compared with."""
        return arms_of(self.conditions, self.groups)[0]

    @property
    def recorded(self) -> int:
        """Trials that have an outcome."""
        return sum(trial.outcome not in (MISSING, "skipped", *BROKEN_OFF) for trial in self.trials)

    def subject(self, condition: str) -> Subject:
        """One condition, for `judge` and for intervals."""
        numbers = dict(flatten(self.metrics[condition]))
        return Subject(self.groups[condition], numbers, self.catalog)

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "definition": self.definition.to_dict(),
            "declared": [plain(metric) for metric in self.catalog.declared.values()],
            "conditions": {
                condition: metrics.to_dict() for condition, metrics in self.metrics.items()
            },
            "spending": {name: asdict(each) for name, each in self.spending.items()},
            "trials": len(self.trials),
            "recorded": self.recorded,
            "verdict": self.verdict,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "comparisons": {
                condition: [asdict(each) for each in comparisons]
                for condition, comparisons in self.comparisons.items()
            },
            "invalid": dict(self.invalid),
            "models": sorted({model for group in self.groups.values() for model in group.models}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that one run says.

    Attributes:
        run: its id.
        experiments: in order of appearance.
        nodes: per process.
        incomplete: why the record is incomplete, a sentence each; empty if it is complete.
        unattributed, late, sole, degraded: how many events were so; see `Event`.
        notes: what only the session that made the run could know to be missing.
        noted: whether a node said that it lost something.
        capture: what kept spans from being captured, with the nodes that say so.
        budgets: budgets that were spent, a sentence each.
        problems: what went wrong in plugins, a sentence each.
    """

    run: str
    experiments: tuple[ExperimentResult, ...]
    nodes: tuple[NodeResult, ...]
    incomplete: tuple[str, ...]
    unattributed: int = 0
    late: int = 0
    sole: int = 0
    degraded: int = 0
    notes: tuple[str, ...] = ()
    noted: bool = False
    capture: Mapping[str, Sequence[str]] = field(default_factory=dict)
    budgets: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __repr__(self) -> str:
        trials = sum(len(each.trials) for each in self.experiments)
        told = [plural(len(self.experiments), "experiment"), plural(trials, "trial")]
        told += dict.fromkeys(each.verdict for each in self.experiments if each.verdict)
        told += ["incomplete"] if self.incomplete else []
        return f"<results of run {self.run!r}: {', '.join(told)}>"

    def _repr_html_(self) -> str:
        missing = table("incomplete", (), ((each,) for each in self.incomplete))
        arms = table(f"run {self.run}", _COLUMNS, _arm_rows(self.experiments))
        return arms + (missing if self.incomplete else "")

    def with_notes(self, notes: Sequence[str]) -> Results:
        """The same with more reasons for which the record is incomplete."""
        if not notes:
            return self
        return replace(
            self,
            incomplete=tuple(dict.fromkeys([*self.incomplete, *notes])),
            notes=tuple(dict.fromkeys([*self.notes, *notes])),
            noted=True,
        )

    def unmet(self, inconclusive: str) -> list[tuple[str, Verdict]]:
        """The expectations that fail a gate, each with the name of its experiment.

        Rejected ones; and open ones, where the marker, or else ``inconclusive``, says "fail".
        """
        return [
            (each.definition.name, verdict)
            for each in self.experiments
            for verdict in each.verdicts
            if verdict.verdict == REJECTED
            or (
                verdict.verdict == INCONCLUSIVE
                and (each.definition.inconclusive or inconclusive) == "fail"
            )
        ]

    @property
    def refused(self) -> bool:
        """Whether events were not as the catalog says, where ``validate="error"`` asks for it."""
        return any(each.refused for each in self.experiments)

    @property
    def lost(self) -> bool:
        """Whether something is missing: trials crashed or never ran, a node broke off, …"""
        return (
            self.noted
            or any(not node["closed"] for node in self.nodes)
            or any(
                trial.outcome in (MISSING, *BROKEN_OFF)
                for each in self.experiments
                for trial in each.trials
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """For the manifest: definitions, metrics, verdicts, completeness."""
        return {
            "experiments": {each.definition.name: each.to_dict() for each in self.experiments},
            "nodes": list(self.nodes),
            "completeness": {
                "complete": not self.incomplete,
                "reasons": list(self.incomplete),
                "notes": list(self.notes),
                "unattributed_events": self.unattributed,
                "late_events": self.late,
                "sole_events": self.sole,
                "degraded_values": self.degraded,
                "capture": list(self.capture),
                "budgets": list(self.budgets),
            },
        }


_COLUMNS = (
    "experiment", "condition", "verdict", "trials", "success rate", "latency p50, ms",
    "latency p95, ms", "cost, USD",
)  # fmt: skip
COMPARED = ("metric", "verdict", "baseline", "candidate", "p")


def _arm_rows(experiments: Iterable[ExperimentResult]) -> Iterator[tuple[object, ...]]:
    for each in experiments:
        for condition, metrics in each.metrics.items():
            rate = each.subject(condition).estimate("success_rate").value
            yield (
                each.definition.name, condition, each.verdict, metrics.tests.trials, rate,
                metrics.latency.p50, metrics.latency.p95, metrics.cost.total,
            )  # fmt: skip


def comparison_cells(each: Comparison) -> tuple[object, ...]:
    """One comparison as a row with the columns `COMPARED`."""
    return each.metric, each.verdict, each.baseline, each.candidate, each.p


def arms_of(conditions: Sequence[str], groups: Mapping[str, Group]) -> list[str]:
    """The conditions that have trials, baseline first; events between trials are no arm."""
    return [each for each in conditions if groups[each].trials] or list(conditions)
