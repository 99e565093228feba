"""Tests of `pytest_crucible.report.verdict_rows`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_crucible.report.verdict_rows import (
    change_cells,
    change_header,
    comparison_lines,
    undeclared_note,
    verdict_lines,
    verdict_text,
)
from pytest_crucible.stats.comparison import CHANGED, REGRESSED, Comparison
from pytest_crucible.stats.expectations import CONFIRMED, INCONCLUSIVE, Verdict

ROW = Comparison(
    metric="cost", baseline=0.01, candidate=0.0125, verdict=REGRESSED, scale="difference",
    change=0.0025, low=0.001, high=0.004, p=0.0004, n=(30,), unit="$",
)  # fmt: skip


def test_a_row_has_a_cell_for_every_heading() -> None:
    """With the values of both sides or without them."""
    for values in (True, False):
        assert len(change_cells(ROW, values)) == len(change_header(values))


def test_changes_keep_their_unit() -> None:
    """A difference in dollars, in time and in tokens says what it is a difference of."""
    assert change_cells(ROW)[4] == "+$0.0025"
    in_time = replace(ROW, unit="ms", baseline=1_000.0, candidate=1_250.0, change=250.0)
    assert change_cells(in_time)[2:5] == ["1.00 s", "1.25 s", "+0.25 s"]
    tokens = replace(ROW, unit="tokens", baseline=10.0, candidate=12.0, change=2.0)
    assert change_cells(tokens)[4] == "+2.00 tokens"
    assert change_cells(replace(ROW, scale="ratio", change=1.25))[4] == "+25.0 %"


def test_the_verdict_stands_first_and_colours_its_line() -> None:
    """Hostile names break neither the line nor the table."""
    head, line = comparison_lines([replace(ROW, metric="a\nb\x1b[31m")], "  ")
    assert head.text.split()[0] == "metric"
    assert line.text.split()[:3] == [REGRESSED, "a", "b"]
    assert line.style == "red"
    assert "\x1b" not in line.text


def test_how_to_declare_is_said_once() -> None:
    """For all numbers of which nobody said which direction is better."""
    rows = [replace(ROW, verdict=CHANGED, metric=f"{name}.mean") for name in ("words", "hops")]
    note = undeclared_note([*rows, ROW])
    assert '"words": "lower", "hops": "lower"' in note
    assert undeclared_note([ROW]) == ""
    assert [line.text for line in comparison_lines(rows, "")][-1] == note


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, "83.3 % [66.4, 92.7]"),
        ({"needs": 120, "verdict": INCONCLUSIVE}, "83.3 % [66.4, 92.7] · needs at least 120"),
        ({"reason": "no values", "needs": 3}, "83.3 % [66.4, 92.7] · no values"),
        (
            {"bound": 0.5, "low": 0.1, "high": 0.4, "basis": "paired t, difference"},
            "83.3 % against 50.0 %, change [+10.0, +40.0]",
        ),
    ],
)
def test_a_claim_shows_what_was_seen(more: dict[str, object], shown: str) -> None:
    """The number, its interval or that of the change, and what is missing."""
    verdict = Verdict(
        expectation="success_rate > 0.5", condition="a", metric="success_rate", verdict=CONFIRMED,
        observed=0.8333, low=0.664, high=0.927, unit="%",
    )  # fmt: skip
    verdict = replace(verdict, **more)  # type: ignore[arg-type]
    assert verdict_text(verdict) == shown
    (line,) = verdict_lines((verdict,), "  ")
    assert line.text.split()[:2] == [verdict.verdict, "a"]
