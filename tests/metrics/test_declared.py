"""Declared metrics: checked, and the same again after a journey as plain data."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._errors import DefinitionError
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.declared import declared, layered, plain

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
    if low is not None and high is not None and margin is not None and margin >= high - low:
        margin = None
    if high is not None and high > 1 and unit == "%":  # no share is above 1
        unit = ""
    metrics = declared({name: Metric("", unit, better, (low, high), margin)})
    assert declared(json.loads(json.dumps(plain(metrics)))) == metrics


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        ("a", 7, 'a: 7 is not "lower", "higher" or a Metric(…)'),
        ("a", "up", "a: better='up' is not lower or higher"),
        ("", {}, "a metric's name must be printable text, not ''"),
        ("a", Metric("b"), "the metric under 'a' calls itself 'b'"),
        ("a", {"beter": "lower"}, "unknown 'beter'; valid: unit, better, range, margin, formula"),
        ("latency", "lower", "'latency' is a built-in metric; use another name"),
        ("score.mean", "lower", "'score.mean' is a statistic; declare the number: 'score'"),
        ("a", {"range": "01"}, "a: range='01' is not (lowest, highest); None: no limit"),
        ("a", {"range": [1]}, "a: range=[1] is not (lowest, highest); None: no limit"),
        ("a", Metric(range=(float("nan"), 0)), "is not (lowest, highest)"),
        ("a", {"unit": 3}, "a: unit=3 is no text of up to 12 characters"),
        ("a", {"unit": "%", "range": [0, 100]}, 'a: the unit "%" is of shares from 0 to 1'),
        ("a", {"margin": True}, "a: margin=True is no number between 0 and 10 (0.05 is 5 %)"),
        (
            "a",
            {"margin": 3, "range": [0, 2]},
            "margin=3 is no number between 0 and 2 (in its unit)",
        ),
        ("a", Metric(values=lambda _: []), "a: values= is for metrics of plugins"),
        ("a", {"formula": 3}, "a: formula=3 is no text"),
        ("a", {"formula": "1 +"}, "a: formula: '1 +' is no formula at column"),
        ("a", {"formula": "cost / b"}, "a: formula: 'cost' is a built-in metric"),
        ("a", {"formula": "a / b"}, "a: formula='a / b' names itself"),
    ],
)
def test_what_makes_no_sense_is_one_line(name: str, given: object, problem: str) -> None:
    """It names who declared it, the metric, the value, and what would be valid."""
    with pytest.raises(DefinitionError) as caught:
        declared({name: given}, by="acme")
    text = str(caught.value)
    assert text.startswith("acme")
    assert problem in text
    assert "\n" not in text


def test_a_formula_is_over_recorded_numbers() -> None:
    """Not over other formulas."""
    with pytest.raises(DefinitionError, match="names 'f', which is a formula itself"):
        declared({"f": {"formula": "a / b"}, "g": {"formula": "f * 2"}})


def test_of_two_layers_the_upper_counts() -> None:
    """But for how the metric is worked out, if only the lower one says that."""
    under = declared({"f": Metric(unit="x", formula="a / b"), "old": "lower"})
    found = layered(under, declared({"f": "higher"}))
    assert list(found) == ["f", "old"]
    assert (found["f"].unit, found["f"].better, found["f"].formula) == ("", "higher", "a / b")


def test_an_agreement_knows_its_range_and_direction() -> None:
    """Unless somebody says otherwise; on whatever layer."""
    given = {"k": Metric(formula="kappa(a, b)"), "l": {"formula": "alpha(a, b)", "range": (0, 1)}}
    under = declared(given)
    assert [(each.range, each.better) for each in under] == [
        ((-1, 1), "higher"), ((0, 1), "higher"),
    ]  # fmt: skip
    (upper,) = layered(under[:1], declared({"k": Metric(margin=0.1)})).values()
    assert (upper.range, upper.better, upper.margin) == ((-1, 1), "higher", 0.1)
