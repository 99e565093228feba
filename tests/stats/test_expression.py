"""The language of expectations: what is read, and errors that point at the right character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._errors import ExpectationError
from pytest_crucible.stats.expression import Bound, Expectation, parse

ARMS = ("control", "treatment", "model b", "latency")
numbers = st.floats(0, 1e9, allow_nan=False).map(lambda value: f"{value:.6f}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("success_rate > 0.9", ("success_rate", ">", Bound(0.9))),
        ("latency.p95<800", ("latency.p95", "<", Bound(800))),
        ("  cost.total  <=  0.05 ", ("cost.total", "<=", Bound(0.05))),
        ("tokens.total >= 1e3", ("tokens.total", ">=", Bound(1000))),
        ("success_rate > 90%", ("success_rate", ">", Bound(0.9))),
        ("success_rate > 99.5%", ("success_rate", ">", Bound(0.995))),
        ("score.mean > -0.5", ("score.mean", ">", Bound(-0.5))),
        ("my-score > 1", ("my-score", ">", Bound(1))),
        ("größe.mean > 1", ("größe.mean", ">", Bound(1))),
        ("tests.duration_ms.p50 < 5", ("tests.duration_ms.p50", "<", Bound(5))),
    ],
)
def test_absolute_expectations(text: str, expected: tuple[str, str, Bound]) -> None:
    """A metric is held against a number: plain, signed, with an exponent or in percent."""
    metric, comparison, bound = expected
    assert parse(text) == Expectation(text.strip(), metric, comparison, bound)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ("control", Bound(0.0, 1.0, "control")),
        ("1.1 * control", Bound(0.0, 1.1, "control")),
        ("110% * control", Bound(0.0, 1.1, "control")),
        ("control + 5", Bound(5.0, 1.0, "control")),
        ("control - 2%", Bound(-0.02, 1.0, "control")),
        ("0.9 * 'model b' + 1", Bound(1.0, 0.9, "model b")),
        ("'control'", Bound(0.0, 1.0, "control")),
        ("-1 * control", Bound(0.0, -1.0, "control")),
        ("-control", Bound(0.0, -1.0, "control")),
    ],
)
def test_relative_bounds(bound: str, expected: Bound) -> None:
    """A metric is held against another condition: times a factor, plus or minus a number."""
    assert parse(f"latency.p95 < {bound}", ARMS).bound == expected


@pytest.mark.parametrize(
    ("text", "condition", "metric"),
    [
        ("treatment.success_rate > 0", "treatment", "success_rate"),
        ("'model b'.success_rate > 0", "model b", "success_rate"),
        ("'treatment'.latency.p95 > 0", "treatment", "latency.p95"),
        ("score.mean > 0", None, "score.mean"),
        ("treatment > 0", None, "treatment"),
        ("latency.score > 0", "latency", "score"),
        ("latency.latency.p95 > 0", "latency", "latency.p95"),
    ],
)
def test_conditions_come_before_metrics(text: str, condition: str | None, metric: str) -> None:
    """What a condition is called means the condition, if a metric follows it."""
    found = parse(text, ARMS)
    assert (found.condition, found.metric) == (condition, metric)


def test_without_that_condition_it_is_a_metric() -> None:
    """The same words mean the metric in an experiment without such an arm."""
    found = parse("latency.p95 > 0", ("control",))
    assert (found.condition, found.metric) == (None, "latency.p95")


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("", 1, "expected a metric"),
        ("   ", 1, "expected a metric"),
        ("> 0.9", 1, "expected a metric"),
        ("0.9 < success_rate", 1, "expected a metric"),
        ("success_rate", 13, "expected one of < <= > >="),
        ("success_rate  ", 13, "expected one of < <= > >="),
        ("success_rate = 0.9", 14, "expected one of < <= > >="),
        ("success_rate == 0.9", 14, "expected one of < <= > >="),
        ("success_rate != 0.9", 14, "expected one of < <= > >="),
        ("success_rate >", 15, "expected a number or a condition"),
        ("success_rate > >", 16, "expected a number or a condition"),
        ("success_rate > 0.9 0.8", 20, "unexpected '0.8'"),
        ("success_rate > 0.9 and x > 1", 20, "unexpected 'and'"),
        ("success_rate > $5", 16, "cannot read '$'"),
        ("  success rate > 5", 11, "expected one of"),
        ("score. > 1", 8, "expected a name after the dot"),
        ("score.5 > 1", 6, "expected one of < <= > >="),
        ("latency > 1", 1, "latency needs more; valid: count, total, mean"),
        ("latency.p96 > 1", 9, "latency has no 'p96'; valid: count, total, mean"),
        ("treatment.cost.p95 > 1", 16, "cost has no 'p95'; valid: count, total"),
        ("latency.p95 < 2 * 3", 19, "expected a condition after '*'"),
        ("latency.p95 < 2 *", 18, "expected a condition after '*'"),
        ("latency.p95 < control +", 24, "expected a number"),
        ("latency.p95 < control + control", 25, "expected a number"),
        ("latency.p95 < 1.1 * kontrol", 21, "unknown condition 'kontrol' (valid: control, treat"),
        ("latency.p95 < kontrol", 15, "unknown condition 'kontrol'"),
        ("'model c'.cost.total > 1", 2, "unknown condition 'model c'"),
        ("'model b' > 1", 11, "expected '.' and a metric after the condition"),
        ("'model b.cost.total > 1", 1, "cannot read"),
    ],
)
def test_errors_point_at_the_first_character_that_does_not_fit(
    text: str, column: int, problem: str
) -> None:
    """An expectation that cannot be read says what was wanted, and where."""
    with pytest.raises(ExpectationError) as caught:
        parse(text, ("control", "treatment", "model b"))
    assert caught.value.column == column
    assert str(caught.value).startswith(problem)
    assert str(caught.value).endswith(f"at column {column} of {text!r}")


def test_metrics_of_ensembles_hedging_and_anomalies() -> None:
    """Their paths are checked like those of every built-in metric; arms may have their names."""
    for metric in ("ensemble.agreement.mean", "hedging.rate", "hedging.saved_ms.p95",
                   "hedging.backup_share", "anomalies.latency.count"):  # fmt: skip
        assert parse(f"{metric} > 0").metric == metric
    with pytest.raises(ExpectationError, match="ensemble has no 'models'"):
        parse("ensemble.models > 0")
    with pytest.raises(ExpectationError, match="latency needs more"):
        parse("anomalies.latency > 0")
    arm = parse("ensemble.success_rate > single", ("single", "ensemble"))
    assert (arm.condition, arm.metric) == ("ensemble", "success_rate")


def test_relative_bound_without_conditions_says_so() -> None:
    """An experiment with one arm has nothing to compare itself with."""
    with pytest.raises(ExpectationError, match="none, this experiment has one condition"):
        parse("latency.p95 < 1.1 * control")


@pytest.mark.parametrize(
    ("comparison", "holds"),
    [("<", (True, False, False)), ("<=", (True, True, False)),
     (">", (False, False, True)), (">=", (False, True, True))],
)  # fmt: skip
def test_comparisons_mean_what_they_say(comparison: str, holds: tuple[bool, ...]) -> None:
    """Below, at and above the bound."""
    found = parse(f"score.mean {comparison} 5")
    assert tuple(found.holds(value, 5) for value in (4, 5, 6)) == holds
    assert found.wants_more == comparison.startswith(">")


@given(numbers, numbers, st.sampled_from(["+", "-"]), st.sampled_from(ARMS))
def test_numbers_are_read_as_written(factor: str, offset: str, sign: str, arm: str) -> None:
    """Factor and offset of a relative bound are exactly those in the text."""
    found = parse(f"score.mean < {factor}*'{arm}' {sign} {offset}", ARMS).bound
    expected = float(offset) if sign == "+" else -float(offset)
    assert (found.factor, found.offset, found.condition) == (float(factor), expected, arm)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is written, the answer is an expectation or an error within the text."""
    column = 1
    try:
        parse(text, ARMS)
    except ExpectationError as error:
        column = error.column
    assert 1 <= column <= len(text) + 1


def test_a_fraction_needs_no_zero_in_front() -> None:
    """``.5`` is ``0.5``, as in Python."""
    assert parse("success_rate > .5").bound.offset == 0.5
    assert parse("b.score < .5 * a - .1", ("a", "b")).bound == Bound(-0.1, 0.5, "a")


@pytest.mark.parametrize(
    ("text", "concerned"),
    [
        ("score >= 0.8", ["a", "b", "c"]),
        ("b.score >= 0.8", ["b"]),
        ("score >= a", ["b", "c"]),
        ("b.score >= a", ["b"]),
    ],
)
def test_conditions_that_an_expectation_is_judged_for(text: str, concerned: list[str]) -> None:
    """The named one, or all but that which it compares with."""
    expectation = parse(text, ("a", "b", "c"))
    assert [each for each in "abc" if expectation.concerns(each)] == concerned
