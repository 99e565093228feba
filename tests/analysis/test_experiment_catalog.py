"""Who says what of a metric: the author, then plugins, then expectations."""

from __future__ import annotations

import pytest

from pytest_crucible._errors import ExpectationError
from pytest_crucible.analysis.experiment_catalog import catalog_of
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.runs.experiment_definition import define

PLUGIN = Metric("score", unit="pt", better="lower", values=lambda _: [("a", 1.0)])


def test_the_author_counts_more_than_a_plugin() -> None:
    """But how a plugin works it out stays the plugin's."""
    definition = define("e", metrics={"score": "higher"})
    found = catalog_of(definition, ["default"], [PLUGIN]).declared["score"]
    assert (found.better, found.unit, found.values) == ("higher", "", PLUGIN.values)


@pytest.mark.parametrize(
    ("text", "better"), [("effort < 3", "lower"), ("effort.p95 > 3", "higher")]
)
def test_an_expectation_says_which_way_is_better(text: str, better: str) -> None:
    """For all statistics of the number."""
    catalog = catalog_of(define("e", expect=[text]), ["default"])
    assert catalog["effort.mean"].better == better


def test_an_expectation_contradicts_nobody() -> None:
    """What was declared stays."""
    definition = define("e", expect=["score > 3"], metrics={"score": "lower"})
    assert catalog_of(definition, ["default"])["score.mean"].better == "lower"


@pytest.mark.parametrize(
    "expect", [["words > 3", "words.p95 < 9"], ["words.count > 3"], ["words.std_dev < 1"]]
)
def test_some_claims_tell_no_direction(expect: list[str]) -> None:
    """Those that contradict each other, and those about how many values there are."""
    assert catalog_of(define("e", expect=expect), ["default"])["words.mean"].better is None


def test_built_in_metrics_are_not_declared_by_a_claim() -> None:
    """A claim about latency says nothing about its direction."""
    catalog = catalog_of(define("e", expect=["latency.p95 > 3"]), ["default"])
    assert catalog.declared == {}
    assert catalog["latency.p95"].better == "lower"


def test_arms_may_be_named_that_no_plan_knows() -> None:
    """Those that an exported file holds; others are refused."""
    definition = define("e", expect=["new.score.mean > old"])
    assert catalog_of(definition, ["old", "new"])["score.mean"].better == "higher"
    with pytest.raises(ExpectationError, match="unknown condition 'new'"):
        catalog_of(definition, ["old"])
