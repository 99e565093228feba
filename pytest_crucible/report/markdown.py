"""Markdown for pull requests: what matters first, the rest folded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_crucible._text import plural
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run_comparison import (
    FAIL_ON,
    WORST_FIRST,
    ArmComparison,
    RunComparison,
    fails,
)
from pytest_crucible.report.compare_text import (
    case_notes,
    conclusions,
    sliced_title,
    verdict_line,
)
from pytest_crucible.report.next_steps import next_steps
from pytest_crucible.report.numbers import format_of
from pytest_crucible.report.slices import slice_cells, slice_title
from pytest_crucible.report.terminal import (
    estimate_text,
    operation_rows,
    render_experiment,
    shown_metrics,
)
from pytest_crucible.report.verdict_rows import (
    comparison_format,
    comparison_note,
    head_note,
    undeclared_note,
    verdict_text,
)
from pytest_crucible.stats.comparison import (
    ADDED,
    CHANGED,
    INCONCLUSIVE,
    NO_INTERVAL,
    REGRESSED,
    REMOVED,
    Comparison,
)
from pytest_crucible.stats.verdict import CONFIRMED, ERRORED, NOT_RUN, REJECTED, Verdict

_MARKS = {
    REGRESSED: "🔴", ERRORED: "🔴", REJECTED: "🔴", REMOVED: "🟠", INCONCLUSIVE: "🟡",
    CHANGED: "🟡", ADDED: "🔵", NOT_RUN: "⚪", NO_INTERVAL: "⚪",
}  # fmt: skip


def compare_markdown(comparison: RunComparison) -> str:
    """Return a comparison as Markdown: what speaks against the candidate first, the rest folded."""
    return "\n".join(_compare(comparison)).replace("\n\n\n", "\n\n") + "\n"


def _compare(comparison: RunComparison) -> Iterator[str]:
    headline = verdict_line(comparison).text
    verdict, _, text = headline.partition("  ")
    yield f"### {_mark(verdict)} {escape(verdict)}: {escape(text)}"
    yield ""
    yield escape(comparison.title)
    yield ""
    yield from _warnings(comparison)
    urgent: list[tuple[ArmComparison, Comparison]] = []
    rest: list[tuple[ArmComparison, Comparison]] = []
    for arm in comparison.arms:
        for metric in arm.comparisons:
            (urgent if fails(metric, FAIL_ON) else rest).append((arm, metric))
    yield from _arms_and_cases(comparison.arms)
    changed = undeclared_note(row for _, row in rest)
    if changed:
        yield f"- {escape(changed)}"
    urgent.sort(key=lambda row: WORST_FIRST.index(row[1].verdict))
    rest.sort(key=lambda row: not row[1].primary)
    if urgent:
        yield ""
        yield from _comparison_table(urgent)
    if rest:
        count = plural(len(rest), "other metric" if urgent else "metric")
        yield from _folded(count, _comparison_table(rest))
    for arm in comparison.arms:
        for text in next_steps(arm.comparisons):
            yield f"- {escape(arm.name)}: {escape(text)}"
    for text in conclusions(comparison):
        yield f"- {escape(text)}"
    yield ""
    yield escape(head_note([row for arm in comparison.arms for row in arm.comparisons]))
    for arm in comparison.arms:
        for name, rows in arm.slices.items():
            table = _comparison_table([(arm, row) for row in rows])
            yield from _folded(f"{arm.name} {sliced_title(name)}", table)


def _warnings(comparison: RunComparison) -> Iterator[str]:
    warnings = {
        "differs": comparison.differences,
        "drift": comparison.drifts,
        "incomplete": comparison.incomplete,
    }
    for word, texts in warnings.items():
        yield from (f"- ⚠️ {word}: {escape(text)}" for text in texts)


def _arms_and_cases(arms: Sequence[ArmComparison]) -> Iterator[str]:
    for arm in arms:
        if arm.reason is not None:
            yield f"- {_mark(arm.verdict)} **{arm.verdict}** {escape(arm.name)}: {arm.reason}"
        for word, text in case_notes(arm):
            yield f"- {_mark(word)} **{word}** in {escape(arm.name)}: {escape(text)}"


def _comparison_table(rows: Sequence[tuple[ArmComparison, Comparison]]) -> Iterator[str]:
    yield from _table_head(
        ["verdict", "experiment", "metric", "before", "after", "change", "interval", "finds",
         "effect", "n", "note"],
        right=("before", "after", "change", "interval", "finds", "effect", "n"),
    )  # fmt: skip
    for arm, row in rows:
        form = comparison_format(row)
        name, size = row.effect or ("", 0.0)
        effect = f"{name} {size:.{0 if name.startswith('pairs') else 2}f}" if name else ""
        verdict = f"{_mark(row.verdict)} {row.verdict}"
        yield _row(
            verdict if row.primary else f"{row.verdict.lower()}, shown only",
            arm.name,
            row.metric,
            form.show(row.baseline),
            form.show(row.candidate),
            form.change(row.change, row.scale),
            form.change_interval(row.low, row.high, row.scale),
            "" if row.mde is None else form.change(row.mde, row.scale),
            effect,
            " + ".join(f"{n:,}" for n in row.n),
            comparison_note(row),
        )


def results_markdown(results: Results, by: Sequence[str] | None = None) -> str:
    """Return a run as Markdown: expectations that are not met first, metrics folded.

    Args:
        results: the results of the run.
        by: properties of cases to show apart; None for those of the markers.
    """
    return "\n".join(_results(results, by)) + "\n"


def _results(results: Results, by: Sequence[str] | None) -> Iterator[str]:
    for experiment in results.experiments:
        verdict, name = experiment.verdict, experiment.definition.name
        claim = f": {experiment.definition.hypothesis}" if experiment.definition.hypothesis else ""
        yield f"### {_mark(verdict or '')} {verdict or ''} {escape(name + claim)}".replace(
            "  ", " "
        )
        yield ""
        yield escape(list(render_experiment(experiment))[1].text.strip())
        if experiment.verdicts:
            yield ""
            yield from _verdict_table(experiment.verdicts)
        header = ["metric", *experiment.conditions]
        subjects = [experiment.subject(condition) for condition in experiment.conditions]
        rows = []
        for metric in shown_metrics(experiment):
            estimates = [subject.estimate(metric.path) for subject in subjects]
            values = [estimate.value for estimate in estimates if estimate.value is not None]
            if values:
                bounds = [bound for each in estimates for bound in (each.low, each.high)]
                form = format_of(metric.unit, values, bounds)
                cells = (estimate_text(form, estimate) for estimate in estimates)
                rows.append(_row(metric.path, *cells))
                if metric.path == "latency.p95":
                    rows += (_row(*row) for row in operation_rows(experiment))
        table = [*_table_head(header, right=experiment.conditions), *rows]
        yield from _folded("metrics, with 95 % intervals", table)
        for slices in experiment.slices(by):
            columns, lines = slice_cells(slices)
            head = _table_head(columns, right=columns[-len(slices.metrics) - 1 :])
            yield from _folded(slice_title(slices), [*head, *(_row(*line) for line in lines)])
        for name in experiment.empty_slices:
            yield f"- ⚠️ slices={escape(repr(name))}: no case of this run has it"
    for drift in results.drifts:
        yield f"- ⚠️ drift: {escape(drift)}"
    for reason in results.incomplete:
        yield f"- ⚠️ incomplete: {escape(reason)}"


def _verdict_table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield from _table_head(["verdict", "condition", "expectation", "observed", "judged by"])
    for verdict in sorted(verdicts, key=lambda each: (not each.primary, each.verdict == CONFIRMED)):
        marked = f"{_mark(verdict.verdict)} {verdict.verdict}"
        yield _row(
            marked if verdict.primary else verdict.verdict.lower(),
            verdict.condition,
            verdict.expectation,
            verdict_text(verdict),
            verdict.basis,
        )


# --- pieces -----------------------------------------------------------------------------------


def _table_head(columns: Sequence[str], right: Sequence[str] = ()) -> Iterator[str]:
    yield _row(*columns)
    yield "|" + "|".join("--:" if column in right else "---" for column in columns) + "|"


def _row(*cells: str) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _folded(title: str, lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    yield ""
    yield f"<details><summary>{escape(title)}</summary>"
    yield ""
    yield from lines
    yield ""
    yield "</details>"
    yield ""  # else what follows would be HTML, too


def _mark(verdict: str) -> str:
    return _MARKS.get(verdict, "🟢" if verdict else "⚪")


_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~@])")


def escape(text: str) -> str:
    """Return text on one line, escaped for Markdown and HTML.

    ``@`` and ``#`` are escaped, too, so that GitHub notifies nobody and links no issue.
    """
    flat = " ".join(text.split())
    html = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", html).replace("\\@", "@\u200b").replace("\\#", "#\u200b")
