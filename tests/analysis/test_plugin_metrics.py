"""Numbers of plugins beside our own."""

from __future__ import annotations

from pytest_crucible.analysis.plugin_metrics import summarise_all
from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.summary import summarise
from tests.stats.support import events, group


def both(_: Group) -> list[tuple[str | None, float]]:
    return [("a", 1.0), ("b", 2.0)]


def observed() -> Group:
    return group(events({"a": "p", "b": "p"}))


def test_without_plugins_it_is_the_summary() -> None:
    """Nothing is added."""
    problems: list[str] = []
    found = summarise_all(observed(), Catalog(), lambda group, metrics: {}, problems)
    assert found == summarise(observed())
    assert problems == []


def test_declared_metrics_and_bare_numbers_are_united() -> None:
    """A bare number sees the summary; where both have a name, the one with observations counts."""
    each, problems = observed(), list[str]()
    catalog = Catalog([Metric("words", values=both), Metric("same", values=both)])
    found = summarise_all(
        each,
        catalog,
        lambda group, metrics: {"passed": metrics.tests.passed, "same": 7.0},
        problems,
    )
    assert found.custom == {"words": 1.5, "same": 1.5, "passed": 2}
    assert list(each.declared) == ["words", "same"]


def test_one_that_raises_is_left_out() -> None:
    """And named; the others stay."""

    def broken(group: Group) -> list[tuple[str | None, float]]:
        raise KeyError("efort")

    each, problems = observed(), list[str]()
    catalog = Catalog([Metric("bad", values=broken), Metric("words", values=both)])
    found = summarise_all(each, catalog, lambda group, metrics: {}, problems)
    assert found.custom == {"words": 1.5}
    assert problems == ["metric bad raised KeyError: 'efort'"]
