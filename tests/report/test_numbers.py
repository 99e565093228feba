"""Numbers as text: the right unit, as many digits as they deserve, and never nan."""

from __future__ import annotations

import math

import pytest

from pytest_crucible._text import plural
from pytest_crucible.report.numbers import (
    MISSING,
    decimals,
    format_of,
    show,
    show_change,
    show_change_interval,
    show_interval,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], 0), ([0.0], 0), ([3.0, 1200.0], 0), ([0.5], 3), ([12.34], 1), ([123.4], 0),
     ([0.0001234, 5.5], 6), ([0.00000012], 8), ([1e-30], 12), ([0.00000012, 2.5], 6),
     ([math.nan], 0), ([math.inf, 0.5], 3)],
)  # fmt: skip
def test_three_significant_digits_of_the_smallest(values: list[float], expected: int) -> None:
    """All numbers of a row have the decimals that its smallest needs; six at most, unless
    it would be all zeros."""
    assert decimals(values) == expected


@pytest.mark.parametrize(
    ("value", "unit", "digits", "text"),
    [
        (0.833, "%", 9, "83.3 %"), (1234.5, "ms", 1, "1,234.5 ms"), (0.5, "$", 0, "$0.50"),
        (0.00123, "$", 5, "$0.00123"), (1234567, "", 0, "1,234,567"), (0.25, "", 3, "0.250"),
        (None, "ms", 0, MISSING), (math.nan, "", 0, MISSING), (math.inf, "%", 0, MISSING),
    ],
)  # fmt: skip
def test_a_number_with_its_unit(value: float | None, unit: str, digits: int, text: str) -> None:
    """Thousands are set apart; what is no number is a dash."""
    assert show(value, unit, digits) == text


def test_intervals_are_in_the_unit_of_their_number() -> None:
    """The unit stands once, with the number; without bounds there is nothing."""
    assert show_interval(0.699, 0.972, "%", 0) == "[69.9, 97.2]"
    assert show_interval(1000, 2000.5, "ms", 1) == "[1,000.0, 2,000.5]"
    assert show_interval(None, None, "ms", 1) == ""


def test_an_interval_may_have_one_bound() -> None:
    """Skewed means have a lower bound sooner than an upper one; the open side says so."""
    assert show_interval(12.06, None, "ms", 1) == "[12.1, ∞)"
    assert show_interval(None, 0.5, "%", 0) == "(–∞, 50.0]"


@pytest.mark.parametrize(
    ("value", "scale", "unit", "text"),
    [
        (1.25, "ratio", "ms", "+25.0 %"), (0.5, "ratio", "", "-50.0 %"),
        (0.117, "difference", "%", "+11.7 pp"), (-0.5, "difference", "", "-0.50"),
        (None, "ratio", "", MISSING), (math.nan, "difference", "", MISSING),
    ],
)  # fmt: skip
def test_changes_have_a_sign(value: float | None, scale: str, unit: str, text: str) -> None:
    """Ratios are percent, differences of rates percentage points, others in their unit."""
    assert show_change(value, scale, unit, 2) == text


@pytest.mark.parametrize(
    ("scale", "unit", "text"),
    [("ratio", "ms", "[+20.0, +50.0]"), ("difference", "%", "[+120.0, +150.0]"),
     ("difference", "", "[+1.20, +1.50]")],
)  # fmt: skip
def test_intervals_of_changes(scale: str, unit: str, text: str) -> None:
    """The interval of a change is in the unit of the change."""
    assert show_change_interval(1.2, 1.5, scale, unit, 2) == text
    assert show_change_interval(1.2, None, scale, unit, 2) == ""


def test_one_and_many() -> None:
    """One event, two thousand events."""
    assert [plural(n, "event") for n in (0, 1, 2000)] == ["0 events", "1 event", "2,000 events"]


@pytest.mark.parametrize(
    ("values", "text"),
    [([0.0123], "12.3 µs"), ([18.94], "18.9 ms"), ([1250.0], "1.25 s"), ([204_000.0], "3.40 min"),
     ([5_400_000.0], "1.50 h"), ([0.0], "0 ms"), ([999.0, 1500.0], "0.999 s"), ([math.nan], "–")],
)  # fmt: skip
def test_times_have_the_unit_of_the_largest(values: list[float], text: str) -> None:
    """One unit a row: that in which its largest number is at least 1."""
    assert format_of("ms", values).show(values[0]) == text


def test_a_change_has_the_unit_of_its_row() -> None:
    """As have its interval and the interval of the number; a ratio stays one."""
    form = format_of("ms", [1250.0, 2500.0, None])
    assert form.change(1250.0, "difference") == "+1.25 s"
    assert form.change_interval(-500.0, 1500.0, "difference") == "[-0.50, +1.50]"
    assert form.interval(1000.0, 2000.0) == "[1.00, 2.00]"
    assert form.change(1.1, "ratio") == "+10.0 %"
    assert format_of("$", [0.0001]).change(0.0001, "difference") == "+$0.000100"
    assert format_of("$", [0.5]).change(-0.25, "difference") == "-$0.250"
    assert format_of("tokens", [12.0]).change(12.0, "difference") == "+12 tokens"


def test_what_rounds_to_zero_has_no_minus() -> None:
    """``[-0.0, +0.0]`` would look like a finding."""
    assert show_change(-0.00001, "difference", "ms", 1) == "+0.0 ms"
    assert show_change_interval(-0.001, 0.001, "difference", "", 1) == "[+0.0, +0.0]"
    assert show_change_interval(-0.0001, 0.2, "difference", "%", 1) == "[+0.0, +20.0]"
    assert show_change(-0.06, "difference", "", 1) == "-0.1"
