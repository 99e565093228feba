"""GitHub annotations: workflow commands that GitHub shows at the test's line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_crucible._text import plural
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run_comparison import ONLY_BASELINE, RunComparison, failing
from pytest_crucible.report.compare_text import some
from pytest_crucible.report.junit import change_text
from pytest_crucible.report.terminal import judgement_text
from pytest_crucible.stats.comparison import INCONCLUSIVE, REGRESSED, REMOVED
from pytest_crucible.stats.expectations import REJECTED


def comparison_annotations(comparison: RunComparison, fail_on: Sequence[str]) -> Iterator[str]:
    """What fails the gate as errors; other regressions and removals as warnings.

    Inconclusive metrics share one line per arm: GitHub shows ten of a kind, and no more.
    """
    errors = failing(fail_on)
    for arm in comparison.arms:
        if arm.removed:
            yield _command(REMOVED in errors, REMOVED, arm.location, arm.name, ONLY_BASELINE)
        if arm.removed_cases:
            text = f"{plural(len(arm.removed_cases), 'case')}: {some(arm.removed_cases)}"
            yield _command(REMOVED in errors, REMOVED, arm.location, arm.name, text)
        for each in arm.comparisons:
            if each.verdict in (REGRESSED, REMOVED):
                text = f"{each.metric} {change_text(each)}"
                yield _command(each.verdict in errors, each.verdict, arm.location, arm.name, text)
        unclear = [each.metric for each in arm.comparisons if each.verdict == INCONCLUSIVE]
        if unclear:
            text = ", ".join(unclear)
            error = INCONCLUSIVE in errors
            yield _command(error, INCONCLUSIVE, arm.location, arm.name, text)


def results_annotations(results: Results, inconclusive: str) -> Iterator[str]:
    """Unmet expectations as errors, other inconclusive ones as warnings."""
    unmet = results.unmet(inconclusive)
    for experiment in results.experiments:
        name = experiment.definition.name
        located = next((trial.location for trial in experiment.trials if trial.location), None)
        for each in experiment.judgements:
            if each.verdict in (REJECTED, INCONCLUSIVE):
                text = f"{each.expectation} ({each.condition}): {judgement_text(each)}"
                yield _command((name, each) in unmet, each.verdict, located, name, text)


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
