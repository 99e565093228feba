"""Numbers as text, with units and a sensible number of digits."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSING = "–"


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
    """``[69.9, 97.2]``: an interval in the unit of its number; empty if there is none."""
    if low is None or high is None:
        return ""
    if unit == "%":
        return f"[{low * 100:.1f}, {high * 100:.1f}]"
    return f"[{low:,.{digits}f}, {high:,.{digits}f}]"


def show_change(value: float | None, scale: str, unit: str, digits: int) -> str:
    """``+11.7 pp``, ``-3.2 %``, ``+0.075``."""
    if value is None or not math.isfinite(value):
        return MISSING
    if scale == "ratio":
        return f"{(value - 1) * 100:+,.1f} %"
    if unit == "%":
        return f"{value * 100:+.1f} pp"
    return f"{value:+,.{digits}f}"


def show_change_interval(
    low: float | None, high: float | None, scale: str, unit: str, digits: int
) -> str:
    """``[+2.1, +21.3]``: the interval of a change, in the unit of the change."""
    if low is None or high is None:
        return ""
    if scale == "ratio":
        return f"[{(low - 1) * 100:+,.1f}, {(high - 1) * 100:+,.1f}]"
    if unit == "%":
        return f"[{low * 100:+.1f}, {high * 100:+.1f}]"
    return f"[{low:+,.{digits}f}, {high:+,.{digits}f}]"


def show_p(p: float | None) -> str:
    """``0.032``, or ``<0.001``: a p-value is never shown as 0."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"
