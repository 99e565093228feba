"""Declared metrics: check what authors and plugins say about them; turn them into plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_crucible._errors import DefinitionError
from pytest_crucible.metrics.catalog import (
    CURVE_STATISTICS,
    HIGHER,
    LOWER,
    RESERVED_NAMES,
    STATISTICS,
    Metric,
)

_FIELDS = ("unit", "better", "range", "margin")
_MAX_UNIT = 12


def declared(metric: object, *, by: str = "metrics") -> Metric:
    """Return a declared metric after checking it.

    Args:
        metric: a `Metric`, or the plain data that `plain` made of one for a record.
        by: the keyword or hook that declares it, for messages.

    Raises:
        DefinitionError: one line that names the wrong value and what would be valid.
    """
    if isinstance(metric, Mapping):
        fields = {key: metric[key] for key in _FIELDS if key in metric}
        metric = Metric(metric.get("name", ""), **fields)
    if not isinstance(metric, Metric):
        raise DefinitionError(
            f'{by} must hold metrics such as Metric("score", better="higher"), not {metric!r}'
        )
    name: object = metric.path
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise DefinitionError(f"{by}: a metric's name must be printable text, not {name!r}")
    if name.partition(".")[0] in RESERVED_NAMES:
        raise DefinitionError(f"{by}: {name!r} is a built-in metric; use another name")
    if name.rpartition(".")[2] in (*STATISTICS, *CURVE_STATISTICS) and "." in name:
        number = name.rpartition(".")[0]
        raise DefinitionError(f"{by}: {name!r} is a statistic; declare the number: {number!r}")
    if metric.better not in (None, LOWER, HIGHER):
        raise DefinitionError(f"{by}: {name}: better={metric.better!r} is not lower or higher")
    unit: object = metric.unit
    if not isinstance(unit, str) or not unit.isprintable() or len(unit) > _MAX_UNIT:
        raise DefinitionError(
            f"{by}: {name}: unit={unit!r} is no text of up to {_MAX_UNIT} characters"
        )
    if metric.values is not None and not callable(metric.values):
        raise DefinitionError(f"{by}: {name}: values={metric.values!r} cannot be called")
    return replace(metric, range=_range(metric, by), margin=_margin(metric, by))


def _range(metric: Metric, by: str) -> tuple[float | None, float | None]:
    bounds: Any = metric.range
    try:
        if isinstance(bounds, str):  # of two digits it would do
            raise TypeError
        low, high = (None if bound is None else float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low = high = math.nan
    if any(limit is not None and math.isnan(limit) for limit in (low, high)) or (
        low is not None and high is not None and low >= high
    ):
        raise DefinitionError(
            f"{by}: {metric.path}: range={metric.range!r} is not (lowest, highest); None: no limit"
        )
    return low, high


def _margin(metric: Metric, by: str) -> float | None:
    margin: Any = metric.margin
    if margin is None:
        return None
    if isinstance(margin, bool) or not isinstance(margin, (int, float)) or not 0 < margin < 10:
        raise DefinitionError(
            f"{by}: {metric.path}: margin={margin!r} is no number between 0 and 10 (0.05 is 5 %)"
        )
    return float(margin)


def plain(metric: Metric) -> dict[str, Any]:
    """Return a declared metric as plain data for the record; without ``values``, which is code."""
    return {"name": metric.path, **{key: getattr(metric, key) for key in _FIELDS}}
