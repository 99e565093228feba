"""Curves in the terminal: a compact table, with bars where the terminal has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from pytest_crucible.events.event import LOG, Event
from pytest_crucible.report.lines import has_sparklines
from pytest_crucible.report.logged import span, sparkline
from pytest_crucible.report.terminal import render
from tests.made_events import event, trial, trial_scope, write_run


def lines(folder: Path, events: list[Event], sparklines: bool = True) -> list[str]:
    run = write_run(folder, events)
    return [line.text for line in render(analyse(open_run(run)), sparklines)]


def logged(values: list[float], condition: str = "default", name: str = "loss") -> list[Event]:
    scope = trial_scope(condition=condition)
    begin, end = trial("passed", scope)
    return [
        begin,
        *(
            event(LOG, {"value": value, "step": step}, {"name": name}, scope=scope)
            for step, value in enumerate(values)
        ),
        end,
    ]


def table(text: list[str]) -> list[str]:
    start = next(i for i, line in enumerate(text) if line.startswith("  logged"))
    return text[start : start + text[start:].index("") if "" in text[start:] else None]


def test_one_condition(tmp_path: Path) -> None:
    """No column for what is the same everywhere; whole steps; what is not finite is told."""
    assert table(lines(tmp_path / "run", logged([2.5, 0.5, float("nan")]))) == [
        "  logged      steps    first    last    best (step)  curve",
        "  loss            3    2.500       –      0.500 (1)  █▁·",
        "  1 of 3 values of loss is not finite",
    ]


def test_several_conditions(tmp_path: Path) -> None:
    """A row per condition, so that curves can be compared by eye."""
    events = logged([2, 1], "sgd") + logged([4, float("inf"), float("inf")], "adam")
    assert table(lines(tmp_path / "run", events)) == [
        "  logged            steps    first    last    best (step)  curve",
        "  loss      sgd         2        2       1          1 (1)  █▁",
        "  loss      adam        3        4       –          4 (0)  ▁··",
        "  2 of 3 values of loss of adam are not finite",
    ]


def test_terminals_without_bars_read_where_it_goes(tmp_path: Path) -> None:
    """Plain text takes the place of the curve."""
    found = table(lines(tmp_path / "run", logged([2.5, 0.5, 1.0]), sparklines=False))
    assert found[1] == "  loss            3    2.500   1.000      0.500 (1)  0.500 to 2.500"


@pytest.mark.parametrize(
    ("encoding", "has"),
    [
        ("utf-8", True),
        ("UTF8", True),
        ("utf_8", True),
        (None, True),
        ("ascii", False),
        ("cp1252", False),
    ],
)
def test_encoding_tells_whether_there_are_bars(encoding: str | None, has: bool) -> None:
    """UTF-8 has them, whatever its spelling; no file, no limits."""
    assert has_sparklines(encoding) is has


@settings(max_examples=50)
@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_sparkline_draws_any_finite_numbers(values: list[float | None]) -> None:
    """A character per value; the lowest is the lowest bar, the highest the highest."""
    drawn = sparkline(values)
    known = [value for value in values if value is not None]
    assert len(drawn) == (len(values) if known else 0)
    assert span(values, 2) == "" or " to " in span(values, 2)
    if known and min(known) < max(known):
        assert drawn[values.index(min(known))] == "▁"
        assert drawn[values.index(max(known))] == "█"


def test_constant_is_a_flat_line() -> None:
    """No change is drawn as none."""
    assert sparkline([2.0, 2.0, None]) == "▁▁·"
    assert sparkline([None]) == ""
