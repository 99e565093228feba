"""Subject: one condition, asked for observations and estimates by the names of metrics."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any

import pytest

from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.groups import series_of
from pytest_crucible.stats.subject import Subject
from tests.stats.support import events, group, subject


def scored() -> Subject:
    return subject(group(events({"a": "p", "b": "p"}, {"score": [1.0, 3.0]})))


def test_a_metric_is_asked_for_by_its_name() -> None:
    """Its observations, and what they amount to; a plain fact has no observations."""
    each = scored()
    sample = each.sample("score.mean")
    assert sample is not None
    assert sample.by_case() == {"a": 1.0, "b": 3.0}
    assert each.estimate("score.mean").value == 2.0
    assert each.sample("score.total") is None
    assert each.estimate("score.total").exact


def test_numbers_without_observations_are_those_of_plugins() -> None:
    """Not what is built in, nor recorded, nor worked out by a plugin with its observations."""
    each = scored()
    numbers = {**each.numbers, "f1": 0.75, "words": 2.0}
    each.group.declared["words"] = series_of(each.group, [("a", 1.0), ("b", 3.0)])
    declared = Catalog([Metric("words", values=lambda _: [])])
    assert list(replace(each, numbers=numbers, catalog=declared).bare()) == ["f1"]


def test_values_of_plugins_keep_their_cases() -> None:
    """What is not finite is counted and left out; a value may belong to no case."""
    each = scored().group
    series = series_of(each, [("a", 1), ("new", 2.5), (None, 3), ("b", float("nan"))])
    assert series.values == array("d", [1, 2.5, 3])
    assert list(series.cases) == [each.cases["a"], each.cases["new"], -1]
    assert series.invalid == 1


def test_values_without_cases_are_refused() -> None:
    """A plain array of numbers does not say what each belongs to."""
    values: Any = [1.0, 2.0]
    with pytest.raises(TypeError, match=r"values= must give pairs of case and value, not 1\.0"):
        series_of(scored().group, values)
