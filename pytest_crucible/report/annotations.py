"""GitHub annotations: workflow commands that GitHub shows at the test's line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run_comparison import (
    HARMLESS,
    ONLY_BASELINE,
    RunComparison,
    failing,
    fails,
)
from pytest_crucible.report.compare_text import case_notes
from pytest_crucible.report.junit import change_text
from pytest_crucible.report.verdict_rows import undeclared_note, verdict_text
from pytest_crucible.stats.comparison import ADDED, CHANGED, INCONCLUSIVE, REGRESSED, REMOVED


def comparison_annotations(comparison: RunComparison, fail_on: Sequence[str]) -> Iterator[str]:
    """Yield an error for what fails the gate, and a warning for other regressions and removals.

    The metrics of an arm that are inconclusive and may be worse share one line, and so do those
    that are CHANGED, because GitHub shows only ten annotations of a kind.

    Args:
        comparison: the comparison of two runs.
        fail_on: the verdicts that fail the gate, as given on the command line.
    """
    errors = failing(fail_on)
    for arm in comparison.arms:
        if arm.removed:
            yield _command(REMOVED in errors, REMOVED, arm.location, arm.name, ONLY_BASELINE)
        for word, text in case_notes(arm):
            if word != ADDED:
                yield _command(word in errors, word, arm.location, arm.name, text)
        for row in arm.comparisons:
            if row.verdict in (REGRESSED, REMOVED):
                text = f"{row.metric} {change_text(row)}"
                error = fails(row, fail_on)
                yield _command(error, row.verdict, arm.location, arm.name, text)
        unclear = [
            row
            for row in arm.comparisons
            if row.verdict == INCONCLUSIVE and row.primary and row.open not in HARMLESS
        ]
        for error in (True, False):
            metrics = [row.metric for row in unclear if fails(row, fail_on) == error]
            if metrics:
                text = ", ".join(metrics)
                yield _command(error, INCONCLUSIVE, arm.location, arm.name, text)
        changed = undeclared_note(arm.comparisons)
        if changed:
            yield _command(CHANGED in errors, CHANGED, arm.location, arm.name, changed)


def results_annotations(
    results: Results, inconclusive: str, not_run: bool = False
) -> Iterator[str]:
    """Yield an error for every unmet expectation, and a warning for other inconclusive ones.

    Args:
        results: the results of a run.
        inconclusive: setting of the session; ``fail``: INCONCLUSIVE expectations are unmet, too.
        not_run: whether expectations that are NOT RUN are unmet, too.
    """
    unmet = results.unmet(inconclusive, not_run)
    for experiment in results.experiments:
        name = experiment.definition.name
        located = next((trial.location for trial in experiment.trials if trial.location), None)
        for verdict in experiment.verdicts:
            is_error = (name, verdict) in unmet
            if is_error or (verdict.verdict == INCONCLUSIVE and verdict.primary):
                claim = f"{verdict.expectation} ({verdict.condition})"
                text = f"{claim}: {verdict_text(verdict)}"
                yield _command(is_error, verdict.verdict, located, name, text)


def _command(
    error: bool, verdict: str, location: tuple[str, int] | None, title: str, text: str
) -> str:
    where = f"file={_property(location[0])},line={location[1]}," if location else ""
    title = _property(f"{verdict}: {title}")
    return f"::{'error' if error else 'warning'} {where}title={title}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
