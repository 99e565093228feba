"""Results: a run, read and judged; what every report shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_crucible.capture.strategies import RESERVOIR, parse_sampling
from pytest_crucible.hooks.installed import installed
from pytest_crucible.hooks.plugins import Plugins
from pytest_crucible.metrics.catalog import RESERVED_NAMES
from pytest_crucible.metrics.observations import (
    Enricher,
    Group,
    Observations,
    observe,
    observe_nodes,
)
from pytest_crucible.metrics.spending import Spending, summarise_spending
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.metrics.trials import BROKEN_OFF, MISSING, Trial
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.record.node_reader import Node
from pytest_crucible.runs.definition import ERROR, VALIDATE, Definition
from pytest_crucible.runs.manifest import manifest_notes
from pytest_crucible.runs.run import Run
from pytest_crucible.stats.comparison import Comparison, Options, compare_groups
from pytest_crucible.stats.expectations import (
    CONFIRMED,
    INCONCLUSIVE,
    REJECTED,
    Judgement,
    Subject,
    judge,
)
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.passing import failing_cases, parse_pass_if

CustomMetrics = Callable[[Group, Metrics], Mapping[str, float]]
"""Called with the observations and the metrics of one condition; returns more numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """One experiment of a run.

    Attributes:
        definition: as its author described it.
        conditions: in order; the first is the baseline.
        metrics: per condition.
        groups: the observations per condition.
        spending: calls of models and their cost per condition.
        judgements: of every expectation for every condition it applies to.
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
    groups: Mapping[str, Group]
    spending: Mapping[str, Spending]
    judgements: tuple[Judgement, ...]
    comparisons: Mapping[str, tuple[Comparison, ...]]
    trials: tuple[Trial, ...]
    errors: Mapping[str, int]
    broken_off: tuple[str, ...] = ()
    invalid: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> str | None:
        """The worst of the judgements; None where nothing was expected."""
        verdicts = {each.verdict for each in self.judgements}
        for verdict in (REJECTED, INCONCLUSIVE, CONFIRMED):
            if verdict in verdicts:
                return verdict
        return None

    @property
    def baseline(self) -> str:
        """The condition that the others are compared with."""
        return _arms(self.conditions, self.groups)[0]

    @property
    def recorded(self) -> int:
        """Trials that have an outcome."""
        return sum(trial.outcome not in (MISSING, "skipped", *BROKEN_OFF) for trial in self.trials)

    def subject(self, condition: str) -> Subject:
        """One condition, for `judge` and for intervals."""
        return Subject(self.groups[condition], dict(flatten(self.metrics[condition])))

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "definition": self.definition.to_dict(),
            "conditions": {
                condition: metrics.to_dict() for condition, metrics in self.metrics.items()
            },
            "spending": {name: asdict(each) for name, each in self.spending.items()},
            "trials": len(self.trials),
            "recorded": self.recorded,
            "verdict": self.verdict,
            "judgements": [asdict(judgement) for judgement in self.judgements],
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
        nodes: per process: its name, events, and whether it ended in good order.
        incomplete: why the record is incomplete, a sentence each; empty if it is complete.
        unattributed, late, sole, degraded: how many events were so; see `Event`.
        notes: what only the session that made the run could know to be missing.
        noted: whether a node said that it lost something.
        capture: what kept spans from being captured, with the nodes that say so.
    """

    run: str
    experiments: tuple[ExperimentResult, ...]
    nodes: tuple[dict[str, Any], ...]
    incomplete: tuple[str, ...]
    unattributed: int = 0
    late: int = 0
    sole: int = 0
    degraded: int = 0
    notes: tuple[str, ...] = ()
    noted: bool = False
    capture: Mapping[str, Sequence[str]] = field(default_factory=dict)
    budgets: tuple[str, ...] = ()

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

    def unmet(self, inconclusive: str) -> list[tuple[str, Judgement]]:
        """The expectations that fail a gate, each with the name of its experiment.

        Rejected ones; and open ones, where the marker, or else ``inconclusive``, says "fail".
        """
        return [
            (each.definition.name, judgement)
            for each in self.experiments
            for judgement in each.judgements
            if judgement.verdict == REJECTED
            or (
                judgement.verdict == INCONCLUSIVE
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


def analyse(
    run: Run,
    enrichers: Iterable[Enricher] = (),
    custom: CustomMetrics | None = None,
    expect: Sequence[str] = (),
    plugins: Plugins | None = None,
) -> Results:
    """Read a run once and work out everything that reports show.

    Args:
        run: opened run.
        enrichers: see `observe`.
        custom: more metrics; default: those that plugins added when the run was made, and what
            ``plugins`` add, which wins where both have a number of the same name.
        expect: expectations to judge in place of the experiments' own.
        plugins: default: those installed.

    Raises:
        ArtifactError: the run cannot be read.
        ExpectationError: one of ``expect`` cannot be parsed.
    """
    extra = tuple(enrichers)
    if run.nodes and not extra:
        observations = observe_nodes(run.nodes, run.plan)
    else:
        observations = observe(run.events(), run.plan, extra)
    for node in run.nodes:
        for key in node.samplings:
            if key in observations.groups:
                observations.groups[key].sampled = True
    definitions = run.definitions()
    custom = custom or _custom_of(run, plugins or installed())
    experiments = []
    for name in dict.fromkeys([*definitions, *(key[0] for key in observations.groups)]):
        groups = {
            condition: group
            for (experiment, condition), group in observations.groups.items()
            if experiment == name
        }
        if groups:
            definition = definitions.get(name) or Definition(name=name)
            if expect:
                definition = replace(definition, expect=tuple(expect))
            result = _experiment(definition, groups, custom)
            experiments.append(replace(result, broken_off=_broken_off(run, name)))
    results = Results(
        run=run.id,
        experiments=tuple(experiments),
        nodes=tuple(
            {"name": node.name, "events": node.events, "closed": node.ended, **_samplings(node)}
            for node in run.nodes
        ),
        incomplete=tuple(_incomplete(run, observations)),
        unattributed=observations.unattributed,
        late=observations.late,
        sole=observations.sole,
        degraded=observations.degraded,
        capture=observations.capture,
        budgets=tuple(observations.budgets),
        noted=any(node.notes for node in run.nodes) or bool(run.torn()),
    )
    return results.with_notes(manifest_notes(run.manifest))


def _samplings(node: Node) -> dict[str, Any]:
    """For the manifest: how a node sampled, with which seeds, out of how many operations."""
    found = [
        {
            "experiment": frame.experiment,
            "condition": frame.condition,
            "sampling": frame.sampling,
            "seed": frame.seed,
            "operations": frame.seen,
        }
        for frame in node.samplings.values()
    ]
    return {"sampling": found} if found else {}


def _broken_off(run: Run, experiment: str) -> tuple[str, ...]:
    """The nodes that had a reservoir and no end: the number of operations is the last they told.

    One that kept nothing saw nothing: a reservoir takes the first that comes.
    """
    return tuple(
        node.name
        for node in run.nodes
        if not node.closed
        and any(
            condition[0] == experiment
            and parse_sampling(frame.sampling).strategy == RESERVOIR
            and node.drew(condition)
            for condition, frame in node.samplings.items()
        )
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
        metrics[condition] = replace(plain, custom=dict(more)) if more else plain
    result = ExperimentResult(
        definition=definition,
        conditions=conditions,
        metrics=metrics,
        groups={condition: groups[condition] for condition in conditions},
        spending={condition: summarise_spending(groups[condition]) for condition in conditions},
        judgements=(),
        comparisons=_comparisons(definition, conditions, groups),
        trials=tuple(trial for group in groups.values() for trial in group.trials),
        errors=sum((Counter(group.errors) for group in groups.values()), Counter()),
        invalid=_invalid(groups.values(), VALIDATE),
        refused=_invalid(groups.values(), (ERROR,)),
    )
    subjects = {condition: result.subject(condition) for condition in _arms(conditions, groups)}
    judgements = [
        judgement
        for text in definition.expect
        for judgement in judge(parse(text, known or conditions), subjects)
    ]
    if definition.pass_if:
        judgements += [_pass_if(definition, groups[condition]) for condition in conditions]
    return replace(result, judgements=tuple(judgements))


def _invalid(groups: Iterable[Group], levels: Sequence[str]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for group in groups:
        for (problem, level), count in group.invalid.items():
            if level in levels:
                found[problem] += count
    return dict(found.most_common())


def comparison_options(margin: float | Mapping[str, float] | None) -> Options:
    """Options from a marker's ``margin``."""
    if margin is None:
        return Options()
    if isinstance(margin, Mapping):
        return Options(margins=margin)
    return Options(margin=margin)


def _arms(conditions: Sequence[str], groups: Mapping[str, Group]) -> list[str]:
    """The conditions that have trials, baseline first; events between trials are no arm."""
    return [each for each in conditions if groups[each].trials] or list(conditions)


def claimed_directions(definition: Definition) -> dict[str, bool]:
    """Of which recorded numbers less is better, as far as the author's expectations tell."""
    known = definition.conditions or ()
    found = {}
    for text in definition.expect:
        expectation = parse(text, known)
        name = expectation.metric.partition(".")[0]
        if name not in RESERVED_NAMES:  # of those the direction is known
            found[name] = not expectation.wants_more
    return found


def _comparisons(
    definition: Definition, conditions: Sequence[str], groups: Mapping[str, Group]
) -> dict[str, tuple[Comparison, ...]]:
    arms = _arms(conditions, groups)
    options = replace(
        comparison_options(definition.margin), lower_is_better=claimed_directions(definition)
    )
    return {
        condition: tuple(compare_groups(groups[arms[0]], groups[condition], options))
        for condition in arms[1:]
    }


def _pass_if(definition: Definition, group: Group) -> Judgement:
    assert definition.pass_if is not None
    needed = parse_pass_if(definition.pass_if, definition.trials)
    cases = dict.fromkeys(trial.case for trial in group.trials)
    failing = failing_cases(group.trials, needed)
    open_cases = [t.case for t in group.trials if t.outcome in (MISSING, "skipped")]
    passed = len(cases) - len(set(failing) | set(open_cases))
    reason = None
    if failing or open_cases:
        reason = f"{passed} of {len(cases)} cases pass; not: {(failing + open_cases)[0]}"
    return Judgement(
        expectation=f"pass_if {definition.pass_if}",
        condition=group.condition,
        metric="pass_if",
        verdict=REJECTED if reason else CONFIRMED,
        observed=passed / len(cases) if cases else None,
        bound=1.0,
        basis="a fact about this run",
        reason=reason,
    )


def _custom_of(run: Run, plugins: Plugins) -> CustomMetrics:
    """Numbers that plugins added while the run was made, and what those here make of it.

    The former stay where their plugin is not installed; where it is, it works them out anew.
    """
    experiments = (run.manifest or {}).get("experiments") or {}

    def custom(group: Group, metrics: Metrics) -> Mapping[str, float]:
        conditions = experiments.get(group.experiment, {}).get("conditions", {})
        kept: Mapping[str, float] = conditions.get(group.condition, {}).get("custom", {})
        return {**kept, **plugins.metrics(group, metrics)}

    return custom


def _incomplete(run: Run, observations: Observations) -> list[str]:
    reasons = [note for node in run.nodes for note in node.notes]
    reasons += run.torn()
    reasons += [f"{node.name}: did not end in good order" for node in run.nodes if not node.ended]
    reasons += observations.failures
    trials = [trial for group in observations.groups.values() for trial in group.trials]
    for outcomes, verb in (({MISSING}, "never ran"), (BROKEN_OFF, "crashed")):
        tests = [trial.test for trial in trials if trial.outcome in outcomes]
        if tests:
            more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
            reasons.append(f"{len(tests)} trial{'s'[: len(tests) > 1]} {verb}: {tests[0]}{more}")
    return list(dict.fromkeys(reasons))
