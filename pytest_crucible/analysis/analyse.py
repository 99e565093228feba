"""Analysis: work out the metrics, verdicts and comparisons of a recorded run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_crucible._errors import ArtifactError, DefinitionError
from pytest_crucible.analysis.drifts import drifts_of
from pytest_crucible.analysis.experiment_catalog import catalog_of
from pytest_crucible.analysis.judging import judged, unknown_primary
from pytest_crucible.analysis.nodes import broken_off, node_result, resumed_nodes
from pytest_crucible.analysis.plugin_metrics import CustomMetrics, summarise_all
from pytest_crucible.analysis.results import (
    ExperimentResult,
    Results,
)
from pytest_crucible.events.scope import SETUP
from pytest_crucible.hooks.installed import installed
from pytest_crucible.hooks.plugins import Plugins
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.declared import declared, layered
from pytest_crucible.metrics.observations import (
    Enricher,
    Group,
    Observations,
    observe,
    observe_nodes,
)
from pytest_crucible.metrics.spending import summarise_setup, summarise_spending
from pytest_crucible.metrics.trials import BROKEN_OFF, FAILURES, MISSING, Trial, begun
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.record.node_reader import Node
from pytest_crucible.runs.experiment_definition import ERROR, VALIDATE, Definition
from pytest_crucible.runs.manifest import manifest_notes
from pytest_crucible.runs.run import RecordedRun
from pytest_crucible.stats.early_checks import parse_checked


def analyse(
    run: RecordedRun,
    enrichers: Iterable[Enricher] = (),
    custom: CustomMetrics | None = None,
    expect: Sequence[str] = (),
    plugins: Plugins | None = None,
    only: Sequence[str] = (),
    sequential: bool = False,
) -> Results:
    """Read a run once and work out everything that reports show.

    Args:
        run: opened run.
        enrichers: see `observe`.
        custom: returns further numbers. Default: the numbers that plugins added when the run was
            made, replaced or extended by those of ``plugins``.
        expect: expectations to judge instead of those of the experiments.
        plugins: plugins with metrics. Default: those installed.
        only: the metrics whose claims decide; empty: all.
        sequential: judge every experiment at any look, not only those whose marker says so.

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
            if sequential:
                definition = replace(definition, sequential=True)
            kept = _declared_in(run.manifest, name)
            declared_metrics = list(layered(kept, from_plugins).values())
            if expect:
                definition = replace(definition, expect=tuple(expect))
                _check_expectations(definition, groups, declared_metrics)
            result = _experiment(definition, groups, custom, declared_metrics, problems)
            problems += unknown_primary(result)
            if len(observations.groups) == 1:  # else nobody knows whom they concern
                result = replace(result, metrics=_counting(observations, result.metrics))
            warmup = _warmup(group for key, group in observations.warmups.items() if key[0] == name)
            broken = broken_off(run.nodes, name)
            everything = [*result.trials, *observations.enclosing]
            decided = (each.decided for each in everything if each.experiment == name)
            experiments.append(
                replace(
                    result,
                    broken_off=broken,
                    warmup=warmup,
                    decided=next(filter(None, decided), None),
                )
            )
    trials = [trial for group in observations.groups.values() for trial in group.trials]
    resumed = resumed_nodes(run.nodes, trials)
    results = Results(
        run=run.id,
        experiments=judged(experiments, only=only),
        nodes=tuple(node_result(node, any(node is each for each in resumed)) for node in run.nodes),
        incomplete=tuple(_incomplete(run, observations, trials, resumed)),
        unattributed=observations.unattributed,
        late=observations.late,
        sole=observations.sole,
        degraded=observations.degraded,
        capture=observations.capture,
        budgets=tuple(observations.budgets),
        problems=tuple(dict.fromkeys(problems)),
        drifts=drifts_of(experiments),
        noted=any(node.notes for node in run.nodes)
        or bool(run.torn())
        or any(map(_broke_off, observations.enclosing)),
    )
    return results.with_notes(manifest_notes(run.manifest))


def _counting(observations: Observations, metrics: Mapping[str, Metrics]) -> dict[str, Metrics]:
    """Add the number of unattributed events to the metrics of a run's only condition."""
    lost = observations.unattributed
    return {
        condition: replace(each, summary=replace(each.summary, unattributed=lost))
        for condition, each in metrics.items()
    }


