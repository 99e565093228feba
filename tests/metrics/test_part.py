"""Parts of a group: they partition it, and the part of everything is the whole."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.event import LOG, Event
from pytest_crucible.metrics.curves import LoggedSeries
from pytest_crucible.metrics.groups import Group, Series
from pytest_crucible.metrics.part import part_of
from pytest_crucible.metrics.summary import flatten, summarise
from tests.made_events import MS, event, recorded, trial, trial_scope
from tests.metrics.support import call, group, hedge

CASES = ("a", "b", "c", "d")


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    """Trials of up to four cases, with operations, numbers, curves and errors."""
    found: list[Event] = []
    for case in CASES[: draw(st.integers(1, 4))]:
        for number in range(1, draw(st.integers(1, 3)) + 1):
            scope = trial_scope(case, number)
            start, *stop = trial(
                draw(st.sampled_from(["passed", "failed", "errored", None])), scope
            )
            found.append(start)
            for _ in range(draw(st.integers(0, 3))):
                measured = {"duration": draw(st.integers(1, 50)) * MS}
                error = {"error": "boom"} if draw(st.booleans()) else {}
                found.append(event(measurements=measured, metadata=error, scope=scope))
            if draw(st.booleans()):
                found.append(recorded({"score": draw(st.floats(0, 1))}, scope))
            if draw(st.booleans()):
                value = {"value": draw(st.floats(0, 1)), "step": 0}
                found.append(event(LOG, value, {"name": "loss"}, scope=scope))
            found += stop
    return found


def rows(part: Group) -> Counter[Any]:
    """Every row, with all that is known of it."""
    columns = [part.name, part.case, part.trial, part.time_us, part.counted, part.judge]
    numbers = [np.nan_to_num(np.array(column), nan=-1).tolist() for column in part.numbers.values()]
    notes = [
        (part.failed.get(row), row in part.cancelled, row in part.merged)
        for row in range(len(part.case))
    ]
    return Counter(zip(*columns, *numbers, notes, strict=True))


def series(part: Group) -> Counter[Any]:
    """Every recorded and logged number with its case and trial."""
    every: list[tuple[str, Series | LoggedSeries]] = [*part.recorded.items(), *part.logged.items()]
    return Counter(
        (name, *values)
        for name, each in every
        for values in zip(each.values, each.cases, each.trials, each.attempts, strict=True)
    )


@given(events(), st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_parts_partition_a_group(found: list[Event], parts: list[int]) -> None:
    """Rows, numbers and trials are each in exactly one of them."""
    whole = group(*found)
    members = [{c for c, n in zip(CASES, parts, strict=True) if n == part} for part in range(3)]
    pieces = [part_of(whole, cases) for cases in members]
    assert sum(map(rows, pieces), Counter()) == rows(whole)
    assert sum(map(series, pieces), Counter()) == series(whole)
    assert sorted(t.case for piece in pieces for t in piece.trials) == sorted(
        t.case for t in whole.trials
    )
    for piece, cases in zip(pieces, members, strict=True):
        assert {trial.case for trial in piece.trials} <= cases


@given(events())
def test_the_part_of_all_cases_is_the_whole(found: list[Event]) -> None:
    """In every metric, and the whole is left as it was."""
    whole = group(*found)
    before = rows(whole)
    part = part_of(whole, CASES)
    numbers, others = (dict(flatten(summarise(each))) for each in (whole, part))
    assert numbers.keys() == others.keys()
    for path, number in numbers.items():
        other = others[path]
        if number is None or other is None:
            assert number == other, path
        else:
            assert math.isclose(number, other, rel_tol=1e-9), path
    assert rows(whole) == before


def test_a_part_of_nothing_is_empty() -> None:
    """Also of cases that the group does not have."""
    whole = group(*trial("passed", trial_scope("a")), event(scope=trial_scope("a")))
    for cases in ((), ("z",)):
        part = part_of(whole, cases)
        assert not part.trials
        assert not part.case
        assert summarise(part).tests.trials == 0


def test_events_outside_cases_are_in_no_part() -> None:
    """They belong to the experiment as a whole."""
    scope = trial_scope("a")
    outside = replace(scope, case=None, trial=None)
    whole = group(*trial("passed", scope), event(scope=scope), event(scope=outside))
    assert len(whole.case) == 2
    assert len(part_of(whole, ["a"]).case) == 1


def test_ensembles_and_hedged_requests_are_of_their_case() -> None:
    """As far as they are known by case."""
    whole = group(
        hedge("start", 0), call("big", 50, 50, request_id="h1"), hedge("stop", 60, {"cost": 1.0})
    )
    assert part_of(whole, ["z"]).wholes == []
