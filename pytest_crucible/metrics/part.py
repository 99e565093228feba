"""A part of a group: the observations of some of its cases."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.metrics.counting.model_calls import CallCounts
from pytest_crucible.metrics.curves import LoggedSeries
from pytest_crucible.metrics.groups import Group, MeasuredSeries, Series

S = TypeVar("S", Series, LoggedSeries)


def part_of(group: Group, cases: Collection[str]) -> Group:
    """Return a group with the observations of some cases.

    Counts of model calls, HTTP calls and invalid events are not known by case: they are empty.

    Args:
        group: the whole.
        cases: ids of the cases.
    """
    indices = np.array([group.cases[case] for case in cases if case in group.cases], dtype=np.int64)
    keep = np.isin(np.frombuffer(group.case, dtype=np.int64), indices)
    rows = {int(row): new for new, row in enumerate(np.flatnonzero(keep).tolist())}
    part = Group(group.experiment, group.condition)
    part.names, part.cases = group.names, group.cases
    part.clusters, part.enclosing = group.clusters, group.enclosing
    for each in fields(group):
        column = getattr(group, each.name)
        if isinstance(column, array) and each.name != "weight":
            setattr(part, each.name, _rows(column, keep))
    part.numbers = {name: _rows(column, keep) for name, column in group.numbers.items()}
    part.weight = _rows(group.weight, keep) if group.weight else group.weight
    part.processes = group.processes
    part.recorded = _all_of(group.recorded, indices)
    part.logged = _all_of(group.logged, indices)
    part.declared = _all_of(group.declared, indices)
    part.trials = [trial for trial in group.trials if trial.case in cases]
    part.invalid, part.http_calls, part.calls = Counter(), Counter(), CallCounts()
    part.failed = {rows[row]: error for row, error in group.failed.items() if row in rows}
    part.cancelled = {rows[row] for row in group.cancelled if row in rows}
    part.merged = {rows[row] for row in group.merged if row in rows}
    part.sampled, part.began = group.sampled, group.began
    if group.wholes is not None:
        part.wholes = [whole for whole in group.wholes if whole.case in set(indices.tolist())]
    return part


def _rows(column: array[Any], keep: NDArray[np.bool_]) -> array[Any]:
    """Return the rows of a column that are kept; missing rows at its end are not there either."""
    values = np.frombuffer(column, dtype=np.dtype(column.typecode))
    return array(column.typecode, values[keep[: values.size]].tobytes())


def _all_of(series: Mapping[str, S], cases: NDArray[np.int64]) -> dict[str, S]:
    found = {}
    for name, each in series.items():
        keep = np.isin(np.frombuffer(each.cases, dtype=np.int64), cases)
        if keep.any():
            found[name] = _part(each, keep)
    return found


def _part(series: S, keep: NDArray[np.bool_]) -> S:
    columns = {
        column: _rows(getattr(series, column), keep)
        for column in ("values", "cases", "trials", "attempts")
    }
    if isinstance(series, LoggedSeries):
        columns["steps"] = _rows(series.steps, keep)
    if isinstance(series, MeasuredSeries):
        columns["processes"] = _rows(series.processes, keep)
    part = copy(series)
    for name, column in columns.items():
        setattr(part, name, column)
    part.invalid = 0
    return part
