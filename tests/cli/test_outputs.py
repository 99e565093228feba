"""What ``compare`` and ``gate`` write: every form, before they exit."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from pytest_crucible.runs.manifest import write_manifest
from tests.cli.support import run
from tests.report.support import made, observed


def test_every_output_is_written_before_it_exits(
    base: Path, slow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A failing comparison leaves table, Markdown, step summary, JSON, JUnit and annotations."""
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    names = {"markdown": "c.md", "json": "c.json", "junit": "c.xml"}
    files = {name: tmp_path / file for name, file in names.items()}
    assert run("compare", base, slow, *(f"--{name}={path}" for name, path in files.items())) == 1
    out = capsys.readouterr().out
    assert out.startswith("REGRESSED  ")
    assert "\n::error file=tests/t.py,line=12,title=REGRESSED%3A exp::latency " in out
    markdown = files["markdown"].read_text()
    assert markdown.startswith("### 🔴 REGRESSED")
    assert summary.read_text() == "# before\n" + markdown
    assert json.loads(files["json"].read_text())["comparisons"][0]["candidate"] == "slow"
    assert ET.parse(files["junit"]).getroot().get("failures") == "1"


def test_the_gate_writes_the_same_outputs(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A rejected claim stands in every form."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "new.md"))
    out = [f"--{name}={tmp_path / name}" for name in ("markdown", "json", "junit")]
    assert run("gate", base, "--expect=latency.p50 < 1", "--github", *out) == 1
    assert "::error file=tests/t.py" in capsys.readouterr().out
    assert (tmp_path / "new.md").read_text() == (tmp_path / "markdown").read_text()
    assert "REJECTED" in (tmp_path / "markdown").read_text()
    assert ET.parse(tmp_path / "junit").getroot().get("failures") == "1"
    data = json.loads((tmp_path / "json").read_text())
    assert data["experiments"]["exp"]["verdict"] == "REJECTED"


def test_one_output_that_fails_does_not_cost_the_others(
    base: Path, slow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is not there is told; everything else was written."""
    junit = tmp_path / "j.xml"
    gone = tmp_path / "gone" / "c.md"
    assert run("compare", base, slow, f"--markdown={gone}", f"--junit={junit}") == 2
    out, err = capsys.readouterr()
    assert out.startswith("REGRESSED  ")
    assert err.startswith("crucible: ")
    assert "gone" in err
    assert junit.exists()


@pytest.mark.parametrize(("form", "start"), [
    ("--markdown", "### 🔴 REGRESSED"), ("--json", "{\n"), ("--junit", "<?xml "),
])  # fmt: skip
def test_without_a_file_it_goes_to_standard_output(
    form: str, start: str, base: Path, slow: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """In place of the table and of annotations: it can be piped into the next command."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert run("compare", base, slow, form) == 1
    out = capsys.readouterr().out
    assert out.startswith(start)
    assert "::error" not in out
    if form == "--json":
        json.loads(out)


def refuse_constant(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")


def test_json_is_strict_and_versioned(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A schema version at the top; numbers that JSON cannot hold are null, never NaN."""
    odd = made(tmp_path / "odd", observed(range(3), failed=3))
    results = analyse(open_run(odd)).to_dict()
    results["experiments"]["exp"]["conditions"]["default"]["custom"] = {"q": math.inf}
    write_manifest(odd, {"run": "odd", **results})
    for arguments in (["compare", base, odd], ["gate", odd, "--expect", "success_rate > 0"]):
        run(*arguments, "--json")
        data = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
        assert data["schema"] == 1
    custom = {"q": math.nan}
    results["experiments"]["exp"]["conditions"]["default"]["custom"] = custom
    (odd / "manifest.json").write_text(json.dumps({"schema": 1, "run": "odd", **results}))
    run("gate", odd, "--expect", "success_rate > 0", "--json")
    data = json.loads(capsys.readouterr().out, parse_constant=refuse_constant)
    assert data["experiments"]["exp"]["conditions"]["default"]["custom"] == {"q": None}


def test_a_reader_that_leaves_early_does_not_change_the_code(base: Path, slow: Path) -> None:
    """``crucible compare … | head -1`` fails the gate all the same, and writes its files."""
    junit = base.parent / "c.xml"
    command = [sys.executable, "-m", "pytest_crucible", "compare", str(base), str(slow)]
    done = subprocess.Popen(
        [*command, f"--junit={junit}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert done.stdout is not None
    done.stdout.close()
    assert done.stderr is not None
    assert done.stderr.read() == b""
    done.stderr.close()
    assert done.wait() == 1
    assert junit.exists()
