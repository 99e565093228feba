"""``crucible gate``: exit codes, and whose claims are judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.runs.experiment_definition import define
from tests.cli.support import MANY, run
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
