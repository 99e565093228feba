"""A comparison in the terminal: the verdict first, then why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_crucible.analysis.run_comparison import ONLY_BASELINE, ArmComparison, RunComparison
from pytest_crucible.report.compare_text import render_comparison, some, verdict_line
from pytest_crucible.report.lines import Line
from pytest_crucible.stats.comparison import (
    ADDED,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    REGRESSED,
    Comparison,
)
from tests.report.support import compared, made, observed


def comparison(*found: str, gone: int = 0) -> RunComparison:
    """One arm with metrics of these verdicts, and some arms that are gone.

    In small letters: the row is only shown. ``INCONCLUSIVE: worse`` says what is known.
    """
    metrics = tuple(
        Comparison(
            metric=f"m{i}", baseline=1.0, candidate=1.0, primary=verdict.isupper(),
            verdict=verdict.upper(), open=known.lower() or None,
        )
        for i, (verdict, _, known) in enumerate(each.partition(": ") for each in found)
    )  # fmt: skip
    arm = ArmComparison(experiment="exp", condition="default", comparisons=metrics)
    old = ArmComparison(experiment="old", condition="default", reason=ONLY_BASELINE)
    return RunComparison(
        baseline="a", candidate="b", title="b against a", arms=(arm, *[old] * gone)
    )


@pytest.mark.parametrize(
    ("found", "gone", "line"),
    [
        ([REGRESSED, IMPROVED], 0, Line("REGRESSED  1 regressed, 1 improved", "red")),
        ([REGRESSED], 1, Line("REGRESSED  1 regressed, 1 experiment removed", "red")),
        ([EQUIVALENT, INCONCLUSIVE], 0,
         Line("INCONCLUSIVE  1 inconclusive, 1 equivalent", "yellow")),
        ([IMPROVED, EQUIVALENT], 0, Line("IMPROVED  1 improved, 1 equivalent", "green")),
        ([EQUIVALENT, ADDED], 0, Line("EQUIVALENT  1 equivalent, 1 added")),
        ([EQUIVALENT], 2, Line("REMOVED  1 equivalent, 2 experiments removed", "yellow")),
        ([], 1, Line("NOTHING TO COMPARE  1 experiment removed", "red")),
        ([], 0, Line("NOTHING TO COMPARE", "red")),
        (["INCONCLUSIVE: UNSEEN", "INCONCLUSIVE: UNSEEN"], 0,
         Line("INCONCLUSIVE  2 inconclusive (no certain difference)", "yellow")),
        (["INCONCLUSIVE: UNSEEN", "INCONCLUSIVE: WORSE", "INCONCLUSIVE: UNSEEN", EQUIVALENT], 0,
         Line("INCONCLUSIVE  3 inconclusive (1 maybe worse, 2 no certain difference), 1 equivalent",
              "yellow")),
        ([EQUIVALENT, "regressed", "regressed", "inconclusive"], 0,
         Line("EQUIVALENT  1 equivalent; 2 regressed, shown only")),
        (["regressed"], 1,
         Line("NOTHING TO COMPARE  1 experiment removed; no metric decides: name one with primary= "
              "or --metric; 1 regressed, shown only", "red")),
    ],
)  # fmt: skip
def test_the_worst_verdict_is_the_verdict(found: list[str], gone: int, line: Line) -> None:
    """One line says how bad it is, and how many metrics are what."""
    assert verdict_line(comparison(*found, gone=gone)) == line


def test_the_whole_comparison(tmp_path: Path) -> None:
    """Verdict, runs, doubts, cases that went and came, then a row per metric."""
    base = made(tmp_path / "a", [*observed(range(100)), *observed(experiment="old")])
    cand = made(tmp_path / "b", observed(range(5, 101), slower=2, model="m2"))
    lines = [line.text for line in render_comparison(compared(base, cand))]
    assert lines[:6] == [
        "REGRESSED  1 regressed, 2 equivalent, 1 experiment removed",
        "  b against a",
        "  differs: environment of the baseline and the candidate unknown: no manifest",
        "  differs: models: m1 → m2",
        "",
        "exp, 95 matched cases",
    ]
    assert lines[6].startswith("  REMOVED  5 cases: tests/t.py::test_it[0], ")
    assert "test_it[2] and 2 more (success_rate 100.0 %, score.mean 0." in lines[6]
    assert lines[7].startswith("  ADDED  1 case: tests/t.py::test_it[100] (success_rate 100.0 %")
    assert lines[8].startswith("  margin 5 pp (success_rate), 5 % (latency, cost); ")
    assert lines[9].split() == [
        "metric", "before", "after", "change", "interval", "finds", "n",
    ]  # fmt: skip
    latency = next(line.split() for line in lines[8:] if " latency " in line)
    assert latency[0] == REGRESSED
    assert latency[3] == latency[5] == "ms"
    assert lines[-2:] == ["", "REMOVED  old: only in the baseline"]


def test_doubts_stand_beside_the_verdict() -> None:
    """What differs and what is missing is told before any number."""
    doubtful = replace(
        comparison(EQUIVALENT), differences=("python: 3.11 → 3.12",), incomplete=("candidate: x",)
    )
    assert list(render_comparison(doubtful))[2:4] == [
        Line("  differs: python: 3.11 → 3.12", "yellow"),
        Line("  incomplete: candidate: x", "yellow"),
    ]


def test_names_are_cut() -> None:
    """The first three names, then how many more there are."""
    assert some(("a", "b", "c")) == "a, b, c"
    assert some(("a", "b", "c", "d", "e")) == "a, b, c and 2 more"
