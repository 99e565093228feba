"""The summary for the terminal: compact tables per experiment, ready to be pasted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from pytest_crucible._text import one_line, plural
from pytest_crucible.analysis.results import ExperimentResult, Results
from pytest_crucible.capture.strategies import parse_sampling
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.trials import BROKEN_OFF, MISSING
from pytest_crucible.report.anomalies import anomaly_line
from pytest_crucible.report.ensembles import ensemble_lines
from pytest_crucible.report.logged import logged_lines
from pytest_crucible.report.numbers import (
    decimals,
    show,
    show_change,
    show_change_interval,
    show_interval,
    show_p,
)
from pytest_crucible.report.spending import capture_lines, spending_lines
from pytest_crucible.stats.comparison import (
    ADDED,
    EQUIVALENT,
    IMPROVED,
    REGRESSED,
    REMOVED,
    Comparison,
)
from pytest_crucible.stats.estimates import Estimate
from pytest_crucible.stats.expectations import CONFIRMED, INCONCLUSIVE, REJECTED, Judgement

STYLES = {
    CONFIRMED: "green", REJECTED: "red", INCONCLUSIVE: "yellow",
    IMPROVED: "green", REGRESSED: "red", EQUIVALENT: "", ADDED: "yellow", REMOVED: "yellow",
}  # fmt: skip
_INDENT = "  "
_MAX_ERRORS = 3
_MAX_INVALID = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and how to colour it: green, red, yellow, bold, or not at all."""

    text: str
    style: str = ""


