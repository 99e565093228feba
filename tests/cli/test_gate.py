"""``crucible gate``: exit codes, and whose claims are judged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.runs.experiment_definition import define
from tests.cli.support import MANY, failure, run
from tests.report.support import made, observed


@pytest.mark.parametrize(
    ("expect", "options", "code"),
    [
        (["success_rate > 0.9"], [], 0),
        (["success_rate > 0.999"], [], 0),
        (["success_rate > 0.999"], ["--inconclusive=fail"], 4),
        (["latency.p50 < 1"], ["--inconclusive=fail"], 1),
        (["success_rate > 0.999", "latency.p50 < 1"], ["--inconclusive=fail"], 1),
        ([], [], 3),
    ],
)
def test_gate_codes(expect: list[str], options: list[str], code: int, base: Path) -> None:
    """Confirmed 0, rejected 1, nothing to judge 3, open 4 where that was asked for."""
    given = [word for each in expect for word in ("--expect", each)]
    assert run("gate", base, *given, *options) == code


def test_gate_judges_the_runs_own_claims(tmp_path: Path) -> None:
    """Without ``--expect`` the marker's expectations count, and its say on open ones."""
    strict = define("exp", expect=["success_rate > 0.999"], inconclusive="fail")
    folder = made(tmp_path / "r", observed(), strict)
    assert run("gate", folder) == 4
    assert run("gate", folder, "--expect", "success_rate > 0.5") == 0
    easy = define("exp", expect=["success_rate > 0.999"], inconclusive="pass")
    assert run("gate", made(tmp_path / "s", observed(), easy), "--inconclusive=fail") == 0


def test_gate_fails_closed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A claim that holds on an incomplete record is not passed, and the reason is told."""
    folder = made(tmp_path / "r", observed(MANY))
    spool = folder / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-30])
    assert run("gate", folder, "--expect", "success_rate > 0.5") == 1
    out, err = capsys.readouterr()
    assert "CONFIRMED" in out
    assert "incomplete: " in out
    assert err == "crucible: not passed: the record is incomplete\n"


def judged(
    capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the verdicts by expectation."""
    capsys.readouterr()
    code = run("gate", *arguments, "--json")
    (experiment,) = json.loads(capsys.readouterr().out)["experiments"].values()
    return code, {verdict["expectation"]: verdict for verdict in experiment["verdicts"]}


def test_gate_may_be_asked_at_any_look(capsys: pytest.CaptureFixture[str], base: Path) -> None:
    """With ``--sequential`` by bets, whatever the marker says; their bounds are wider."""
    expect = "--expect=success_rate > 0.9"
    found = {}
    for options in ([], ["--sequential"]):
        code, verdicts = judged(capsys, base, expect, *options)
        assert code == 0
        (found[bool(options)],) = verdicts.values()
    assert found[True]["basis"] == "betting e-process, always valid"
    assert found[False]["basis"] != found[True]["basis"]
    assert found[True]["low"] < found[False]["low"]


CLAIMS = ("success_rate > 0.5", "latency.p50 < 1", "score > 0.3")
EXPECT = tuple(f"--expect={claim}" for claim in CLAIMS)


@pytest.mark.parametrize(
    ("metrics", "code"),
    [
        ([], 1), (["latency"], 1), (["latency.p50"], 1), (["score"], 0), (["score.mean"], 0),
        (["score", "success_rate"], 0), (["score", "latency"], 1),
    ],
)  # fmt: skip
def test_only_what_was_named_decides(
    metrics: list[str], code: int, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other claims are judged and shown; they turn nothing red and cost the others nothing."""
    found, verdicts = judged(capsys, base, *EXPECT, *(f"--metric={name}" for name in metrics))
    assert found == code
    assert verdicts["latency.p50 < 1"]["verdict"] == "REJECTED"
    deciding = [verdict for verdict in verdicts.values() if verdict["primary"]]
    assert len(deciding) == (len(metrics) or len(CLAIMS))
    for verdict in deciding:
        assert verdict["level"] == pytest.approx(0.05 / len(deciding))


def test_what_decides_nothing_looks_like_it(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """REJECTED beside exit code 0 would look like a fault."""
    assert run("gate", base, *EXPECT, "--metric=score") == 0
    out = capsys.readouterr().out
    assert out.startswith("CONFIRMED  exp\n")
    assert re.search(r"^  rejected +default +latency\.p50 < 1 .* · shown only$", out, re.MULTILINE)
    assert "REJECTED" not in out


def test_a_metric_that_nothing_is_claimed_about_is_refused(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a typing error would make a gate that is always green."""
    line = failure(capsys, "gate", base, *EXPECT, "--metric=latancy.p50")
    assert line == (
        "--metric: no expectation is about 'latancy.p50'; did you mean 'latency.p50'? valid: "
        "success_rate, latency.p50, score.mean"
    )


def test_one_exit_code_is_one_family(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten claims that hold by little: none is rejected more easily than one alone would be."""
    claims = [f"--expect=success_rate > 0.9{number}" for number in range(10)]
    code, verdicts = judged(capsys, base, *claims)
    assert code == 0
    for verdict in verdicts.values():
        assert verdict["level"] == pytest.approx(0.05 / 10)
        assert verdict["decisions"] == 10
