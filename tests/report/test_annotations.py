"""GitHub annotations: workflow commands at the test's line, that nothing can break out of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from pytest_crucible.report.annotations import comparison_annotations, results_annotations
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.stats.comparison import INCONCLUSIVE, UNSEEN, WORSE
from tests.made_events import trial, trial_scope
from tests.report.support import LINE, compared, made, observed, rows

PLACE = f"file=tests/t.py,line={LINE}"
COMMAND = re.compile(
    r"::(error|warning) (file=[^,:]+,line=\d+,)?title=[^,:\r\n]+::[^\r\n]+"
)  # fmt: skip


def test_a_regression_is_an_error_at_its_test(tmp_path: Path) -> None:
    """File, line, verdict, experiment, and the change; the gate's other findings are warnings."""
    base = made(tmp_path / "a", observed(range(30)))
    cand = made(tmp_path / "b", observed(range(1, 30), slower=2, score=None))
    comparison = compared(base, cand)
    cases, latency, score = comparison_annotations(comparison, ["regression"])
    removed = (
        f"::warning {PLACE},title=REMOVED%3A exp::1 case: tests/t.py::test_it[0] (success_rate "
    )
    assert cases.startswith(removed)
    assert score.startswith(f"::warning {PLACE},title=REMOVED%3A exp::score.mean 0.")
    assert score.endswith(", shown only")
    assert latency.startswith(f"::error {PLACE},title=REGRESSED%3A exp::latency 102 ms → 204 ms, ")
    assert "+100.0 %25 [" in latency
    every = list(comparison_annotations(comparison, ["regression", "missing", "inconclusive"]))
    assert [line.startswith("::error ") for line in every] == [True, True, False]
    assert not any(line.startswith("::error ") for line in comparison_annotations(comparison, []))


@pytest.mark.parametrize("fail_on", [["regression"], ["inconclusive"]])
def test_what_may_be_worse_is_told_once_for_an_arm(fail_on: list[str], tmp_path: Path) -> None:
    """An error where it was asked for; what shows no difference is no news."""
    base, cand = (
        made(tmp_path / name, observed(range(60), slower=slower, noise=noise))
        for name, slower, noise in (("a", 1.0, 1), ("b", 1.06, 2))
    )
    comparison = compared(base, cand)
    found = rows(comparison)
    assert (found["latency"].verdict, found["latency"].open) == (INCONCLUSIVE, WORSE)
    assert (found["success_rate"].verdict, found["success_rate"].open) == (INCONCLUSIVE, UNSEEN)
    (line,) = comparison_annotations(comparison, fail_on)
    level = "error" if "inconclusive" in fail_on else "warning"
    assert line == f"::{level} {PLACE},title=INCONCLUSIVE%3A exp::latency"


def test_an_experiment_that_is_gone(tmp_path: Path) -> None:
    """It is told at the place where it used to be; a new one is no news."""
    base = made(tmp_path / "a", [*observed(range(200)), *observed(experiment="old")])
    cand = made(tmp_path / "b", [*observed(range(200)), *observed(experiment="new")])
    (line,) = comparison_annotations(compared(base, cand), ["missing"])
    assert line == f"::error {PLACE},title=REMOVED%3A old::only in the baseline"


def test_nothing_to_say_says_nothing(tmp_path: Path) -> None:
    """A pull request that changes nothing has no annotations."""
    run = made(tmp_path / "a", observed(range(200)))
    assert list(comparison_annotations(compared(run, run), ["regression"])) == []


@pytest.mark.parametrize(
    ("inconclusive", "level"), [("warn", "warning"), ("fail", "error")]
)  # fmt: skip
def test_expectations_that_are_not_met(inconclusive: str, level: str, tmp_path: Path) -> None:
    """Rejected is an error, open as was asked for, confirmed is silent."""
    expect = ["success_rate > 0.99", "latency.p50 < 1", "latency.p50 < 1000"]
    folder = made(tmp_path / "a", observed(), define("exp", expect=expect))
    open_, rejected = results_annotations(analyse(open_run(folder)), inconclusive)
    assert open_.startswith(f"::{level} {PLACE},title=INCONCLUSIVE%3A exp::success_rate > 0.99 (")
    assert "100.0 %25, at least 92.8 %25" in open_
    assert rejected.startswith(f"::error {PLACE},title=REJECTED%3A exp::latency.p50 < 1 (")


def test_claims_that_decide_nothing_are_no_annotation(tmp_path: Path) -> None:
    """Neither those that are refuted nor those that are open."""
    expect = ["success_rate > 0.99", "latency.p50 < 1", "latency.p50 < 1000"]
    folder = made(tmp_path / "a", observed(), define("exp", expect=expect))
    results = analyse(open_run(folder), only=["cost.mean"])
    assert [verdict.primary for verdict in results.experiments[0].verdicts] == [False] * 3
    assert list(results_annotations(results, "fail")) == []


def test_without_a_place_there_is_no_place(tmp_path: Path) -> None:
    """Runs that do not know where their tests stand are annotated without a file."""
    definition = define("exp", expect=["success_rate > 0.5"])
    folder = made(tmp_path / "a", trial("failed", trial_scope()), definition)
    (line,) = results_annotations(analyse(open_run(folder)), "warn")
    assert line.startswith("::warning title=INCONCLUSIVE%3A exp::")


def test_nothing_breaks_out(tmp_path: Path) -> None:
    """Line breaks, commas, colons and percents in names are escaped where they would matter."""
    name = "a,b:c%0Ad\ne::error ::x\r"
    base = made(tmp_path / "a", observed(range(30), experiment=name, score="s\n::error::y"))
    cand = made(tmp_path / "b", observed(range(30), experiment=name, score=None))
    found = list(comparison_annotations(compared(base, cand), ["missing"]))
    assert found[0].startswith(
        f"::warning {PLACE},title=REMOVED%3A a%2Cb%3Ac%250Ad%0Ae%3A%3Aerror %3A%3Ax%0D::s%0A::error"
    )
    for line in found:
        assert COMMAND.fullmatch(line)
