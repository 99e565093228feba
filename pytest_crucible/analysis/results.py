"""Results: the metrics, verdicts and comparisons of a run, which every report shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_crucible._errors import DefinitionError
from pytest_crucible._html import table
from pytest_crucible._text import did_you_mean, plural
from pytest_crucible.analysis.nodes import NodeResult
from pytest_crucible.analysis.slices import Sliced, Slices, slice_names, slices_of
from pytest_crucible.analysis.trial_verdicts import nothing_ran
from pytest_crucible.metrics.catalog import Catalog
from pytest_crucible.metrics.declared import plain
from pytest_crucible.metrics.observations import (
    Group,
)
from pytest_crucible.metrics.spending import Setup, Spending
from pytest_crucible.metrics.summary import flatten
from pytest_crucible.metrics.trials import BROKEN_OFF, MISSING, SKIPPED, Trial
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.runs.experiment_definition import Definition
from pytest_crucible.stats.comparison import Comparison
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.verdict import (
    FATAL,
    INCONCLUSIVE,
    NOT_RUN,
    WORST_FIRST,
    Verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """One experiment of a run.

    Attributes:
        definition: the experiment as its author described it.
        conditions: the conditions in order; the first is the baseline.
        metrics: the metrics per condition.
        catalog: the metrics that this experiment has, with unit, direction and so on.
        groups: the observations per condition.
        spending: calls of models and their cost per condition.
        warmup: number of warm-up trials, which do not count, and their cost in USD if known.
        verdicts: one per expectation and condition to which it applies.
        comparisons: per condition except the baseline, its comparison with the baseline.
        trials: the outcome of every trial, over all conditions.
        errors: number of failed operations by error, over all conditions.
        setup: what fixtures wider than a trial spent, and what happened between trials of several
            arms; None if nothing.
        broken_off: names of processes that were killed while they filled a reservoir.
        invalid: number of events that differ from the catalog, by problem, over all conditions.
        decided: what ``stop="decided"`` saved, in words; None if all trials were needed.
        refused: those of them that fail a trial (``validate="error"``).
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
    warmup: tuple[int, float | None] = (0, None)
    setup: Setup | None = None
    broken_off: tuple[str, ...] = ()
    decided: str | None = None
    invalid: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        facts = [", ".join(map(repr, self.conditions)), plural(len(self.trials), "trial")]
        facts += [self.verdict] if self.verdict else []
        return f"<result of {self.definition.name!r}: {', '.join(facts)}>"

    def _repr_html_(self) -> str:
        name = self.definition.name
        tables = [table(name, _COLUMNS, _arm_rows((self,)))]
        if self.verdicts:
            rows = ((v.expectation, v.condition, v.verdict, v.observed) for v in self.verdicts)
            tables.append(table("expectations", ("expectation", "condition", "", "is"), rows))
        for condition, comparisons in self.comparisons.items():
            caption = f"{condition} against {self.baseline}"
            tables.append(table(caption, COMPARED, map(comparison_cells, comparisons)))
        return "".join(tables)

    @property
    def verdict(self) -> str | None:
        """The worst of `verdicts`; NOT RUN if no trial ran; None if there are no verdicts."""
        if nothing_ran(self.trials):
            return NOT_RUN
        decide = (each.verdict for each in self.verdicts if each.primary)
        return min(decide, key=WORST_FIRST.index, default=None)

    @property
    def baseline(self) -> str:
        """The condition with which the others are compared."""
        return self.arms[0]

    @property
    def arms(self) -> list[str]:
        """The conditions that have trials, baseline first; all, if none has any."""
        return arms_of(self.conditions, self.groups)

    @property
    def recorded(self) -> int:
        """Number of trials that ran to their end."""
        return sum(trial.outcome not in (MISSING, SKIPPED, *BROKEN_OFF) for trial in self.trials)

    def slices(self, names: Sequence[str] | None = None) -> tuple[Slices, ...]:
        """Return the experiment by properties of its cases, as far as these are on record.

        Args:
            names: the properties; None for those of the marker's ``slices=``.
        """
        groups = {condition: self.groups[condition] for condition in self.arms}
        known = slice_names(groups.values())
        wanted = self.definition.slices if names is None else names
        claimed = [verdict.metric for verdict in self.verdicts]
        whole = Sliced(groups, self.catalog, claimed)
        return tuple(slices_of(whole, name) for name in wanted if name in known)

    def subject(self, condition: str) -> Subject:
        """Return one condition as a `Subject`, for `judge` and for intervals."""
        numbers = dict(flatten(self.metrics[condition]))
        return Subject(self.groups[condition], numbers, self.catalog)

    @property
    def empty_slices(self) -> list[str]:
        """The names in the marker's ``slices=`` that no case of the run has a value for."""
        known = slice_names(self.groups.values())
        ran = any(trial.attempts for trial in self.trials)
        return [name for name in self.definition.slices if ran and name not in known]

    def to_dict(self, by: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the result as a dictionary, for the manifest; ``by`` as for `slices`."""
        return {
            "definition": self.definition.to_dict(),
            "setup": None if self.setup is None else asdict(self.setup),
            "declared": plain(self.catalog.declared.values()),
            "conditions": {
                condition: metrics.to_dict() for condition, metrics in self.metrics.items()
            },
            "warmup": {"trials": self.warmup[0], "cost_usd": self.warmup[1]},
            "spending": {name: asdict(each) for name, each in self.spending.items()},
            "trials": len(self.trials),
            "recorded": self.recorded,
            "decided": self.decided,
            "verdict": self.verdict,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "coverage": {
                condition: coverage
                for condition in self.conditions
                if (coverage := self.subject(condition).coverages())
            },
            "comparisons": {
                condition: [asdict(each) for each in comparisons]
                for condition, comparisons in self.comparisons.items()
            },
            "slices": [each.to_dict() for each in self.slices(by)],
            "invalid": dict(self.invalid),
            "models": sorted({model for group in self.groups.values() for model in group.models}),
        }


@dataclass(frozen=True, slots=True, repr=False)
class Arm:
    """One condition of an experiment of a run, as `compare` and `judge` take it.

    Attributes:
        run: id of the run.
        result: the experiment.
        condition: one of its conditions.
    """

    run: str
    result: ExperimentResult
    condition: str

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self.result.definition.name

    @property
    def group(self) -> Group:
        """The observations."""
        return self.result.groups[self.condition]

    @property
    def metrics(self) -> Metrics:
        """The metrics."""
        return self.result.metrics[self.condition]

    def __repr__(self) -> str:
        return f"<arm {self.experiment!r} {self.condition!r} of {self.run}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The results of one run.

    Attributes:
        run: id of the run.
        experiments: the experiments in order of appearance.
        nodes: one per process.
        incomplete: why the record is incomplete, one sentence per reason; empty if it is complete.
        unattributed, late, sole, degraded: numbers of such events; see `Event`.
        notes: those reasons that only the session that made the run could know.
        noted: whether a process, or the session, reported a loss.
        capture: why spans could not be captured, with the nodes that report it.
        budgets: one sentence per budget that was used up.
        problems: one sentence per plugin that failed.
        drifts: one sentence per arm whose latency drifted while the run went on.
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
    drifts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        trials = sum(len(experiment.trials) for experiment in self.experiments)
        facts = [plural(len(self.experiments), "experiment"), plural(trials, "trial")]
        facts += dict.fromkeys(e.verdict for e in self.experiments if e.verdict)
        facts += ["incomplete"] if self.incomplete else []
        return f"<results of run {self.run!r}: {', '.join(facts)}>"

    def _repr_html_(self) -> str:
        reasons = list(self.incomplete)
        if self.unattributed:
            reasons.append(f"{plural(self.unattributed, 'event')} not attributed")
        missing = table("incomplete", (), ((reason,) for reason in reasons))
        arms = table(f"run {self.run}", _COLUMNS, _arm_rows(self.experiments))
        return arms + (missing if reasons else "")

    def with_notes(self, notes: Sequence[str]) -> Results:
        """Return these results with further reasons why the record is incomplete."""
        if not notes:
            return self
        return replace(
            self,
            incomplete=tuple(dict.fromkeys([*self.incomplete, *notes])),
            notes=tuple(dict.fromkeys([*self.notes, *notes])),
            noted=True,
        )

    def unmet(self, inconclusive: str, not_run: bool = False) -> list[tuple[str, Verdict]]:
        """Return the verdicts that fail a gate, with the names of their experiments.

        ERRORED and REJECTED fail; INCONCLUSIVE fails if the marker says so, or by default.

        Args:
            inconclusive: the default for markers without ``inconclusive``: fail, pass or warn.
            not_run: whether NOT RUN fails, too.
        """
        return [
            (experiment.definition.name, verdict)
            for experiment in self.experiments
            for verdict in experiment.verdicts
            if verdict.primary
            and (
                verdict.verdict in FATAL
                or (not_run and verdict.verdict == NOT_RUN)
                or (
                    verdict.verdict == INCONCLUSIVE
                    and (experiment.definition.inconclusive or inconclusive) == "fail"
                )
            )
        ]

    def check_slices(self, names: Iterable[str]) -> None:
        """Check that the cases of some experiment can be sliced by every one of ``names``.

        Raises:
            DefinitionError: they cannot.
        """
        groups = (group for each in self.experiments for group in each.groups.values())
        known = slice_names(groups)
        for name in names:
            if name not in known:
                valid = ", ".join(known) or "none; the marker's slices= puts them on record"
                raise DefinitionError(
                    f"no slices by {name!r} on record; {did_you_mean(name, known)}valid: {valid}"
                )

    @property
    def not_run(self) -> list[str]:
        """Names of the experiments of which nothing ran."""
        return [each.definition.name for each in self.experiments if each.verdict == NOT_RUN]

    @property
    def refused(self) -> bool:
        """Whether events differ from the catalog in an experiment with ``validate="error"``."""
        return any(experiment.refused for experiment in self.experiments)

    @property
    def lost(self) -> bool:
        """Whether data are missing: trials crashed or never ran, a process was killed, …"""
        return (
            self.noted
            or any(not node["closed"] and "resumed" not in node for node in self.nodes)
            or any(
                trial.outcome in (MISSING, *BROKEN_OFF)
                for experiment in self.experiments
                for trial in experiment.trials
            )
        )

    def to_dict(self, by: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the results as a dictionary, for the manifest; ``by`` as for `slices`."""
        return {
            "experiments": {each.definition.name: each.to_dict(by) for each in self.experiments},
            "nodes": list(self.nodes),
            "drifts": list(self.drifts),
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
COMPARED = ("metric", "verdict", "baseline", "candidate")


def _arm_rows(experiments: Iterable[ExperimentResult]) -> Iterator[tuple[object, ...]]:
    for experiment in experiments:
        for condition, metrics in experiment.metrics.items():
            rate = experiment.subject(condition).estimate("success_rate").value
            yield (
                experiment.definition.name, condition, experiment.verdict, metrics.tests.trials,
                rate, metrics.latency.p50, metrics.latency.p95, metrics.cost.total,
            )  # fmt: skip


def comparison_cells(metric: Comparison) -> tuple[object, ...]:
    """Return the comparison of one metric as a row with the columns `COMPARED`."""
    verdict = metric.verdict if metric.primary else metric.verdict.lower()
    return metric.metric, verdict, metric.baseline, metric.candidate


def arms_of(conditions: Sequence[str], groups: Mapping[str, Group]) -> list[str]:
    """Return the conditions that have trials, baseline first; if none has any, all conditions.

    Events between trials may have a condition of their own, which is no arm.
    """
    return [condition for condition in conditions if groups[condition].trials] or list(conditions)
