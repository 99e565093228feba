"""The language of expectations: ``success_rate > 0.9``, ``latency.p95 < 1.1 * control``.

Grammar::

    expectation = [condition "."] metric comparison bound
    comparison  = "<" | "<=" | ">" | ">="
    bound       = number | [number "*"] condition [("*" | "/") number] [("+" | "-") number]
    number      = digits, with an optional fraction, exponent, and "%" or "pp"

``5pp`` (percentage points) is a change of a share: ``success_rate > control - 5pp``.

A condition whose name is not a plain word needs quotes: ``'model b'.success_rate > 90%``. An
expectation without a condition is judged for every condition; a relative one for every condition
but the one that it names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pytest_crucible._errors import ExpectationError
from pytest_crucible.metrics.catalog import BUILT_IN, RESERVED_NAMES, SHARE, children

PRODUCT = " × "
"""Between the names in the name of an arm of several axes: ``'gpt-4o × short'.success_rate``."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?(?:%|pp\b)?)"
    r"|(?P<name>[^\W\d][\w-]*)"
    r"|'(?P<quoted>[^']+)'"
    r"|(?P<op><=|>=|==|!=|<|>|\*|/|\+|-|\.|=))"
)


@dataclass(frozen=True, slots=True)
class Bound:
    """``factor * (metric of condition) + offset``; without a condition, only ``offset``."""

    offset: float
    factor: float = 1.0
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """One parsed expectation.

    Attributes:
        text: as the user wrote it.
        metric: path of the metric, ``latency.p95``.
        comparison: one of < <= > >=.
        bound: what the metric is compared with.
        condition: the only condition that it is judged for; None for all.
    """

    text: str
    metric: str
    comparison: str
    bound: Bound
    condition: str | None = None

    @property
    def wants_more(self) -> bool:
        """Whether the metric has to be above the bound."""
        return self.comparison.startswith(">")

    def concerns(self, condition: str) -> bool:
        """Whether it is judged for a condition; never for that which it compares with."""
        return self.condition in (None, condition) and condition != self.bound.condition

    def holds(self, value: float, bound: float) -> bool:
        """Return whether a value fulfils the comparison with a bound."""
        match self.comparison:
            case "<":
                return value < bound
            case "<=":
                return value <= bound
            case ">":
                return value > bound
            case _:
                return value >= bound


def parse(text: str, conditions: Sequence[str] = ()) -> Expectation:
    """Parse one expectation.

    Args:
        text: as the user wrote it.
        conditions: the experiment's conditions; the first is the baseline.

    Raises:
        ExpectationError: the text does not follow the grammar, or names an unknown condition or
            metric; the error has the column of the first wrong character.
    """
    return _Parser(text, conditions).expectation()