def result_of(
    definition: Definition, group: Group, plugins: Plugins, problems: list[str]
) -> ExperimentResult:
    """Work out the result of one condition from its observations, as for an experiment of a run.

    Args:
        definition: of the experiment.
        group: the observations.
        plugins: plugins with metrics.
        problems: sentences about metrics that raised are appended to it.
    """
    groups = {group.condition: group}
    result = _experiment(definition, groups, plugins.metrics, plugins.declared(), problems)
    return judged([result])[0]


def _warmup(groups: Iterable[Group]) -> tuple[int, float | None]:
    """Return number and cost of warm-up trials that ran, every attempt of them."""
    trials, costs = 0, []
    for group in groups:
        trials += sum(len(trial.attempts) for trial in group.trials)
        spent = summarise_spending(group)
        costs += [usd for usd in (spent.application_usd, spent.judge_usd) if usd is not None]
    return trials, sum(costs) if costs else None


def _check_expectations(
    definition: Definition, groups: Mapping[str, Group], plugins: Sequence[Metric]
) -> None:
    """Refuse expectations that nobody has checked before the run, as a marker would."""
    arms = tuple(dict.fromkeys([*definition.conditions, *groups]))
    recorded = {name for group in groups.values() for name in (*group.recorded, *group.logged)}
    for text in definition.expect:
        parse_checked(text, arms, [*plugins, *definition.metrics], recorded)


def _experiment(
    definition: Definition,
    groups: Mapping[str, Group],
    custom: CustomMetrics,
    plugins: Iterable[Metric],
    problems: list[str],
) -> ExperimentResult:
    planned = definition.conditions or ((definition.condition,) if definition.condition else ())
    everything = list(groups.values())
    setup = groups.get(SETUP) if len(groups) > 1 and SETUP not in planned else None
    if setup is not None:
        groups = {condition: group for condition, group in groups.items() if group is not setup}
    conditions = tuple(dict.fromkeys([*(c for c in planned if c in groups), *groups]))
    # An exported file has no plan: its arms are the conditions of its events.
    named = tuple(dict.fromkeys([*planned, *conditions]))
    measured = dict.fromkeys(name for group in everything for name in group.timed())
    catalog = catalog_of(definition, named, plugins, measured)
    if definition.sequential:
        began = begun(trial for group in groups.values() for trial in group.trials)
        for group in groups.values():
            group.began = began
    metrics = {}
    for condition in conditions:
        metrics[condition] = summarise_all(groups[condition], catalog, custom, problems)
    return ExperimentResult(
        definition=definition,
        conditions=conditions,
        metrics=metrics,
        catalog=catalog,
        groups={condition: groups[condition] for condition in conditions},
        spending={condition: summarise_spending(groups[condition]) for condition in conditions},
        setup=summarise_setup(setup) if setup is not None and setup.name else None,
        verdicts=(),
        comparisons={},
        trials=tuple(trial for group in groups.values() for trial in group.trials),
        errors=sum((Counter(group.errors) for group in groups.values()), Counter()),
        invalid=_invalid(everything, VALIDATE),
        refused=_invalid(everything, (ERROR,)),
    )


def _invalid(groups: Iterable[Group], levels: Sequence[str]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for group in groups:
        for (problem, level), count in group.invalid.items():
            if level in levels:
                counts[problem] += count
    return dict(counts.most_common())


def _declared_in(manifest: Mapping[str, Any] | None, experiment: str) -> tuple[Metric, ...]:
    """Read declared metrics from the manifest: their plugins may no longer be installed."""
    entries = ((manifest or {}).get("experiments") or {}).get(experiment, {}).get("declared") or {}
    try:
        return declared(entries)
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


def _incomplete(
    run: RecordedRun,
    observations: Observations,
    trials: Sequence[Trial],
    resumed: Sequence[Node],
) -> list[str]:
    reasons = [note for node in run.nodes for note in node.notes]
    reasons += run.torn()
    reasons += [
        f"{node.name}: did not end in good order"
        for node in run.nodes
        if not node.ended and not any(node is each for each in resumed)
    ]
    reasons += observations.failures
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