def has_sparklines(encoding: str | None) -> bool:
    """Whether text of this encoding can hold the characters that curves are drawn with."""
    return (encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")


def render(results: Results, sparklines: bool = True) -> Iterator[Line]:
    """The summary of a run, line by line; curves as text without ``sparklines``."""
    for experiment in results.experiments:
        yield from render_experiment(experiment, sparklines)
        yield Line("")
    yield from _completeness(results)


def render_experiment(experiment: ExperimentResult, sparklines: bool = True) -> Iterator[Line]:
    """One experiment: verdict, claim, completeness, metrics, comparisons, expectations, errors."""
    definition, verdict = experiment.definition, experiment.verdict
    claim = f": {definition.hypothesis}" if definition.hypothesis else ""
    head = one_line(f"{definition.name}{claim}")
    if verdict is None:
        yield Line(head, "bold")
    else:
        yield Line(f"{verdict}  {head}", STYLES[verdict])
    complete = experiment.recorded == len(experiment.trials)
    yield Line(_INDENT + _recorded(experiment), "" if complete else "yellow")
    if any(group.sampled for group in experiment.groups.values()):
        yield Line(_INDENT + _sampled(experiment), "yellow")
    yield from _metrics(experiment)
    yield from _logged(experiment, sparklines)
    for text, attention in spending_lines(experiment.spending):
        yield Line(_INDENT + text, "yellow" if attention else "")
    for text in ensemble_lines(experiment.metrics):
        yield Line((_INDENT + text).rstrip())
    anomalies = anomaly_line(experiment.metrics)
    if anomalies is not None:
        yield Line(_INDENT + one_line(anomalies))
    for condition, comparisons in experiment.comparisons.items():
        yield Line("")
        yield Line(_INDENT + one_line(f"{condition} against {experiment.baseline}"))
        yield from comparison_lines(comparisons, _INDENT * 2, values=False)
    if experiment.judgements:
        yield Line("")
        yield from judgement_lines(experiment.judgements, _INDENT)
    yield from _errors(experiment)
    yield from _invalid(experiment)


# --- how complete -----------------------------------------------------------------------------


def _recorded(experiment: ExperimentResult) -> str:
    trials = experiment.trials
    events = sum(
        each.summary.total_events if each.summary.kept_events is None else each.summary.kept_events
        for each in experiment.metrics.values()
    )
    parts = []
    if trials:
        parts.append(f"recorded {experiment.recorded}/{len(trials)} trials{_design(experiment)}")
        for outcomes, word in (
            (BROKEN_OFF, "crashed"), ({"skipped"}, "skipped"), ({MISSING}, "missing"),
        ):  # fmt: skip
            hit = [trial for trial in trials if trial.outcome in outcomes]
            if hit:
                nodes = sorted({trial.attempts[-1].node[1] for trial in hit if trial.attempts})
                where = f" ({', '.join(nodes)})" if word == "crashed" else ""
                parts.append(f"{len(hit)} {word}{where}")
        duplicates = sum(trial.duplicates for trial in trials)
        if duplicates:
            parts.append(f"{plural(duplicates, 'duplicate')} of other shards left out")
    if events or not parts:
        parts.append(plural(events, "event"))
    return " · ".join(parts)


def _sampled(experiment: ExperimentResult) -> str:
    """``sampled: uniform 10 %, 1,234 of about 12,340 events kept``."""
    summaries = [each.summary for each in experiment.metrics.values()]
    sampled = [each for each in summaries if each.kept_events is not None]
    kept, total = sum(s.kept_events or 0 for s in sampled), sum(s.total_events for s in sampled)
    sampling = experiment.definition.sampling
    how = f"{parse_sampling(sampling).text}, " if sampling else ""
    known = f"{kept:,} of about {plural(total, 'event')} kept" if total else "no event to draw from"
    text = f"sampled: {how}{known}"
    if experiment.broken_off:
        where = ", ".join(experiment.broken_off)
        text += f"; at least so many: {where} broke off before saying how many there were"
    return text


def _design(experiment: ExperimentResult) -> str:
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
    subjects = [experiment.subject(condition) for condition in experiment.conditions]
    for metric in shown_metrics(experiment):
        path = metric.path
        found = [subject.estimate(path) for subject in subjects]
        values = [each.value for each in found if each.value is not None]
        if values:
            bounds = [bound for each in found for bound in (each.low, each.high)]
            digits = decimals(values, bounds)
            body.append([path, *(estimate_text(metric.unit, each, digits) for each in found)])
            for each in found:
                if each.value is not None and each.reason:
                    known = reasons.setdefault(each.reason, [])
                    if path not in known:
                        known.append(path)
    if not body:
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
        yield Line(f"{_INDENT}no interval for {', '.join(paths)}: {reason}")
    yield from _left_out(experiment)


def _logged(experiment: ExperimentResult, sparklines: bool) -> Iterator[Line]:
    for position, (text, attention) in enumerate(logged_lines(experiment, sparklines)):
        if not position:
            yield Line("")
        yield Line(_INDENT + text, "yellow" if attention else "")


def _left_out(experiment: ExperimentResult) -> Iterator[Line]:
    """What was recorded and is no finite number: a mean without it is not the mean of all."""
    for condition, group in experiment.groups.items():
        for name, series in group.recorded.items():
            if series.invalid:
                said = series.invalid + len(series.values)
                yield Line(
                    f"{_INDENT}{one_line(name)}: {series.invalid} of {said} values of {condition} "
                    "are no finite numbers and left out",
                    "yellow",
                )


def estimate_text(unit: str, estimate: Estimate, digits: int) -> str:
    """``83.3 % [66.4, 92.7]``: a number with its 95 % interval, where it has one."""
    interval = show_interval(estimate.low, estimate.high, unit, digits)
    return f"{show(estimate.value, unit, digits)} {interval}".rstrip()


def shown_metrics(experiment: ExperimentResult) -> Iterator[Metric]:
    """The metrics that the summary shows, in order."""
    every = list(experiment.metrics.values())
    subjects = [experiment.subject(condition) for condition in experiment.conditions]
    recorded = dict.fromkeys(name for each in every for name in each.recorded)
    yield from experiment.catalog.shown([each.numbers for each in subjects], recorded)
    for name in dict.fromkeys(name for each in every for name in each.custom):
        yield experiment.catalog[name]


# --- comparisons and expectations -------------------------------------------------------------


def comparison_lines(
    comparisons: Sequence[Comparison], indent: str, values: bool = True
) -> Iterator[Line]:
    """A table of changes: verdict first; with ``values``, also the metric on both sides."""
    rows = [_comparison_cells(each, values) for each in comparisons]
    sides = ["before", "after"] if values else []
    header = ["", "metric", *sides, "change", "95 % interval", "p", "n", ""]
    align = ["left", "left", *["right"] * (len(header) - 3), "left"]
    table = tabulate(
        rows, headers=header, tablefmt="plain", disable_numparse=True, colalign=align
    )  # fmt: skip
    head, *lines = table.splitlines()
    yield Line((indent + head).rstrip())
    for comparison, line in zip(comparisons, lines, strict=True):
        yield Line((indent + line).rstrip(), STYLES[comparison.verdict])


def _comparison_cells(each: Comparison, values: bool) -> list[str]:
    unit = each.unit
    values_known = [v for v in (each.baseline, each.candidate) if v is not None]
    bounds = (each.low, each.high) if each.scale != "ratio" else ()
    digits = decimals(values_known, bounds)
    return [
        each.verdict,
        one_line(each.metric),
        *([show(side, unit, digits) for side in (each.baseline, each.candidate)] if values else []),
        show_change(each.change, each.scale, unit, digits),
        show_change_interval(each.low, each.high, each.scale, unit, digits),
        show_p(each.p),
        " + ".join(f"{n:,}" for n in each.n),
        comparison_note(each),
    ]


def comparison_note(each: Comparison) -> str:
    """Why there is no better verdict, or what it would take."""
    if each.reason:
        return each.reason
    if each.needs:
        return f"needs about {plural(each.needs, 'case')}"
    return ""


def judgement_lines(judgements: tuple[Judgement, ...], indent: str) -> Iterator[Line]:
    """A table of expectations: verdict first."""
    cells = [
        [each.verdict, *map(one_line, (each.condition, each.expectation, judgement_text(each)))]
        for each in judgements
    ]
    table = tabulate(cells, tablefmt="plain", disable_numparse=True)
    for judgement, line in zip(judgements, table.splitlines(), strict=True):
        yield Line((indent + line).rstrip(), STYLES[judgement.verdict])


def judgement_text(each: Judgement) -> str:
    """What was seen, how certain it is, and what is missing."""
    unit = each.unit
    known = [value for value in (each.observed, each.bound) if value is not None]
    digits = decimals(known, (each.low, each.high))
    parts = []
    if each.observed is not None:
        parts.append(show(each.observed, unit, digits))
    if each.low is not None and not _relative(each):
        parts[-1] += " " + show_interval(each.low, each.high, unit, digits)
    elif _relative(each):
        scale = "ratio" if each.basis.endswith("ratio") else "difference"
        interval = show_change_interval(each.low, each.high, scale, unit, digits)
        parts[-1] += f" against {show(each.bound, unit, digits)}, change {interval}"
    if each.reason:
        parts.append(each.reason)
    elif each.needs:
        cases = " cases" if each.basis.endswith("clustered by case") else ""
        parts.append(f"needs at least {each.needs:,}{cases}")
    return " · ".join(parts)


def _relative(each: Judgement) -> bool:
    return each.low is not None and each.basis.endswith((", ratio", ", difference"))


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
    """What the catalog says is wrong with the events; red where that fails the session."""
    ranked = list(experiment.invalid.items())
    for problem, count in ranked[:_MAX_INVALID]:
        style = "red" if problem in experiment.refused else "yellow"
        yield Line(f"{_INDENT}invalid: {one_line(problem)} ({plural(count, 'event')})", style)
    if len(ranked) > _MAX_INVALID:
        more = plural(len(ranked) - _MAX_INVALID, "other kind")
        yield Line(f"{_INDENT}invalid: and {more}", "red" if experiment.refused else "yellow")


def _top(title: str, counts: Mapping[str, int]) -> Iterator[Line]:
    if not counts:
        return
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    yield Line("")
    yield Line(f"{_INDENT}{title}:")
    for what, count in ranked[:_MAX_ERRORS]:
        yield Line(f"{_INDENT * 2}{count} × {one_line(what)}")
    if len(ranked) > _MAX_ERRORS:
        yield Line(f"{_INDENT * 2}and {plural(len(ranked) - _MAX_ERRORS, 'other kind')}")
