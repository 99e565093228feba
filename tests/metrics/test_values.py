"""Metrics as values: how they show themselves."""

from __future__ import annotations

from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.values import Metrics
from tests.made_events import event, recorded, reference_events, trial, trial_scope
from tests.test_html import ELEMENTS, HOSTILE, Tags


def test_repr_is_a_line() -> None:
    """The numbers that one looks for first, in their units; the rest is there for who asks."""
    metrics = summarise(observe(reference_events()).group("exp", "default"))
    assert repr(metrics) == (
        "<metrics of 'exp' 'default': 12 events, success rate 0.8333, latency p50 550 ms, "
        "cost 0.055 USD>"
    )
    assert repr(Metrics(experiment="e\n", condition="c")) == "<metrics of 'e\\n' 'c': 0 events>"


def test_repr_of_observations_is_a_line() -> None:
    """A group of a million rows is not printed."""
    group = observe([*trial("passed", trial_scope()), *reference_events()]).group("exp", "default")
    assert repr(group) == "<observations of 'exp' 'default': 12 events, 1 trial>"


def test_notebooks_show_a_table_of_every_number() -> None:
    """Also of those that were recorded, and by event; names are text, whatever they hold."""
    scope = trial_scope()
    started, stopped = trial("passed", scope)
    events = [started, recorded({HOSTILE: 0.5}, scope), event(HOSTILE, scope=scope), stopped]
    found = Tags(summarise(observe(events).group("exp", "default"))._repr_html_())
    assert found.names == ELEMENTS
    for text in (f"{HOSTILE}.mean0.5", "tests.passed1", "summary.total_events1", "by event"):
        assert text in found.text
    assert "latency.p50" not in found.text
