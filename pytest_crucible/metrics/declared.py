"""Declared metrics: check what authors and plugins say about them; turn them into plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pytest_crucible._errors import DefinitionError
from pytest_crucible.metrics import formula
from pytest_crucible.metrics.catalog import (
    CURVE_STATISTICS,
    HIGHER,
    LOWER,
    RESERVED_NAMES,
    STATISTICS,
    Metric,
    Range,
)

FIELDS = ("unit", "better", "range", "margin", "formula")
_MAX_UNIT = 12
_EXAMPLE = '{"words": "lower", "score": Metric(better="higher", range=(0, 1))}'


def declared(given: object, *, by: str = "metrics", code: bool = False) -> tuple[Metric, ...]:
    """Return declared metrics after checking them.

    Args:
        given: by name, what is known of each: a `Metric`; ``lower`` or ``higher``; or a mapping
            with fields of `Metric`, as in TOML, or as `plain` makes it for a record.
        by: the keyword or hook that declares them, for messages.
        code: whether ``values`` is valid.

    Raises:
        DefinitionError: one line that names the wrong value and what would be valid.
    """
    if not isinstance(given, Mapping):
        raise DefinitionError(f"{by} must be a mapping such as {_EXAMPLE}, not {given!r:.80}")
    metrics = tuple(_declared(name, what, by, code) for name, what in given.items())
    formulas = {metric.path: metric.formula for metric in metrics if metric.formula is not None}
    for name, text in formulas.items():
        for variable in formula.variables(text):
            if variable in formulas:
                raise DefinitionError(
                    f"{by}: {name}: formula={text!r} names {variable!r}, which is a formula itself"
                )
    return metrics


def _declared(name: object, given: object, by: str, code: bool) -> Metric:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise DefinitionError(f"{by}: a metric's name must be printable text, not {name!r}")
    metric = _metric(name, given, by)
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
    if metric.values is not None and not code:
        raise DefinitionError(f"{by}: {name}: values= is for metrics of plugins")
    if metric.values is not None and not callable(metric.values):
        raise DefinitionError(f"{by}: {name}: values={metric.values!r} cannot be called")
    if metric.values is not None and metric.formula is not None:
        raise DefinitionError(f"{by}: {name}: values= and formula= exclude each other")
    _check_formula(metric, by)
    metric = _agreed(metric)
    metric = replace(metric, range=_range(metric, by))
    return replace(metric, margin=_margin(metric, by))


def _metric(name: str, given: object, by: str) -> Metric:
    """Return what was declared under a name as a `Metric` with this name."""
    if isinstance(given, str):
        given = {"better": given}
    if isinstance(given, Mapping):
        for key in given:
            if key not in FIELDS:
                valid = ", ".join(FIELDS)
                raise DefinitionError(f"{by}: {name}: unknown {key!r}; valid: {valid}")
        given = Metric(**given)
    if not isinstance(given, Metric):
        raise DefinitionError(
            f'{by}: {name}: {given!r:.80} is not "lower", "higher" or a Metric(…)'
        )
    if given.path not in ("", name):
        raise DefinitionError(f"{by}: the metric under {name!r} calls itself {given.path!r}")
    return replace(given, path=name)


def _check_formula(metric: Metric, by: str) -> None:
    text: object = metric.formula
    if text is None:
        return
    if not isinstance(text, str):
        raise DefinitionError(f"{by}: {metric.path}: formula={text!r} is no text")
    try:
        names = formula.variables(text)
    except DefinitionError as error:
        raise DefinitionError(f"{by}: {metric.path}: formula: {error}") from error
    for name in names:
        if name in RESERVED_NAMES:
            raise DefinitionError(
                f"{by}: {metric.path}: formula: {name!r} is a built-in metric, "
                "no number that tests record"
            )
        if name == metric.path:
            raise DefinitionError(f"{by}: {metric.path}: formula={text!r} names itself")


def _agreed(metric: Metric) -> Metric:
    """Add what is known of an agreement of raters: its range, and which direction is better."""
    if metric.formula is None or formula.agreement(metric.formula) is None:
        return metric
    limits = (-1.0, 1.0) if metric.range == (None, None) else metric.range
    return replace(metric, range=limits, better=metric.better or HIGHER)


def layered(under: Iterable[Metric], over: Iterable[Metric]) -> dict[str, Metric]:
    """Return metrics by name; of two with one name the one of ``over`` counts.

    Only how a metric is worked out stays, if ``over`` does not say that.
    """
    metrics = {metric.path: metric for metric in under}
    for metric in over:
        lower = metrics.get(metric.path)
        if lower is not None and metric.values is None and metric.formula is None:
            metric = _agreed(replace(metric, values=lower.values, formula=lower.formula))
        metrics[metric.path] = metric
    return metrics


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
    if metric.unit == "%" and high is not None and high > 1:
        raise DefinitionError(
            f'{by}: {metric.path}: the unit "%" is of shares from 0 to 1, shown in percent; of '
            f"values up to {high:g} leave the unit out"
        )
    return low, high


def bounded(limits: Range) -> bool:
    """Whether a range has two ends. Then a declared margin is in the unit of the metric."""
    return None not in limits


def _margin(metric: Metric, by: str) -> float | None:
    margin: Any = metric.margin
    if margin is None:
        return None
    most = 10.0
    if bounded(metric.range):
        low, high = metric.range
        assert low is not None
        assert high is not None
        most = high - low
    if isinstance(margin, bool) or not isinstance(margin, (int, float)) or not 0 < margin < most:
        meant = "in its unit" if bounded(metric.range) else "0.05 is 5 %"
        raise DefinitionError(
            f"{by}: {metric.path}: margin={margin!r} is no number between 0 and {most:g} ({meant})"
        )
    return float(margin)


def plain(metrics: Iterable[Metric]) -> dict[str, dict[str, Any]]:
    """Return declared metrics as plain data for the record; without ``values``, which is code."""
    return {metric.path: {key: getattr(metric, key) for key in FIELDS} for metric in metrics}
