"""Values outside a declared range: found, counted, and the worst one named."""

from __future__ import annotations

from pytest_crucible.events.event import LOG
from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.stats.ranges import all_outside, outside_range
from tests.made_events import event, trial_scope
from tests.stats.support import cases, events, group

SCORE = Metric("score", range=(0, 1))
LOSS = Metric("loss", range=(0, None))
SHARE = Metric("share", formula="score / n")
CATALOG = Catalog([SCORE, LOSS, SHARE])


def test_a_recorded_number() -> None:
    """All its statistics, and the formulas that name it."""
    each = group(events(cases(3), {"score": [0.5, 1.25, -0.125], "n": [1, 1, 1]}))
    for path in ("score.mean", "score.p95", "share"):
        found = outside_range(each, CATALOG, path)
        assert str(found) == "2 of 3 values of score outside its range 0 to 1: 1.25 in c1"
    assert outside_range(each, CATALOG, "n.mean") is None
    assert outside_range(each, CATALOG, "success_rate") is None
    assert [found.name for found in all_outside(each, CATALOG)] == ["score"]


def test_the_ends_are_inside() -> None:
    """A score of 1 is possible."""
    each = group(events(cases(2), {"score": [0, 1]}))
    assert outside_range(each, CATALOG, "score.mean") is None


def test_a_logged_number() -> None:
    """Any step counts; NaN, which is told elsewhere, does not."""
    each = group(
        event(LOG, {"value": value, "step": step}, {"name": "loss"}, scope=trial_scope("c0"))
        for step, value in enumerate([1.0, float("nan"), -2.0])
    )
    found = outside_range(each, CATALOG, "loss.last")
    assert str(found) == "1 of 3 values of loss outside its range 0 to ∞: -2 in c0"
