"""Formulas: arithmetic over recorded numbers, ``tp / (tp + fp)``, read without ``eval``."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any

from pytest_crucible._errors import DefinitionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MOST_CHARACTERS = 500
_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_FUNCTIONS = ("min", "max")
_VALID = "valid: names, numbers, + - * / ** ( ) min max"

AGREEMENTS = KAPPA, ALPHA, ALPHA_ORDINAL, ALPHA_INTERVAL = (
    "kappa", "alpha", "alpha_ordinal", "alpha_interval",
)  # fmt: skip
"""Functions of recorded labels, ``kappa(judge, human)``: Cohen's, and Krippendorff's by level."""


class NoValueError(ValueError):
    """A formula has no value for these numbers; the message says why and appears in reports."""


def variables(formula: str) -> tuple[str, ...]:
    """Return the names in a formula after checking it, in the order in which they appear.

    Raises:
        DefinitionError: one line that says what is wrong and what would be valid.
    """
    found = agreement(formula)
    if found is not None:
        return found[1]
    names: dict[str, None] = {}
    _check(_parse(formula), names)
    if not names:
        raise DefinitionError(f"{formula!r} names no recorded number")
    return tuple(names)


def agreement(formula: str) -> tuple[str, tuple[str, ...]] | None:
    """Return one of `AGREEMENTS` and the names of the raters; None for a formula over sums.

    Raises:
        DefinitionError: its raters are no names, or their number is wrong.
    """
    match _parse(formula):
        case ast.Call(func=ast.Name(id=kind), args=arguments, keywords=[]) if kind in AGREEMENTS:
            names = tuple(each.id for each in arguments if isinstance(each, ast.Name))
            few = len(names) != 2 if kind == KAPPA else len(names) < 2
            if few or len({*names}) < len(arguments):
                takes = "the names of two" if kind == KAPPA else "the names of two or more"
                raise DefinitionError(
                    f"{formula!r}: {kind} takes {takes} recorded labels: kappa(judge, human)"
                )
            return kind, names
    return None


def value(formula: str, numbers: Mapping[str, float]) -> float:
    """Return the value of a checked formula, in Python's arithmetic of floats.

    Args:
        formula: as `variables` accepts it.
        numbers: one for every name.

    Raises:
        NoValueError: it divides by zero, or the value is no finite number.
    """
    try:
        result = _evaluate(_parse(formula), numbers)
    except OverflowError as error:
        raise NoValueError(f"{formula} is too large a number") from error
    if isinstance(result, complex) or not math.isfinite(result):
        raise NoValueError(f"{formula} is no finite number")
    return float(result)


def values(formula: str, numbers: Mapping[str, Floats]) -> Floats:
    """Return the values of a checked formula, element by element; not finite where it has none.

    Args:
        formula: as `variables` accepts it.
        numbers: an array for every name, all of the same shape.
    """
    import numpy as np  # not at the top: a marker is checked in sessions that need no NumPy

    with np.errstate(all="ignore"):
        result: Floats = np.asarray(_evaluate(_parse(formula), numbers, np.float64))
    return result


@lru_cache(maxsize=256)
def _parse(formula: str) -> ast.expr:
    if len(formula) > _MOST_CHARACTERS:
        raise DefinitionError(f"a formula has up to {_MOST_CHARACTERS} characters")
    try:
        return ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" at column {error.offset}" if isinstance(error, SyntaxError) else ""
        raise DefinitionError(f"{formula!r} is no formula{where}; {_VALID}") from error


def _check(node: ast.expr, names: dict[str, None]) -> None:
    """Collect the names below a node; refuse everything that is no arithmetic."""
    match node:
        case ast.Constant(value=int() | float() as number) if type(number) is not bool:
            _check_number(number)
        case ast.Name(id=name):
            names[name] = None
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            _check(left, names)
            _check(right, names)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            _check(operand, names)
        case ast.Call(func=ast.Name(id=called), args=[_, _, *_], keywords=[]) if (
            called in _FUNCTIONS
        ):
            for argument in node.args:
                _check(argument, names)
        case ast.Attribute(value=ast.Name(id=name)):
            raise DefinitionError(
                f"{ast.unparse(node)!r}: {name!r} alone is the sum of what was recorded; {_VALID}"
            )
        case _:
            raise DefinitionError(f"{ast.unparse(node)!r} has no place in a formula; {_VALID}")


def _check_number(number: float) -> None:
    try:
        float(number)
    except OverflowError as error:
        raise DefinitionError("a number of a formula is too large") from error


def _evaluate(node: ast.expr, numbers: Mapping[str, Any], real: Callable[..., Any] = float) -> Any:
    """Return the value of a checked node: a float, or an array if ``numbers`` are arrays.

    Args:
        node: checked.
        numbers: by name.
        real: type of the formula's own numbers. Those of NumPy raise nothing: 1 / 0 is infinite.
    """
    match node:
        case ast.Constant(value=number):
            return real(number)
        case ast.Name(id=name):
            return numbers[name]
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_evaluate(operand, numbers, real))
        case ast.BinOp(left=left, op=op, right=right):
            first, second = _evaluate(left, numbers, real), _evaluate(right, numbers, real)
            try:
                return _BINARY[type(op)](first, second)
            except ZeroDivisionError as error:
                base = left if isinstance(op, ast.Pow) else right
                raise NoValueError(f"it divides by zero: {ast.unparse(base)} is 0") from error
        case ast.Call(func=ast.Name(id=called), args=arguments):
            return _extreme(called, [_evaluate(argument, numbers, real) for argument in arguments])
    raise AssertionError(node)  # `_check` lets nothing else through


def _extreme(called: str, arguments: list[Any]) -> Any:
    if all(isinstance(argument, float) for argument in arguments):
        return min(arguments) if called == "min" else max(arguments)
    import numpy as np

    return reduce(np.minimum if called == "min" else np.maximum, arguments)
