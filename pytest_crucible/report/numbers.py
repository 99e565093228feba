"""Numbers as text, with units and a sensible number of digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MISSING = "–"
_TIMES = (("µs", 0.001), ("ms", 1.0), ("s", 1_000.0), ("min", 60_000.0), ("h", 3_600_000.0))
"""Units of time and their sizes in ms."""


@dataclass(frozen=True, slots=True)
class Format:
    """How the numbers of one row are shown: all in one unit, with the same number of decimals.

    Attributes:
        unit: as in the catalogue, but a time may have another unit than ms.
        size: of the unit, in the catalogue's unit.
        digits: decimals.
    """

    unit: str
    size: float
    digits: int

    def show(self, value: float | None) -> str:
        """Return a number with its unit, see `show`."""
        return show(self._scaled(value), self.unit, self.digits)

    def interval(self, low: float | None, high: float | None) -> str:
        """Return the interval of a number, see `show_interval`."""
        return show_interval(self._scaled(low), self._scaled(high), self.unit, self.digits)

    def change(self, value: float | None, scale: str) -> str:
        """Return a change with its unit, see `show_change`."""
        scaled = value if scale == "ratio" else self._scaled(value)
        return show_change(scaled, scale, self.unit, self.digits)

    def change_interval(self, low: float | None, high: float | None, scale: str) -> str:
        """Return the interval of a change, see `show_change_interval`."""
        if scale != "ratio":
            low, high = self._scaled(low), self._scaled(high)
        return show_change_interval(low, high, scale, self.unit, self.digits)

    def _scaled(self, value: float | None) -> float | None:
        return None if value is None else value / self.size


def format_of(
    unit: str, values: Sequence[float | None], bounds: Sequence[float | None] = ()
) -> Format:
    """Return the format of a row: a time in the unit that suits the largest value.

    Args:
        unit: as in the catalogue.
        values: the numbers of the row; None where there is none.
        bounds: as for `decimals`.
    """
    numbers = [value for value in values if value is not None]
    size = 1.0
    if unit == "ms":
        largest = max((abs(value) for value in numbers if math.isfinite(value)), default=0.0)
        fitting = [time for time in _TIMES if largest >= time[1]] if largest else []
        unit, size = fitting[-1] if fitting else _TIMES[0] if largest else (unit, size)
    scaled = [number / size for number in numbers]
    limits = [None if bound is None else bound / size for bound in bounds]
    return Format(unit, size, decimals(scaled, limits))


def decimals(values: Sequence[float], bounds: Sequence[float | None] = ()) -> int:
    """Return the number of decimals for all numbers of a row.

    So many that the smallest value shows three significant digits, but at most six; more, up to
    twelve, if the largest value needs them to show two digits. Whole numbers have none, unless
    they have an interval whose bounds are not whole.

    Args:
        values: the numbers of the row.
        bounds: the bounds of their intervals; None for a number without interval.
    """
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    whole = all(float(value).is_integer() for value in values)
    if whole and any(b is not None and math.isfinite(b) and b % 1 for b in bounds):
        return 2 if max(sizes, default=0) < 100 else 1
    if not sizes or whole:
        return 0
    enough = min(6, max(0, 2 - math.floor(math.log10(min(sizes)))))
    # Costs can be so small that six decimals would show only zeros.
    return max(enough, min(12, 1 - math.floor(math.log10(max(sizes)))))


def show(value: float | None, unit: str, digits: int) -> str:
    """Return a number with its unit.

    Args:
        value: the number; a share between 0 and 1 for the unit ``%``.
        unit: as in the catalogue: ``ms``, ``$``, ``%`` or empty.
        digits: decimals; shares always have one, and dollars at least two.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if unit == "%":
        return f"{value * 100:.1f} %"
    if unit == "$":
        return f"${value:,.{max(2, digits)}f}"
    text = f"{value:,.{digits}f}"
    return f"{text} {unit}" if unit else text


def show_interval(low: float | None, high: float | None, unit: str, digits: int) -> str:
    """``[69.9, 97.2]``: an interval in the unit of its number; empty if there is none.

    ``[12.1, ∞)`` and ``(–∞, 12.1]``: it has one bound.
    """
    if low is None and high is None:
        return ""
    scale = 100 if unit == "%" else 1
    digits = 1 if unit == "%" else digits
    left = "(–∞" if low is None else f"[{low * scale:,.{digits}f}"
    right = "∞)" if high is None else f"{high * scale:,.{digits}f}]"
    return f"{left}, {right}"


def show_change(value: float | None, scale: str, unit: str, digits: int) -> str:
    """``+11.7 pp``, ``-3.2 %``, ``+0.075``, ``+99 ms``, ``-$0.10``."""
    if value is None or not math.isfinite(value):
        return MISSING
    if scale == "ratio":
        return f"{_signed((value - 1) * 100, 1)} %"
    if unit == "%":
        return f"{_signed(value * 100, 1)} pp"
    if unit == "$":
        text = _signed(value, max(2, digits))
        return f"{text[0]}${text[1:]}"
    text = _signed(value, digits)
    return f"{text} {unit}" if unit else text


def show_change_interval(
    low: float | None, high: float | None, scale: str, unit: str, digits: int
) -> str:
    """``[+2.1, +21.3]``: the interval of a change, in the unit of the change."""
    if low is None or high is None:
        return ""
    if scale == "ratio":
        return f"[{_signed((low - 1) * 100, 1)}, {_signed((high - 1) * 100, 1)}]"
    if unit == "%":
        return f"[{_signed(low * 100, 1)}, {_signed(high * 100, 1)}]"
    return f"[{_signed(low, digits)}, {_signed(high, digits)}]"


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign; what rounds to zero is no -0.0."""
    text = f"{value:+,.{digits}f}"
    is_zero = not any(digit in text for digit in "123456789") and text[1:4] != "inf"
    return f"+{text[1:]}" if is_zero else text
