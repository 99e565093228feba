"""Formulas: Python's arithmetic over recorded numbers, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._errors import DefinitionError
from pytest_crucible.metrics.formula import NoValueError, agreement, value, values, variables

NUMBERS = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner)
    return (
        pair.map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})")
        | inner.map(lambda part: f"-({part})")
        | st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        )
    )


LEAVES = st.sampled_from(["a", "b", "c"]) | st.integers(0, 9).map(str)
FORMULAS = st.recursive(LEAVES, _grown, max_leaves=8).map(lambda text: f"a + {text}")


@given(FORMULAS, NUMBERS, NUMBERS, NUMBERS)
def test_it_is_pythons_arithmetic(text: str, a: float, b: float, c: float) -> None:
    """Of floats: the same number, or a reason why there is none."""
    numbers = {"a": a, "b": b, "c": c}
    floats = text.translate({ord(digit): f"{digit}.0" for digit in "0123456789"})
    try:
        expected = eval(floats, {"__builtins__": {}, "min": min, "max": max}, numbers)
    except (ZeroDivisionError, OverflowError):
        expected = math.nan
    except TypeError:  # a complex number in min or max
        expected = math.nan
    if isinstance(expected, complex) or not math.isfinite(expected):
        with pytest.raises(NoValueError):
            value(text, numbers)
        return
    assert value(text, numbers) == expected


@given(FORMULAS, st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5))
def test_arrays_give_the_same_element_by_element(
    text: str, rows: list[tuple[float, float, float]]
) -> None:
    """Not finite where there is no value."""
    arrays = {
        name: np.array(column) for name, column in zip("abc", zip(*rows, strict=True), strict=True)
    }
    found = np.broadcast_to(values(text, arrays), (len(rows),))
    for each, row in zip(found.tolist(), rows, strict=True):
        try:
            expected = value(text, dict(zip("abc", row, strict=True)))
        except NoValueError:
            continue  # NumPy has infinities half-way, where Python raises
        assert each == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_names_are_told_in_order() -> None:
    """Each once."""
    assert variables("2*tp / (2*tp + fp + fn)") == ("tp", "fp", "fn")


def test_agreements_name_their_raters() -> None:
    """The whole formula is one; the names are those of recorded labels."""
    assert agreement("kappa(judge, human)") == ("kappa", ("judge", "human"))
    assert agreement("alpha_ordinal(a, b, c)") == ("alpha_ordinal", ("a", "b", "c"))
    assert variables("alpha(a, b, c)") == ("a", "b", "c")
    assert agreement("kappa / alpha") is None
    assert variables("kappa / alpha") == ("kappa", "alpha")


@pytest.mark.parametrize(
    "text", ["kappa(a)", "kappa(a, b, c)", "kappa(a, a)", "kappa(a, 1)", "alpha(a)", "alpha()"]
)
def test_an_agreement_needs_its_raters(text: str) -> None:
    """In one line."""
    with pytest.raises(DefinitionError, match=r"takes the names of two.*kappa\(judge, human\)"):
        variables(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is no formula"),
        ("2*tp/(tp", "is no formula at column"),
        ("1 + 2", "names no recorded number"),
        ("tp.mean / 2", "'tp' alone is the sum of what was recorded"),
        ("abs(tp)", "'abs(tp)' has no place in a formula; valid: names, numbers, + - * / **"),
        ("min(tp)", "'min(tp)' has no place"),
        ("1 - kappa(a, b)", "'kappa(a, b)' has no place"),
        ("tp if fp else fn", "has no place"),
        ("__import__('os')", "has no place"),
        ("tp[0]", "has no place"),
        ("tp and fp", "has no place"),
        ("tp // 2", "has no place"),
        ("tp + True", "'True' has no place"),
        ("tp + 'x'", "has no place"),
        ("tp + 1j", "has no place"),
        ("(lambda: 1)()", "has no place"),
        ("tp + 1" + "0" * 400, "too large"),
        ("tp + " * 200 + "tp", "up to 500 characters"),
        ("tp\nfp", "is no formula"),
    ],
)
def test_everything_else_is_refused(text: str, problem: str) -> None:
    """In one line that says what is valid."""
    with pytest.raises(DefinitionError) as caught:
        variables(text)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tp / (tp - tp)", "it divides by zero: tp - tp is 0"),
        ("0 ** -tp", "it divides by zero: 0 is 0"),
        ("tp ** 999999", "too large a number"),
        ("(0 - tp) ** 0.5", "is no finite number"),
    ],
)
def test_no_value_has_a_reason(text: str, problem: str) -> None:
    """In words."""
    with pytest.raises(NoValueError, match=problem.replace("*", ".")):
        value(text, {"tp": 3.0})
