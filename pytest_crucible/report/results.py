"""Results: a run, read and judged; what every report shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pytest_crucible._experiment import Definition
from pytest_crucible.artifact.run import Run
from pytest_crucible.metrics.observations import Enricher, Group, Observations, observe
from pytest_crucible.metrics.summary import Metrics, flatten, summarise
from pytest_crucible.metrics.trials import MISSING, UNFINISHED, Trial
from pytest_crucible.stats.expectations import (
    CONFIRMED,
    INCONCLUSIVE,
    REJECTED,
    Judgement,
    judge,
    parse,
)

CustomMetrics = Callable[[Group, Metrics], Mapping[str, float]]
"""Called with the observations and the metrics of one condition; returns more numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """One experiment of a run.

    Attributes:
        definition: as its author described it.
        conditions: in order; the first is the baseline.
        metrics: per condition.
        judgements: of every expectation for every condition it applies to.
        trials: what became of every trial, over all conditions.
        errors: failed operations by error, over all conditions.
    """

    definition: Definition
    conditions: tuple[str, ...]
    metrics: Mapping[str, Metrics]
    judgements: tuple[Judgement, ...]
    trials: tuple[Trial, ...]
    errors: Mapping[str, int]

    @property
    def verdict(self) -> str | None:
        """The worst of the judgements; None where nothing was expected."""
        verdicts = {each.verdict for each in self.judgements}
        for verdict in (REJECTED, INCONCLUSIVE, CONFIRMED):
            if verdict in verdicts:
                return verdict
        return None

    @property
    def recorded(self) -> int:
        """Trials that have an outcome."""
        return sum(trial.outcome not in (MISSING, UNFINISHED, "skipped") for trial in self.trials)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that one run says.

    Attributes:
        run: its id.
        experiments: in order of appearance.
        nodes: per process: its name, events, and whether it ended in good order.
        incomplete: why the record is incomplete, a sentence each; empty if it is complete.
        unattributed, late, sole, degraded: how many events were so; see `Event`.
    """

    run: str
    experiments: tuple[ExperimentResult, ...]
    nodes: tuple[dict[str, Any], ...]
    incomplete: tuple[str, ...]
    unattributed: int = 0
    late: int = 0
    sole: int = 0
    degraded: int = 0

    @property
    def lost(self) -> bool:
        """Whether trials crashed or never ran, or a node did not end in good order."""
        return any(not node["closed"] for node in self.nodes) or any(
            trial.outcome in (MISSING, UNFINISHED)
            for each in self.experiments
            for trial in each.trials
        )

    @property
    def rejected(self) -> bool:
        return any(each.verdict == REJECTED for each in self.experiments)

    def to_dict(self) -> dict[str, Any]:
        """For the manifest: definitions, metrics, verdicts, completeness."""
        return {
            "experiments": {
                each.definition.name: {
                    "definition": each.definition.to_dict(),
                    "conditions": {
                        condition: metrics.to_dict() for condition, metrics in each.metrics.items()
                    },
                    "trials": len(each.trials),
                    "recorded": each.recorded,
                    "verdict": each.verdict,
                    "judgements": [asdict(judgement) for judgement in each.judgements],
                }
                for each in self.experiments
            },
            "nodes": list(self.nodes),
            "completeness": {
                "complete": not self.incomplete,
                "reasons": list(self.incomplete),
                "unattributed_events": self.unattributed,
                "late_events": self.late,
                "sole_events": self.sole,
                "degraded_values": self.degraded,
            },
        }


def analyse(
    run: Run, enrichers: Iterable[Enricher] = (), custom: CustomMetrics | None = None
) -> Results:
    """Read a run once and work out everything that reports show.

    Raises:
        ArtifactError: the run cannot be read.
    """
    observations = observe(run.events(), run.plan, enrichers)
    definitions = run.definitions()
    custom = custom or _custom_from(run.manifest)
    experiments = []
    for name in dict.fromkeys([*definitions, *(key[0] for key in observations.groups)]):
        groups = {
            condition: group
            for (experiment, condition), group in observations.groups.items()
            if experiment == name
        }
        if groups:
            definition = definitions.get(name) or Definition(name=name)
            experiments.append(_experiment(definition, groups, custom))
    return Results(
        run=run.id,
        experiments=tuple(experiments),
        nodes=tuple(
            {"name": node.name, "events": node.events, "closed": node.closed} for node in run.nodes
        ),
        incomplete=tuple(_incomplete(run, observations)),
        unattributed=observations.unattributed,
        late=observations.late,
        sole=observations.sole,
        degraded=observations.degraded,
    )


def _experiment(
    definition: Definition, groups: Mapping[str, Group], custom: CustomMetrics
) -> ExperimentResult:
    known = definition.conditions or ((definition.condition,) if definition.condition else ())
    conditions = tuple(dict.fromkeys([*(c for c in known if c in groups), *groups]))
    metrics = {}
    for condition in conditions:
        plain = summarise(groups[condition])
        more = custom(groups[condition], plain)
        metrics[condition] = summarise(groups[condition], more) if more else plain
    numbers = {condition: dict(flatten(each)) for condition, each in metrics.items()}
    judgements = [
        judgement
        for text in definition.expect
        for judgement in judge(parse(text, known or conditions), numbers)
    ]
    errors: dict[str, int] = {}
    for group in groups.values():
        for error, count in group.errors.items():
            errors[error] = errors.get(error, 0) + count
    return ExperimentResult(
        definition=definition,
        conditions=conditions,
        metrics=metrics,
        judgements=tuple(judgements),
        trials=tuple(trial for group in groups.values() for trial in group.trials),
        errors=errors,
    )


def _custom_from(manifest: Mapping[str, Any] | None) -> CustomMetrics:
    """Numbers that plugins added while the run was made: offline there are no plugins to ask."""
    experiments = (manifest or {}).get("experiments") or {}

    def custom(group: Group, metrics: Metrics) -> Mapping[str, float]:
        conditions = experiments.get(group.experiment, {}).get("conditions", {})
        found: Mapping[str, float] = conditions.get(group.condition, {}).get("custom", {})
        return found

    return custom


def _incomplete(run: Run, observations: Observations) -> list[str]:
    reasons = [note for node in run.nodes for note in node.notes]
    reasons += run.torn()
    reasons += [f"{node.name}: did not end in good order" for node in run.nodes if not node.closed]
    reasons += observations.failures
    trials = [trial for group in observations.groups.values() for trial in group.trials]
    for outcome, verb in ((MISSING, "never ran"), (UNFINISHED, "crashed")):
        tests = [trial.test for trial in trials if trial.outcome == outcome]
        if tests:
            more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
            reasons.append(f"{len(tests)} trial{'s'[: len(tests) > 1]} {verb}: {tests[0]}{more}")
    return list(dict.fromkeys(reasons))
