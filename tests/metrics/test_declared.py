"""Declared metrics: checked, and the same again after a journey as plain data."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._errors import DefinitionError
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.declared import declared, plain

BOUNDS = st.none() | st.floats(-1e9, 1e9)


@given(
    name=st.from_regex(r"[a-z]{3}_[a-z]{1,9}", fullmatch=True),
    unit=st.sampled_from(["", "ms", "$", "%", "tok/s"]),
    better=st.sampled_from([None, "lower", "higher"]),
    low=BOUNDS,
    high=BOUNDS,
    margin=st.none() | st.floats(0.001, 9),
)
def test_plain_data_give_the_same_metric(
    name: str, unit: str, better: str | None, low: float | None, high: float | None,
    margin: float | None,
) -> None:  # fmt: skip
    """By way of JSON, as in a manifest."""
    if low is not None and high is not None and low >= high:
        low, high = None, None
    metric = declared(Metric(name, unit, better, (low, high), margin))
    assert declared(json.loads(json.dumps(plain(metric)))) == metric


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        (7, 'must hold metrics such as Metric("score", better="higher"), not 7'),
        ({}, "a metric's name must be printable text, not ''"),
        (Metric("latency"), "'latency' is a built-in metric; use another name"),
        (Metric("score.mean"), "'score.mean' is a statistic; declare the number: 'score'"),
        (Metric("latency.p95"), "'latency.p95' is a built-in metric; use another name"),
        ({"name": "a", "range": "01"}, "a: range='01' is not (lowest, highest); None: no limit"),
        ({"name": "a", "range": [1]}, "a: range=[1] is not (lowest, highest); None: no limit"),
        ({"name": "a", "unit": 3}, "a: unit=3 is no text of up to 12 characters"),
        ({"name": "a", "margin": True}, "a: margin=True is no number between 0 and 10"),
        (Metric("a", values=3), "a: values=3 cannot be called"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_one_line(metric: object, problem: str) -> None:
    """It names who declared it, the metric, the value, and what would be valid."""
    with pytest.raises(DefinitionError) as caught:
        declared(metric, by="acme")
    text = str(caught.value)
    assert text.startswith("acme")
    assert problem in text
    assert "\n" not in text