class _Parser:
    """A recursive-descent parser: a method per rule of the grammar, ``at`` is the next token."""

    def __init__(self, text: str, conditions: Sequence[str]) -> None:
        self.text = text
        self.conditions = conditions
        self.metric_path = ""
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                column = position + len(text[position:]) - len(text[position:].lstrip()) + 1
                raise ExpectationError(f"cannot read {text[column - 1]!r}", text, column)
            kind = str(match.lastgroup)
            self.tokens.append((kind, match[kind], match.start(kind) + 1))
            position = match.end()
        self.tokens.append(("end", "", len(text.rstrip()) + 1))
        self.at = 0

    def expectation(self) -> Expectation:
        condition, metric = self.metric()
        self.metric_path = metric
        comparison = self.comparison()
        bound = self.bound()
        if self.tokens[self.at][0] != "end":
            raise self.error(
                f"unexpected {self.tokens[self.at][1]!r}; a bound is a number, or like "
                "1.1 * control + 5, control / 2, control - 5pp;"
            )
        return Expectation(self.text.strip(), metric, comparison, bound, condition)

    def metric(self) -> tuple[str | None, str]:
        kind, first, column = self.expect("name", "quoted", wanted="a metric such as success_rate")
        parts = [(first, column)]
        while self.tokens[self.at][1] == "." and self.tokens[self.at][0] == "op":
            self.at += 1
            _, part, column = self.expect("name", wanted="a name after the dot")
            parts.append((part, column))
        condition = None
        if kind == "quoted" or (first in self.conditions and len(parts) > 1):
            condition = self.known_condition(*parts.pop(0))
            if not parts:
                raise self.error("expected '.' and a metric after the condition")
        self.check_path(parts)
        return condition, ".".join(name for name, _ in parts)

    def check_path(self, parts: list[tuple[str, int]]) -> None:
        """Refuse a wrong path into a built-in metric; any other name may be a recorded number."""
        (first, column), rest = parts[0], [name for name, _ in parts[1:]]
        if first not in RESERVED_NAMES and rest and (len(rest) > 1 or rest[0] in RESERVED_NAMES):
            # A recorded name has no dots, so the name before such a path must be a condition.
            self.known_condition(first, column)
        path = ""
        for name, column in parts:
            valid = children(path)
            if path and first in RESERVED_NAMES and name not in valid:
                hint = f"valid: {', '.join(valid)};" if valid else f"{path} is a number;"
                raise ExpectationError(f"{path} has no {name!r}; {hint}", self.text, column)
            path = f"{path}.{name}" if path else name
        valid = children(path)
        if valid:
            raise ExpectationError(
                f"{path} needs more; valid: {', '.join(valid)};", self.text, parts[-1][1]
            )

    def comparison(self) -> str:
        kind, value, column = self.tokens[self.at]
        if kind != "op" or value not in ("<", "<=", ">", ">="):
            raise ExpectationError("expected one of < <= > >=", self.text, column)
        self.at += 1
        return value

    def bound(self) -> Bound:
        sign = 1.0
        if self.tokens[self.at][1] == "-":
            self.at, sign = self.at + 1, -1.0
        kind, value, column = self.expect(
            "number", "name", "quoted", wanted="a number or a condition"
        )
        if kind != "number":
            condition = self.known_condition(value, column)
            factor = sign * self.factor()
            return Bound(self.offset(), factor, condition)
        if value.endswith("pp"):
            raise ExpectationError(
                f"{value} is a change; as a bound write {value[:-2]}%", self.text, column
            )
        factor = sign * _number(value)
        if self.tokens[self.at][1] != "*":
            return Bound(factor)
        self.at += 1
        _, name, column = self.expect("name", "quoted", wanted="a condition after '*'")
        condition = self.known_condition(name, column)
        factor *= self.factor()
        return Bound(self.offset(), factor, condition)

    def factor(self) -> float:
        """Read what may follow a condition: ``* 1.1`` or ``/ 2``; 1 without it."""
        sign = self.tokens[self.at][1]
        if sign not in ("*", "/") or self.tokens[self.at][0] != "op":
            return 1.0
        self.at += 1
        _, digits, column = self.expect("number", wanted=f"a number after {sign!r}")
        if digits.endswith("pp"):
            raise ExpectationError(f"{digits} is a change: + {digits} or -", self.text, column)
        number = _number(digits)
        if sign == "/" and number == 0:
            raise ExpectationError("nothing can be divided by 0", self.text, column)
        return number if sign == "*" else 1 / number

    def offset(self) -> float:
        _, value, _ = self.tokens[self.at]
        if value not in ("+", "-"):
            return 0.0
        self.at += 1
        _, digits, column = self.expect("number", wanted="a number")
        built_in = BUILT_IN.get(self.metric_path)
        if digits.endswith("pp") and built_in is not None and built_in.range != SHARE:
            unit = f" is in {built_in.unit}" if built_in.unit else ""
            raise ExpectationError(
                f"pp (percentage points) is for shares; {self.metric_path}{unit or ' is none'}:"
                " write a number, or a multiple such as 0.95 * control;", self.text, column
            )  # fmt: skip
        return _number(digits) if value == "+" else -_number(digits)

    def known_condition(self, name: str, column: int) -> str:
        """Return the name of a condition; refuse any other name."""
        if name.replace(" x ", PRODUCT) in self.conditions:  # × is hard to type
            return name.replace(" x ", PRODUCT)
        if name not in self.conditions:
            close = get_close_matches(name, self.conditions, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            valid = ", ".join(self.conditions) or "none, this experiment has one condition"
            raise ExpectationError(
                f"unknown condition {name!r} (valid: {valid}){hint}", self.text, column
            )
        return name

    def expect(self, *kinds: str, wanted: str) -> tuple[str, str, int]:
        """Consume the next token; refuse it if it is of another kind."""
        token = self.tokens[self.at]
        if token[0] not in kinds:
            raise self.error(f"expected {wanted}")
        self.at += 1
        return token

    def error(self, problem: str) -> ExpectationError:
        return ExpectationError(problem, self.text, self.tokens[self.at][2])


def _number(text: str) -> float:
    digits = text.removesuffix("%").removesuffix("pp")
    return float(digits) if digits == text else float(digits) / 100
