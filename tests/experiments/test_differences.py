"""Plain differences between two sets of metrics."""

from __future__ import annotations

from pytest_crucible.experiments.differences import Difference, Differences, differences
from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.values import Metrics


def metrics(**recorded: float) -> Metrics:
    numbers = {name: Distribution(count=1, mean=value) for name, value in recorded.items()}
    return Metrics(experiment="e", condition="c", recorded=numbers)


def test_what_both_have_is_compared() -> None:
    """Only that; relative to the baseline, unless that is 0."""
    found = differences(metrics(score=2.0, none=0.0, old=1.0), metrics(score=3.0, none=1.0))
    by_name = {each.metric: each for each in found}
    assert by_name["score.mean"] == Difference("score.mean", 2.0, 3.0, 1.0, 50.0)
    assert by_name["none.mean"].percent is None
    assert "old.mean" not in by_name


def test_a_notebook_shows_a_table() -> None:
    """Names are escaped."""
    found = Differences([Difference("<b>", 1.0, 2.0, 1.0, 100.0)])
    assert repr(found) == "<differences in 1 metrics>"
    assert "&lt;b&gt;" in found._repr_html_()
