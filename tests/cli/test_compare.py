"""``crucible compare``: exit codes, what is compared, and what cannot be read."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.analysis.run import open_run
from pytest_crucible.analysis.run_comparison import FAIL_ON
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.runs.manifest import write_manifest
from tests.cli.support import MANY, failure, run
from tests.made_events import recorded, trial, trial_scope, write_run
from tests.report.support import made, observed
from tests.session.support import run as record

# --- exit codes --------------------------------------------------------------------------------


def test_nothing_changed_is_fine(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and the verdict in the first word."""
    assert run("compare", base, base) == 0
    assert capsys.readouterr().out.startswith("EQUIVALENT  3 equivalent\n  base against itself\n")


def test_a_regression_fails(base: Path, slow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1; an improvement and a removed gate do not fail."""
    assert run("compare", base, slow) == 1
    out = capsys.readouterr().out
    assert out.startswith("REGRESSED  1 regressed, 2 equivalent; 1 regressed, shown only\n")
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
    some = made(tmp_path / "some", observed(range(60), noise=1))
    fewer = made(tmp_path / "fewer", observed(range(59), dearer=1.03, noise=2))
    assert run("compare", some, fewer, "--fail-on", fail_on) == code


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
    assert out.index("EQUIVALENT  3") < out.index("REGRESSED  1")
    other = made(tmp_path / "other", observed(experiment="other"))
    assert run("compare", base, other, base) == 3
    assert run("compare", base, other, slow) == 1


def test_margins_and_directions(base: Path, slow: Path, tmp_path: Path) -> None:
    """What is too small to matter, and which way is good, can be said on the command line."""
    assert run("compare", base, slow, "--margin", "success_rate=0.5", "--margin", "latency=2") == 0
    assert run("compare", base, slow, "--margin", "latency=2") == 0
    assert run("compare", base, slow, "--margin", "cost=2") == 1
    assert run("compare", base, slow, "--higher-is-better", "latency") == 0
    assert run("compare", slow, base, "--higher-is-better", "latency") == 1
    loose = define("exp", margin={"latency": 2})
    lax = made(tmp_path / "lax", observed(MANY, slower=2), loose)
    assert run("compare", base, lax) == 0
    assert run("compare", base, lax, "--lower-is-better=score") == 0
    assert run("compare", base, lax, "--margin=0.05") == 1
    assert run("compare", base, slow, "--margin", "2") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "BASE", "gone"], "gone: no such file or folder"),
        (["compare", "gone", "BASE"], "gone: no such file or folder"),
        (["compare", "BASE", "BASE", "--fail-on=regresion"],
         f"--fail-on: 'regresion' is not one of {', '.join(FAIL_ON)}, none"),
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


# --- what is compared --------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_files_say_what_folders_say(
    format: str, base: Path, slow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two exports give the verdicts, changes and p-values of the folders they came from."""
    files = []
    for folder in (base, slow):
        path = tmp_path / f"{folder.name}.{format}"
        files.append(export_events(partial(iter, open_run(folder).events), path, FORMATS[format]))
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
    path = export_events(lambda: open_run(base).events, tmp_path / f"e.{format}", FORMATS[format])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    arguments = [path, base] if command == "compare" else [path, "--expect=success_rate > 0"]
    assert failure(capsys, command, *arguments).startswith(f"{path}:")


@pytest.mark.parametrize("format", FORMATS)
def test_rubbish_in_the_middle_is_one_line(
    format: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged block of a disk is told, not averaged over."""
    path = export_events(lambda: open_run(base).events, tmp_path / f"e.{format}", FORMATS[format])
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


# --- who decides -------------------------------------------------------------------------------

SUITE = """
import os, random, pytest

@pytest.mark.experiment("answers")
@pytest.mark.parametrize("question", range(int(os.environ["CASES"])))
def test_answers(experiment, question):
    own, chance = random.Random(question), random.Random(f"{os.environ['SEED']} {question}")
    took = 80 * own.lognormvariate(0, 0.5) * chance.lognormvariate(0, 0.2)
    spent = {"duration": int(took * 1e6), "input_tokens": 100 + chance.randrange(20),
             "output_tokens": 50 + chance.randrange(50), "cost": 0.001 * (1 + chance.random())}
    experiment.execute("llm.request.stop", spent, {"model": "m"})
    experiment.record(score=min(1.0, own.random() + chance.random() / 5), words=chance.randrange(9))
    assert chance.random() < 0.9
"""


@pytest.fixture(params=[3, 20])
def recordings(
    request: pytest.FixtureRequest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> list[Path]:
    """The same suite recorded twice: every number of it varies, and some tests fail."""
    pytester.makepyfile(SUITE)
    monkeypatch.setenv("CASES", str(request.param))
    for seed in ("1", "3"):
        monkeypatch.setenv("SEED", seed)
        record(pytester, f"--crucible-output={seed}", "--crucible-max-errors=1")
    return [pytester.path / seed for seed in ("1", "3")]


def test_two_recordings_of_one_commit_are_green(
    recordings: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """With every ``--fail-on``, alone and together: a suite may be small, and no number repeats.

    But for 5 %, as promised: seeds 1 and 2 make the latency of 20 cases worse by chance.
    """
    for fail_on in (*FAIL_ON, "none", ",".join(FAIL_ON)):
        for pair in (recordings, recordings[::-1]):
            capsys.readouterr()
            code = run("compare", *pair, "--fail-on", fail_on)
            assert code == 0, f"{fail_on}\n{capsys.readouterr().out}"


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, Any]]:
    """The comparisons of ``--json``."""
    capsys.readouterr()
    run("compare", *arguments, "--json")
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["comparisons"]
    return found


def deciding(comparison: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (arm,) = comparison["arms"]
    return {row["metric"]: row for row in arm["comparisons"] if row["primary"]}


def test_the_metric_that_was_named_decides(
    tmp_path: Path, base: Path, slow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the success rate; ``latency`` by any of its names, a number without its ``.mean``."""
    assert run("compare", base, slow, "--metric", "cost") == 0
    assert "\n  regressed   latency  " in capsys.readouterr().out
    assert run("compare", base, slow, "--metric", "cost", "--metric", "latency.p50") == 1
    assert set(deciding(*told(capsys, base, slow, "--metric=score"))) == {
        "success_rate", "score.mean",
    }  # fmt: skip
    broken = made(tmp_path / "broken", observed(MANY, failed=60))
    assert run("compare", base, broken, "--metric", "cost") == 1
    marked = made(tmp_path / "marked", observed(MANY, slower=2), define("exp", primary=["tokens"]))
    assert run("compare", base, marked) == 0
    assert run("compare", base, marked, "--metric=latency") == 1


def test_any_makes_all_metrics_decide(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A regression of the 95th percentile alone fails only then, and costs all rows some level."""
    tail = made(
        tmp_path / "tail",
        [*observed([*MANY][:175]), *observed([*MANY][175:], slower=30)],
    )
    assert run("compare", base, tail) == 0
    assert "; 1 regressed, shown only\n" in capsys.readouterr().out
    assert run("compare", base, tail, "--fail-on", "any") == 1
    assert "shown only" not in capsys.readouterr().out
    alone, every = (
        deciding(*told(capsys, base, tail)),
        deciding(*told(capsys, base, tail, "--fail-on=any")),
    )
    assert set(every) - set(alone) == {"score.mean", "latency.p95", "tokens"}
    assert every["latency"]["level"] > alone["latency"]["level"]
    assert every["success_rate"]["level"] == alone["success_rate"]["level"]


def test_a_metric_that_is_not_there_is_refused(
    base: Path, slow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the valid ones; a typing error must not make a gate that is always green."""
    line = failure(capsys, "compare", base, slow, "--metric", "latancy")
    assert line == (
        "--metric: 'latancy' is not compared; did you mean 'latency'? valid: success_rate, "
        "score.mean, latency, latency.p95, cost, tokens"
    )


def test_one_exit_code_is_one_family(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four candidates of one command share the false alarms that one may have."""
    others = [made(tmp_path / f"n{n}", observed(MANY[:40], noise=n)) for n in range(4)]
    (alone,) = told(capsys, base, others[0])
    together = told(capsys, base, *others)
    assert len(together) == 4
    for metric, row in deciding(alone).items():
        for each in map(deciding, together):
            assert 1 - each[metric]["level"] == pytest.approx((1 - row["level"]) / 4)
            assert each[metric]["decisions"] == 4 * row["decisions"]
    assert run("compare", base, *others) == 0


def test_nothing_that_decides_is_nothing_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers without trials, and nobody said which of them matters: no traceback, no green."""
    runs = [
        write_run(tmp_path / name, [recorded({"score": n / 9}, trial_scope(f"c{n}"))
                                    for n in range(9)])
        for name in "ab"
    ]  # fmt: skip
    assert run("compare", *runs) == 3
    assert capsys.readouterr().out.startswith("NOTHING TO COMPARE  no metric decides: name one ")
    assert run("compare", *runs, "--metric", "score") == 0
