"""``crucible compare RUN``: the arms of one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_crucible.runs.experiment_definition import Definition
from tests.cli.support import run
from tests.report.support import made, observed

ARMS = ("a", "b", "c")


@pytest.fixture
def arms(tmp_path: Path) -> Path:
    slower = {"a": 1.0, "b": 1.0, "c": 2.0}
    events = [event for arm in ARMS for event in observed(condition=arm, slower=slower[arm])]
    return made(tmp_path / "run", events, Definition(name="exp", conditions=ARMS))


def compared(
    arms: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, dict[tuple[str, str], str]]:
    code = run("compare", arms, *options, "--json")
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    verdicts = {
        (arm["condition"], arm["against"]): {
            row["metric"]: row["verdict"] for row in arm["comparisons"]
        }["latency"]
        for arm in comparison["arms"]
    }
    return code, verdicts


def test_all_arms_stand_against_the_first(arms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, verdicts = compared(arms, capsys)
    assert verdicts == {("b", "exp (a)"): "INCONCLUSIVE", ("c", "exp (a)"): "REGRESSED"}
    assert code == 1


def test_every_two_of_them(arms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, verdicts = compared(arms, capsys, "--against", "all")
    assert verdicts[("c", "exp (b)")] == "REGRESSED"
    assert len(verdicts) == 3


def test_against_the_slow_one_the_others_improved(
    arms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, verdicts = compared(arms, capsys, "--against", "c")
    assert set(verdicts.values()) == {"IMPROVED"}
    assert code == 0


def test_more_pairs_share_the_level(arms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    levels = []
    for against in ("a", "all"):
        run("compare", arms, "--against", against, "--json")
        (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
        levels.append(comparison["arms"][0]["comparisons"][0]["level"])
    assert levels[0] < levels[1]


def test_the_title_says_that_it_is_one_run(arms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("compare", arms)
    text = capsys.readouterr().out
    assert f"arms of {arms.name}" in text
    assert "exp (c) against exp (a), 40 matched cases" in text


def test_bad_usage_is_one_line(arms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", arms, arms, "--against", "a") == 2
    assert capsys.readouterr().err == (
        "crucible: --against is for the arms of one run; for two runs: --arms\n"
    )
    assert run("compare", arms, "--against", "d") == 2
    assert "valid: a, b, c, all" in capsys.readouterr().err
