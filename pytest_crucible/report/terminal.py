"""The summary for the terminal: compact tables for every experiment, ready to paste."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tabulate import tabulate

from pytest_crucible._text import one_line, plural
from pytest_crucible.analysis.results import ExperimentResult, Results
from pytest_crucible.capture.strategies import parse_sampling
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.trials import BROKEN_OFF, MISSING, SKIPPED
from pytest_crucible.report.anomalies import anomaly_line
from pytest_crucible.report.ensembles import ensemble_lines
from pytest_crucible.report.lines import STYLES, Line
from pytest_crucible.report.logged import logged_lines
from pytest_crucible.report.next_steps import advice
from pytest_crucible.report.numbers import Format, format_of
from pytest_crucible.report.slices import slice_table
from pytest_crucible.report.spending import (
    capture_lines,
    setup_line,
    spending_lines,
    warmup_line,
)
from pytest_crucible.report.verdict_rows import comparison_lines, verdict_lines
from pytest_crucible.stats.estimates import Estimate
from pytest_crucible.stats.ranges import all_outside
from pytest_crucible.stats.verdict import (
    NOT_RUN,
)

_INDENT = "  "
_MAX_ERRORS = 3
_MAX_OPERATIONS = 5
_MAX_INVALID = 5


def render(
    results: Results, sparklines: bool = True, by: Sequence[str] | None = None
) -> Iterator[Line]:
    """Yield the summary of a run.

    Args:
        results: the results of the run.
        sparklines: draw curves; if False, describe them in words.
        by: properties of cases to show apart; None for those of the markers.

    Raises:
        DefinitionError: no experiment has one of ``by`` on record.
    """
    for experiment in results.experiments:
        yield from render_experiment(experiment, sparklines, by)
        yield Line("")
    for drift in results.drifts:
        yield Line(f"drift: {one_line(drift)}", "yellow")
    yield from _completeness(results)


def render_experiment(
    experiment: ExperimentResult, sparklines: bool = True, by: Sequence[str] | None = None
) -> Iterator[Line]:
    """Yield the summary of one experiment.

    Verdict, hypothesis, completeness, metrics, comparisons, expectations, errors; arguments as for
    `render`.
    """
    definition, verdict = experiment.definition, experiment.verdict
    claim = f": {definition.hypothesis}" if definition.hypothesis else ""
    head = one_line(f"{definition.name}{claim}")
    if verdict is None:
        yield Line(head, "bold")
    else:
        yield Line(f"{verdict}  {head}", STYLES[verdict])
    spared = sum(trial.spared for trial in experiment.trials)
    complete = experiment.recorded + spared == len(experiment.trials)
    yield Line(_INDENT + _recorded(experiment), "" if complete else "yellow")
    if any(group.sampled for group in experiment.groups.values()):
        yield Line(_INDENT + _sampled(experiment), "yellow")
    metrics = list(_metrics(experiment)) if verdict != NOT_RUN else []
    yield from metrics
    yield from _left_out(experiment)
    yield from _logged(experiment, sparklines)
    yield from _notes(experiment)
    for slices in experiment.slices(by):
        yield Line("")
        for text in slice_table(slices):
            yield Line((_INDENT + text).rstrip())
    for name in experiment.empty_slices:
        yield Line(_INDENT + one_line(f"slices={name!r}: no case of this run has it"), "yellow")
    for condition, comparisons in experiment.comparisons.items():
        yield Line("")
        yield Line(_INDENT + one_line(f"{condition} against {experiment.baseline}"))
        yield from comparison_lines(comparisons, _INDENT * 2, values=False)
    claimed = any(v.metric == "success_rate" and v.scale is None for v in experiment.verdicts)
    rows = (row for rows in experiment.comparisons.values() for row in rows)
    for text in advice(() if claimed else rows):
        yield Line("")
        yield Line(_INDENT + text)
    if experiment.verdicts:
        yield Line("")
        yield from verdict_lines(experiment.verdicts, _INDENT, metrics)
    yield from _errors(experiment)
    yield from _invalid(experiment)


def _notes(experiment: ExperimentResult) -> Iterator[Line]:
    """Yield what was spent, and what is unusual."""
    warmups = warmup_line(*experiment.warmup)
    if warmups is not None:
        yield Line(_INDENT + warmups)
    for text, attention in spending_lines(experiment.spending):
        yield Line(_INDENT + text, "yellow" if attention else "")
    if experiment.setup is not None:
        nodes = {attempt.node for trial in experiment.trials for attempt in trial.attempts}
        yield Line(_INDENT + setup_line(experiment.setup, len(nodes)))
    for text in ensemble_lines(experiment.metrics):
        yield Line((_INDENT + text).rstrip())
    anomalies = anomaly_line(experiment.metrics)
    if anomalies is not None:
        yield Line(_INDENT + one_line(anomalies))


# --- completeness -----------------------------------------------------------------------------


def _recorded(experiment: ExperimentResult) -> str:
    trials = experiment.trials
    events = sum(
        summary.total_events if summary.kept_events is None else summary.kept_events
        for summary in (metrics.summary for metrics in experiment.metrics.values())
    )
    parts = []
    if trials:
        parts.append(f"recorded {experiment.recorded}/{len(trials)} trials{_design(experiment)}")
        clustered = [trial.cluster for trial in trials if trial.cluster is not None]
        if clustered:
            alone = {trial.case for trial in trials if trial.cluster is None}
            clusters = len({*clustered}) + len(alone)
            parts.append(f"{plural(clusters, 'cluster')} of cases")
        for outcomes, word in (
            ({"xfailed"}, "xfailed"), (BROKEN_OFF, "crashed"), ({SKIPPED}, "skipped"),
            ({MISSING}, "missing"),
        ):  # fmt: skip
            ended = [t for t in trials if t.outcome in outcomes and not t.spared]
            if ended:
                nodes = sorted({trial.attempts[-1].node[1] for trial in ended if trial.attempts})
                where = f" ({', '.join(nodes)})" if word == "crashed" else ""
                parts.append(f"{len(ended)} {word}{where}")
        if experiment.definition.sequential:
            parts.append("judged at any look")
        if experiment.decided is not None:
            parts.append(experiment.decided)
        cases, planned = len({trial.case for trial in trials}), experiment.definition.sample_size
        if planned is not None and cases != planned:
            parts.append(f"{cases:,} of the {planned:,} cases of sample_size")
        replaced = sum(trial.replaced for trial in trials)
        if replaced:
            parts.append(f"{plural(replaced, 'crashed attempt')} replaced by later ones")
        duplicates = sum(trial.duplicates for trial in trials)
        if duplicates:
            parts.append(f"{plural(duplicates, 'duplicate')} of other shards left out")
    if events or not parts:
        parts.append(plural(events, "event"))
    return " · ".join(parts)


def _sampled(experiment: ExperimentResult) -> str:
    """``sampled: uniform 10 %, 1,234 of about 12,340 events kept``."""
    summaries = [metrics.summary for metrics in experiment.metrics.values()]
    sampled = [summary for summary in summaries if summary.kept_events is not None]
    kept, total = sum(s.kept_events or 0 for s in sampled), sum(s.total_events for s in sampled)
    sampling = experiment.definition.sampling
    how = f"{parse_sampling(sampling).text}, " if sampling else ""
    share = f"{kept:,} of about {plural(total, 'event')} kept" if total else "no event to draw from"
    text = f"sampled: {how}{share}"
    if experiment.broken_off:
        nodes = ", ".join(experiment.broken_off)
        text += f"; the total is a minimum: {nodes} stopped before reporting how many there were"
    return text


def _design(experiment: ExperimentResult) -> str:
    """`` (25 cases × 2 conditions × 4 repeats)``; empty if the design is not complete."""
    trials = experiment.trials
    cases, repeats = {t.case for t in trials}, {t.trial for t in trials}
    conditions = {t.condition for t in trials}
    if len(cases) * len(repeats) * len(conditions) != len(trials) or len(trials) == len(cases):
        return ""
    factors = [plural(len(cases), "case")]
    if len(conditions) > 1:
        factors.append(plural(len(conditions), "condition"))
    if len(repeats) > 1:
        factors.append(f"{len(repeats)} repeats")
    return f" ({' × '.join(factors)})"


def _completeness(results: Results) -> Iterator[Line]:
    for reason in results.incomplete:
        yield Line(f"incomplete: {reason}", "yellow")
    if results.unattributed:
        yield Line(
            f"{plural(results.unattributed, 'event')} not attributed: emitted without context "
            "while several experiments were open (use experiment.execute, or copy_context().run)",
            "yellow",
        )
    if results.late:
        yield Line(f"{plural(results.late, 'event')} arrived after their trial had ended", "yellow")
    for text in results.budgets:
        yield Line(f"stopped: {text}; further trials were skipped", "yellow")
    for text in capture_lines(results.capture):
        yield Line(text, "yellow")
    for text in results.problems:
        yield Line(one_line(f"problem: {text}"), "red")
    if results.degraded:
        yield Line(
            f"{plural(results.degraded, 'value')} could not be encoded and kept as text", "yellow"
        )


# --- metrics with their intervals -------------------------------------------------------------


def _metrics(experiment: ExperimentResult) -> Iterator[Line]:
    body: list[list[str]] = []
    reasons: dict[str, list[str]] = {}
    nothing: list[str] = []
    subjects = [experiment.subject(condition) for condition in experiment.conditions]
    for metric in shown_metrics(experiment):
        path = metric.path
        estimates = [subject.estimate(path) for subject in subjects]
        values = [estimate.value for estimate in estimates if estimate.value is not None]
        if values:
            bounds = [bound for estimate in estimates for bound in (estimate.low, estimate.high)]
            form = format_of(metric.unit, values, bounds)
            cells = (estimate_text(form, estimate) for estimate in estimates)
            body.append([path, *cells])
            if path == "latency.p95":
                body += operation_rows(experiment)
            for estimate in estimates:
                for text in footnotes_of(estimate):
                    paths = reasons.setdefault(text, [])
                    if path not in paths:
                        paths.append(path)
        if metric.formula is not None:
            nothing += [
                f"no {path}{_of(condition, experiment)}: {estimate.reason}"
                for condition, estimate in zip(experiment.conditions, estimates, strict=True)
                if estimate.value is None
            ]
    if not body:
        yield from (Line(_INDENT + one_line(text), "yellow") for text in nothing)
        return
    yield Line("")
    header = ["", *experiment.conditions]
    table = tabulate(
        body, headers=header, tablefmt="plain", disable_numparse=True,
        colalign=["left", *["right"] * len(experiment.conditions)],
    )  # fmt: skip
    for line in table.splitlines():
        yield Line((_INDENT + line).rstrip())
    for reason, paths in reasons.items():
        yield Line(f"{_INDENT}{', '.join(map(one_line, paths))}: {reason}")
    yield from (Line(_INDENT + one_line(text), "yellow") for text in nothing)


def footnotes_of(estimate: Estimate) -> Iterator[str]:
    """Yield what the interval of a metric lacks, and what it assumes."""
    if estimate.value is None:
        return
    if estimate.reason:
        bare = estimate.low is None and estimate.high is None
        missing = "interval" if bare else "lower bound" if estimate.low is None else "upper bound"
        yield f"no {missing}: {estimate.reason}"
    if estimate.note:
        yield estimate.note


def operation_rows(experiment: ExperimentResult) -> Iterator[list[str]]:
    """Yield a row per kind of operation: p50 of its calls; none if there is one kind only.

    Parts of other operations have rows, too; judges' calls are among those of their name.
    """
    arms = [experiment.metrics[condition].by_event for condition in experiment.conditions]
    spent: dict[str, float] = {}
    for arm in arms:
        for name, each in arm.items():
            if each.latency.count:
                spent[name] = spent.get(name, 0.0) + (each.latency.total or 0.0)
    if len(spent) < 2:
        return
    ranked = sorted(spent, key=lambda name: -spent[name])
    for name in ranked[:_MAX_OPERATIONS]:
        values = [arm[name].latency.p50 if name in arm else None for arm in arms]
        form = format_of("ms", values)
        yield [f"· {one_line(name)}, p50 per call", *map(form.show, values)]
    if len(ranked) > _MAX_OPERATIONS:
        more = f"· and {len(ranked) - _MAX_OPERATIONS} more operations"
        yield [more, *("" for _ in arms)]


def _logged(experiment: ExperimentResult, sparklines: bool) -> Iterator[Line]:
    for position, (text, attention) in enumerate(logged_lines(experiment, sparklines)):
        if not position:
            yield Line("")
        yield Line(_INDENT + text, "yellow" if attention else "")


def _left_out(experiment: ExperimentResult) -> Iterator[Line]:
    """Warn about recorded values that are not finite: the means do not include them."""
    for condition, group in experiment.groups.items():
        for name, series in group.recorded.items():
            if series.invalid:
                total = series.invalid + len(series.values)
                yield Line(
                    f"{_INDENT}{one_line(name)}: {series.invalid} of {total} values of {condition} "
                    "are not finite numbers and were left out",
                    "yellow",
                )
        for outside in all_outside(group, experiment.catalog):
            text = f"{outside}{_of(condition, experiment)}: no verdict on {outside.name}"
            yield Line(_INDENT + one_line(text), "yellow")


def _of(condition: str, experiment: ExperimentResult) -> str:
    """`` of new``, if there are several conditions."""
    return f" of {condition}" if len(experiment.conditions) > 1 else ""


def estimate_text(form: Format, estimate: Estimate) -> str:
    """``83.3 % [66.4, 92.7]``: a number with its 95 % interval, if it has one.

    ``(2 of 10 trials)`` follows if not every trial recorded it.
    """
    text = f"{form.show(estimate.value)} {form.interval(estimate.low, estimate.high)}".rstrip()
    if estimate.coverage is None or estimate.value is None:
        return text
    recorded, ran = estimate.coverage
    return f"{text} ({recorded:,} of {plural(ran, 'trial')})"


def shown_metrics(experiment: ExperimentResult) -> Iterator[Metric]:
    """Yield the metrics that the summary shows, in order."""
    by_condition = list(experiment.metrics.values())
    subjects = [experiment.subject(condition) for condition in experiment.conditions]
    recorded = dict.fromkeys(name for metrics in by_condition for name in metrics.recorded)
    yield from experiment.catalog.shown([subject.numbers for subject in subjects], recorded)
    formulas = [metric.path for metric in experiment.catalog.formulas()]
    custom = [name for metrics in by_condition for name in metrics.custom]
    for name in dict.fromkeys([*formulas, *custom]):
        yield experiment.catalog[name]


# --- errors -----------------------------------------------------------------------------------


def _errors(experiment: ExperimentResult) -> Iterator[Line]:
    failures: dict[str, int] = {}
    for trial in experiment.trials:
        for attempt in trial.attempts[-1:]:
            if attempt.error:
                failures[attempt.error] = failures.get(attempt.error, 0) + 1
    yield from _top("failed trials", failures)
    yield from _top("failed operations", experiment.errors)


def _invalid(experiment: ExperimentResult) -> Iterator[Line]:
    """Yield what is wrong with events according to the catalog; red if it fails the session."""
    ranked = list(experiment.invalid.items())
    for problem, count in ranked[:_MAX_INVALID]:
        style = "red" if problem in experiment.refused else "yellow"
        yield Line(f"{_INDENT}invalid: {one_line(problem)} ({plural(count, 'event')})", style)
    if len(ranked) > _MAX_INVALID:
        more = plural(len(ranked) - _MAX_INVALID, "other kind")
        yield Line(f"{_INDENT}invalid: and {more}", "red" if experiment.refused else "yellow")


def _top(title: str, counts: Mapping[str, int]) -> Iterator[Line]:
    """Yield the most frequent texts."""
    if not counts:
        return
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    yield Line("")
    yield Line(f"{_INDENT}{title}:")
    for text, count in ranked[:_MAX_ERRORS]:
        yield Line(f"{_INDENT * 2}{count} × {one_line(text)}")
    if len(ranked) > _MAX_ERRORS:
        yield Line(f"{_INDENT * 2}and {plural(len(ranked) - _MAX_ERRORS, 'other kind')}")
