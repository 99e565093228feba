"""Analysis: work out the metrics, verdicts and comparisons of a recorded run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_crucible._errors import ArtifactError, DefinitionError
from pytest_crucible.analysis.experiment_catalog import catalog_of
from pytest_crucible.analysis.nodes import broken_off, node_result
from pytest_crucible.analysis.plugin_metrics import CustomMetrics, summarise_all
from pytest_crucible.analysis.results import (
    ExperimentResult,
    Results,
    arms_of,
)
from pytest_crucible.hooks.installed import installed
from pytest_crucible.hooks.plugins import Plugins
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.declared import declared
from pytest_crucible.metrics.observations import (
    Enricher,
    Group,
    Observations,
    observe,
    observe_nodes,
)
from pytest_crucible.metrics.spending import summarise_spending
from pytest_crucible.metrics.trials import BROKEN_OFF, FAILURES, MISSING, Trial
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.runs.experiment_definition import ERROR, VALIDATE, Definition
from pytest_crucible.runs.manifest import manifest_notes
from pytest_crucible.runs.run import RecordedRun
from pytest_crucible.stats.comparison import Comparison, Options, compare_subjects
from pytest_crucible.stats.expectations import (
    CONFIRMED,
    REJECTED,
    Verdict,
    judge,
)
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.passing import failing_cases, parse_pass_if
from pytest_crucible.stats.subject import Subject


def analyse(
    run: RecordedRun,
    enrichers: Iterable[Enricher] = (),
    custom: CustomMetrics | None = None,
    expect: Sequence[str] = (),
    plugins: Plugins | None = None,
) -> Results:
    """Read a run once and work out everything that reports show.

    Args:
        run: opened run.
        enrichers: see `observe`.
        custom: returns further numbers. Default: the numbers that plugins added when the run was
            made, replaced or extended by those of ``plugins``.
        expect: expectations to judge instead of those of the experiments.
        plugins: plugins with metrics. Default: those installed.

    Raises:
        ArtifactError: the run cannot be read.
        ExpectationError: one of ``expect`` cannot be parsed.
    """
    extra, plugins = tuple(enrichers), plugins or installed()
    from_plugins = plugins.declared()
    if run.nodes and not extra:
        observations = observe_nodes(run.nodes, run.plan)
    else:
        observations = observe(run.events, run.plan, extra)
    for node in run.nodes:
        for key in node.samplings:
            if key in observations.groups:
                observations.groups[key].sampled = True
    definitions = run.definitions()
    custom = custom or _custom_of(run, plugins)
    experiments = []
    problems = list(observations.problems)
    for name in dict.fromkeys([*definitions, *(key[0] for key in observations.groups)]):
        groups = {
            condition: group
            for (experiment, condition), group in observations.groups.items()
            if experiment == name
        }
        if groups:
            definition = definitions.get(name) or Definition(name=name)
            declared_metrics = [*_declared_in(run.manifest, name), *from_plugins]
            if expect:
                definition = replace(definition, expect=tuple(expect))
            result = _experiment(definition, groups, custom, declared_metrics, problems)
            experiments.append(replace(result, broken_off=broken_off(run.nodes, name)))
    results = Results(
        run=run.id,
        experiments=tuple(experiments),
        nodes=tuple(map(node_result, run.nodes)),
        incomplete=tuple(_incomplete(run, observations)),
        unattributed=observations.unattributed,
        late=observations.late,
        sole=observations.sole,
        degraded=observations.degraded,
        capture=observations.capture,
        budgets=tuple(observations.budgets),
        problems=tuple(dict.fromkeys(problems)),
        noted=any(node.notes for node in run.nodes)
        or bool(run.torn())
        or any(map(_broke_off, observations.enclosing)),
    )
    return results.with_notes(manifest_notes(run.manifest))


def _experiment(
    definition: Definition,
    groups: Mapping[str, Group],
    custom: CustomMetrics,
    plugins: Sequence[Metric],
    problems: list[str],
) -> ExperimentResult:
    planned = definition.conditions or ((definition.condition,) if definition.condition else ())
    conditions = tuple(dict.fromkeys([*(c for c in planned if c in groups), *groups]))
    # An exported file has no plan: its arms are the conditions of its events.
    named = tuple(dict.fromkeys([*planned, *conditions]))
    catalog = catalog_of(definition, named, plugins)
    metrics = {}
    for condition in conditions:
        metrics[condition] = summarise_all(groups[condition], catalog, custom, problems)
    result = ExperimentResult(
        definition=definition,
        conditions=conditions,
        metrics=metrics,
        catalog=catalog,
        groups={condition: groups[condition] for condition in conditions},
        spending={condition: summarise_spending(groups[condition]) for condition in conditions},
        verdicts=(),
        comparisons={},
        trials=tuple(trial for group in groups.values() for trial in group.trials),
        errors=sum((Counter(group.errors) for group in groups.values()), Counter()),
        invalid=_invalid(groups.values(), VALIDATE),
        refused=_invalid(groups.values(), (ERROR,)),
    )
    arms = arms_of(conditions, groups)
    subjects = {condition: result.subject(condition) for condition in arms}
    verdicts = [
        verdict for text in definition.expect for verdict in judge(parse(text, named), subjects)
    ]
    if definition.pass_if:
        verdicts += [_pass_if(definition, groups[condition]) for condition in conditions]
    return replace(
        result,
        verdicts=tuple(verdicts),
        comparisons=_comparisons(definition, subjects),
    )


def _invalid(groups: Iterable[Group], levels: Sequence[str]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for group in groups:
        for (problem, level), count in group.invalid.items():
            if level in levels:
                counts[problem] += count
    return dict(counts.most_common())


def _comparisons(
    definition: Definition, subjects: Mapping[str, Subject]
) -> dict[str, tuple[Comparison, ...]]:
    """Compare the first condition with every other one, metric by metric."""
    options = comparison_options(definition.margin)
    first, *others = subjects
    return {
        condition: tuple(compare_subjects(subjects[first], subjects[condition], options))
        for condition in others
    }


def comparison_options(margin: float | Mapping[str, float] | None) -> Options:
    """Return the options of a comparison with the ``margin`` of a marker."""
    if margin is None:
        return Options()
    if isinstance(margin, Mapping):
        return Options(margins=margin)
    return Options(margin=margin)


def _pass_if(definition: Definition, group: Group) -> Verdict:
    assert definition.pass_if is not None
    needed = parse_pass_if(definition.pass_if, definition.trials)
    cases = dict.fromkeys(trial.case for trial in group.trials)
    failing = failing_cases(group.trials, needed)
    open_cases = [t.case for t in group.trials if t.outcome in (MISSING, "skipped")]
    passed = len(cases) - len(set(failing) | set(open_cases))
    reason = None
    if failing or open_cases:
        reason = f"{passed} of {len(cases)} cases pass; not: {(failing + open_cases)[0]}"
    return Verdict(
        expectation=f"pass_if {definition.pass_if}",
        condition=group.condition,
        metric="pass_if",
        unit="%",
        verdict=REJECTED if reason else CONFIRMED,
        observed=passed / len(cases) if cases else None,
        bound=1.0,
        basis="a fact about this run",
        reason=reason,
    )


def _declared_in(manifest: Mapping[str, Any] | None, experiment: str) -> list[Metric]:
    """Read declared metrics from the manifest: their plugins may no longer be installed."""
    entries = ((manifest or {}).get("experiments") or {}).get(experiment, {}).get("declared") or ()
    try:
        return [declared(entry) for entry in entries]
    except (DefinitionError, TypeError) as error:
        raise ArtifactError(f"not a manifest: 'declared' of {experiment!r}: {error}") from error


def _custom_of(run: RecordedRun, plugins: Plugins) -> CustomMetrics:
    """Return a function for the custom numbers of a condition, as `CustomMetrics` describes.

    A plugin that is installed works out its numbers again; the manifest gives those of the others.
    """
    experiments = (run.manifest or {}).get("experiments") or {}

    def custom(group: Group, metrics: Metrics) -> Mapping[str, float]:
        conditions = experiments.get(group.experiment, {}).get("conditions", {})
        kept: Mapping[str, float] = conditions.get(group.condition, {}).get("custom", {})
        return {**kept, **plugins.metrics(group, metrics)}

    return custom


def _incomplete(run: RecordedRun, observations: Observations) -> list[str]:
    reasons = [note for node in run.nodes for note in node.notes]
    reasons += run.torn()
    reasons += [f"{node.name}: did not end in good order" for node in run.nodes if not node.ended]
    reasons += observations.failures
    trials = [trial for group in observations.groups.values() for trial in group.trials]
    for outcomes, verb in (({MISSING}, "never ran"), (BROKEN_OFF, "crashed")):
        tests = [trial.name for trial in trials if trial.outcome in outcomes]
        if tests:
            more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
            reasons.append(f"{len(tests)} trial{'s'[: len(tests) > 1]} {verb}: {tests[0]}{more}")
    for test in filter(_broke_off, observations.enclosing):
        error = test.attempts[-1].error
        why = f" ({error})" if error else ""
        reasons.append(f"{test.test} {test.outcome} before its end{why}: cases may be missing")
    return list(dict.fromkeys(reasons))


def _broke_off(test: Trial) -> bool:
    """Whether a test that consists of blocks did not reach its end: some blocks may be missing."""
    if test.outcome in BROKEN_OFF:
        return True
    return test.outcome in FAILURES and test.attempts[-1].error is not None
