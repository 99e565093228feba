"""``crucible compare``, ``gate`` and ``merge``: exit codes, and outputs written before them."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_crucible.analysis.results import analyse
from pytest_crucible.cli.main import main
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.runs.definition import define
from pytest_crucible.runs.manifest import write_manifest
from pytest_crucible.runs.run import open_run
from tests.made_events import trial, trial_scope, write_run
from tests.report.support import made, observed

MANY = range(200)


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return made(tmp_path / "base", observed(MANY))


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    return made(tmp_path / "slow", observed(MANY, slower=2))


def run(*arguments: object) -> int:
    return main([str(each) for each in arguments])


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that exits with 2."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("crucible: ")
    assert err.count("\n") == 1
    return err.removeprefix("crucible: ").rstrip()


# --- exit codes --------------------------------------------------------------------------------


def test_nothing_changed_is_fine(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and the verdict in the first word."""
    assert run("compare", base, base) == 0
    assert capsys.readouterr().out.startswith("EQUIVALENT  6 equivalent\n  base against itself\n")


def test_a_regression_fails(base: Path, slow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1; an improvement and a removed gate do not fail."""
    assert run("compare", base, slow) == 1
    assert capsys.readouterr().out.startswith("REGRESSED  2 regressed, 4 equivalent\n")
    assert run("compare", slow, base) == 0
    assert run("compare", base, slow, "--fail-on=none") == 0


def test_nothing_comparable_has_its_own_code(tmp_path: Path, base: Path) -> None:
    """Exit code 3: other experiments are neither a pass nor a regression."""
    other = made(tmp_path / "other", observed(experiment="other"))
    assert run("compare", base, other) == 3
    assert run("compare", base, other, "--fail-on=none") == 3


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [("regression", 0), ("inconclusive", 4), ("missing", 1), ("inconclusive, missing", 1)],
)
def test_open_and_missing_fail_where_asked(fail_on: str, code: int, tmp_path: Path) -> None:
    """Inconclusive is exit code 4, what is missing 1; the worse of both counts."""
    few = made(tmp_path / "few", observed(range(10)))
    fewer = made(tmp_path / "fewer", observed(range(9)))
    assert run("compare", few, fewer, "--fail-on", fail_on) == code


def test_a_candidate_that_broke_off_is_missing_something(tmp_path: Path, base: Path) -> None:
    """What a torn record lacks might have regressed: ``--fail-on missing`` says no."""
    torn = made(tmp_path / "torn", observed(MANY))
    spool = torn / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-30])
    assert run("compare", base, torn) == 0
    assert run("compare", base, torn, "--fail-on=missing") == 1
    assert run("compare", torn, base, "--fail-on=missing") == 0


def test_the_worst_of_several_candidates_counts(
    tmp_path: Path, base: Path, slow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three artifacts: each candidate is held against the baseline, and one regression fails."""
    assert run("compare", base, base, slow) == 1
    out = capsys.readouterr().out
    assert out.index("EQUIVALENT  6") < out.index("REGRESSED  2")
    other = made(tmp_path / "other", observed(experiment="other"))
    assert run("compare", base, other, base) == 3
    assert run("compare", base, other, slow) == 1


def test_margins_and_directions(base: Path, slow: Path, tmp_path: Path) -> None:
    """What is too small to matter, and which way is good, can be said on the command line."""
    assert run("compare", base, slow, "--margin", "2") == 0
    assert run("compare", base, slow, "--margin", "latency=2") == 0
    assert run("compare", base, slow, "--margin", "cost=2") == 1
    assert run("compare", base, slow, "--higher-is-better", "latency") == 0
    assert run("compare", slow, base, "--higher-is-better", "latency") == 1
    loose = define("exp", margin=2)
    lax = made(tmp_path / "lax", observed(MANY, slower=2), loose)
    assert run("compare", base, lax) == 0
    assert run("compare", base, lax, "--lower-is-better=score") == 0
    assert run("compare", base, lax, "--margin=0.05") == 1


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "BASE", "gone"], "gone: no such file or folder"),
        (["compare", "gone", "BASE"], "gone: no such file or folder"),
        (["compare", "BASE", "BASE", "--fail-on=regresion"],
         "--fail-on: 'regresion' is not one of regression, inconclusive, missing, none"),
        (["compare", "BASE", "BASE", "--margin=5%"],
         "--margin: '5%' is not a share such as 0.05 or latency=0.1"),
        (["compare", "BASE", "BASE", "--margin=latency="],
         "--margin: 'latency=' is not a share such as 0.05 or latency=0.1"),
        (["gate", "BASE", "--expect", "success_rate >"],
         "expected a number or a condition at column 15 of 'success_rate >'"),
        (["gate", "BASE", "--expect", "__import__('os')"], None),
        (["compare", "--json", "a.csv", "BASE", "BASE"],
         "--json: 'a.csv' is an artifact, not a file to write; put --json last"),
        (["gate", "--junit", ".", "BASE"],
         "--junit: '.' is an artifact, not a file to write; put --junit last"),
        (["merge", "gone", "-o", "m"],
         "gone: not a run folder (merging needs run folders, not exports)"),
    ],
)  # fmt: skip
def test_bad_usage_is_one_line(
    arguments: list[str],
    said: str | None,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 and one line that names the value; nothing is written."""
    monkeypatch.chdir(base.parent)
    line = failure(capsys, *[str(base) if each == "BASE" else each for each in arguments])
    assert said is None or line == said
    assert sorted(each.name for each in base.parent.iterdir()) == ["base"]


# --- outputs -----------------------------------------------------------------------------------


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
    assert ET.parse(files["junit"]).getroot().get("failures") == "2"


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


# --- what is compared --------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_files_say_what_folders_say(
    format: str, base: Path, slow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two exports give the verdicts, changes and p-values of the folders they came from."""
    files = []
    for folder in (base, slow):
        path = tmp_path / f"{folder.name}.{format}"
        files.append(export_events(open_run(folder).events, path, FORMATS[format]))
    told = []
    for pair in ((base, slow), files):
        assert run("compare", *pair, "--json") == 1
        told.append(json.loads(capsys.readouterr().out)["comparisons"][0]["arms"])
    assert told[0] == told[1]


# --- what cannot be read -----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["compare", "gate"])
@pytest.mark.parametrize("format", FORMATS)
def test_half_a_file_is_one_line(
    format: str, command: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that breaks off is named, with the line for texts; it is not judged as if whole."""
    path = export_events(open_run(base).events, tmp_path / f"e.{format}", FORMATS[format])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    arguments = [path, base] if command == "compare" else [path, "--expect=success_rate > 0"]
    assert failure(capsys, command, *arguments).startswith(f"{path}:")


@pytest.mark.parametrize("format", FORMATS)
def test_rubbish_in_the_middle_is_one_line(
    format: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged block of a disk is told, not averaged over."""
    path = export_events(open_run(base).events, tmp_path / f"e.{format}", FORMATS[format])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(range(200))
    path.write_bytes(data)
    assert failure(capsys, "compare", base, path).startswith(f"{path}:")


def test_half_a_manifest_is_one_line(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A manifest that breaks off is told by file and line."""
    path = write_manifest(base, {"run": "base", "experiments": {}})
    path.write_bytes(path.read_bytes()[:-10])
    assert failure(capsys, "compare", base, base).startswith(f"{path}:")


def test_half_a_spool_is_read_as_far_as_it_goes(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a killed process wrote whole is compared, and the loss stands beside the verdict."""
    torn = made(tmp_path / "torn", observed(MANY))
    spool = torn / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[: spool.stat().st_size // 2])
    assert run("compare", base, torn) == 0
    out = capsys.readouterr().out
    assert "  incomplete: candidate: main: did not end in good order\n" in out
    assert "torn at byte" in out
    matched, gone = re.findall(r"(\d+) (?:matched cases|cases: )", out)
    assert int(matched) + int(gone) == len(MANY)
    assert 90 < int(matched) < 110


def test_few_and_strange_numbers_never_raise(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing, one, two, all failed, constant, no number at all: a reason each, and never nan."""
    runs = [
        write_run(tmp_path / "none", [], plan=[("exp", "default", "t", "c", 1)]),
        made(tmp_path / "one", observed(range(1))),
        made(tmp_path / "two", observed(range(2))),
        made(tmp_path / "failed", observed(range(9), failed=9)),
        made(tmp_path / "text", observed(range(9), score=None)),
        write_run(tmp_path / "bare", trial("passed", trial_scope())),
    ]
    for other in runs:
        for pair in ((base, other), (other, base), (other, other)):
            assert run("compare", *pair) in (0, 1, 3)
            out, err = capsys.readouterr()
            assert err == ""
            assert not {"nan", "inf", "None", "nan]"} & set(out.replace("[", " ").split())


# --- merge -------------------------------------------------------------------------------------


def test_merge_shows_and_writes_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary of all shards is printed, and the new folder is a run with its manifest."""
    shards = [made(tmp_path / f"s{i}", observed(range(i * 9, i * 9 + 9))) for i in range(3)]
    assert run("merge", *shards, "-o", tmp_path / "m") == 0
    out = capsys.readouterr().out
    assert "recorded 27/27 trials" in out
    assert out.endswith(f"\nmerged: 3 runs into {tmp_path / 'm'}\n")
    assert run("show", tmp_path / "m") == 0
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert manifest["experiments"]["exp"]["recorded"] == 27
    assert str(tmp_path) not in json.dumps(manifest)


def test_merge_tells_a_torn_shard_without_its_temporary_place(tmp_path: Path) -> None:
    """The manifest names the file within the run: merging again gives the same bytes."""
    shard = made(tmp_path / "s", observed())
    spool = shard / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-30])
    found = []
    for _ in range(2):
        assert run("merge", shard, "-o", tmp_path / "m") == 0
        found.append((tmp_path / "m" / "manifest.json").read_text())
    assert found[0] == found[1]
    assert '"nodes/s-main.spool: torn at byte ' in found[0]
