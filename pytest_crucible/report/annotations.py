"""GitHub annotations: workflow commands that GitHub shows at the test's line."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_crucible.report.comparing import RunComparison
from pytest_crucible.report.junit import change_text
from pytest_crucible.report.results import Results
from pytest_crucible.report.terminal import judgement_text
from pytest_crucible.stats.comparison import INCONCLUSIVE, REGRESSED, REMOVED
from pytest_crucible.stats.expectations import REJECTED

_LEVELS = {REGRESSED: "error", REMOVED: "error", REJECTED: "error", INCONCLUSIVE: "warning"}


def comparison_annotations(comparison: RunComparison) -> Iterator[str]:
    """Regressions and removals as errors, inconclusive metrics as warnings."""
    for arm in comparison.arms:
        if arm.reason is not None and arm.verdict in _LEVELS:
            yield _command(arm.verdict, arm.location, arm.name, arm.reason)
        for each in arm.comparisons:
            if each.verdict in _LEVELS:
                text = f"{each.metric} {change_text(each)}"
                yield _command(each.verdict, arm.location, arm.name, text)


def results_annotations(results: Results) -> Iterator[str]:
    """Rejected expectations as errors, inconclusive ones as warnings."""
    for experiment in results.experiments:
        located = next((trial.location for trial in experiment.trials if trial.location), None)
        for each in experiment.judgements:
            if each.verdict in _LEVELS:
                text = f"{each.expectation} ({each.condition}): {judgement_text(each)}"
                yield _command(each.verdict, located, experiment.definition.name, text)


def _command(verdict: str, location: tuple[str, int] | None, title: str, text: str) -> str:
    where = f"file={_property(location[0])},line={location[1]}," if location else ""
    title = _property(f"{verdict}: {title}")
    return f"::{_LEVELS[verdict]} {where}title={title}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
