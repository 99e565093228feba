"""``crucible export``: options, secrets that stay secret, and one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_crucible.analysis.run import open_run
from pytest_crucible.cli.main import main
from tests.made_events import event, write_run

KEY = "a secret of some length"
VARIABLE = "CRUCIBLE_ANONYMIZE_KEY"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that tells of somebody."""
    monkeypatch.delenv(VARIABLE, raising=False)
    metadata = {"user_id": "ann", "prompt": "Who am I?", "region": "eu", "tokens": {"total": 3}}
    return write_run(tmp_path / "results" / "run-1", [event(metadata=metadata)])


def export(run: Path, path: Path, *options: str) -> str:
    assert main(["export", str(run), "-o", str(path), *options]) == 0
    return path.read_text()


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line of an export that fails."""
    assert main(["export", *map(str, arguments)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def user(run: Path, path: Path, *options: str) -> object:
    export(run, path, "--anonymize", "--force", *options)
    return next(iter(open_run(path).events)).metadata.get("user_id")


def test_options_shape_the_file(run: Path, tmp_path: Path) -> None:
    """Flat keys, indentation and columns are what was asked for."""
    path = tmp_path / "e.json"
    options = ("--flatten", "--pretty", "--columns", "event,metadata.tokens.*")
    text = export(run, path, *options)
    assert json.loads(text) == [{"event": "req_llm.request.stop", "metadata.tokens.total": 3}]
    assert text.startswith('[\n  {\n    "event"')


@pytest.mark.parametrize("ending", ["csv.gz", "jsonl.zst", "json.gz"])
def test_the_ending_compresses(ending: str, run: Path, tmp_path: Path) -> None:
    """A compressed export reads equal to its run."""
    path = tmp_path / f"e.{ending}"
    assert main(["export", str(run), "-o", str(path)]) == 0
    assert list(open_run(path).events) == list(open_run(run).events)


def test_the_key_comes_from_a_file_or_the_environment(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same key from either place gives the same tokens; without one they are never the same."""
    path, file = tmp_path / "e.jsonl", tmp_path / "key"
    file.write_text(f"{KEY}\n")
    by_file = user(run, path, "--anonymize-key-file", str(file))
    assert user(run, path) != user(run, path) != by_file
    monkeypatch.setenv(VARIABLE, KEY)
    assert user(run, path) == by_file
    assert KEY not in path.read_text()


def test_dropping_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``drop``, and with fields named, only what was kept stays; a key is not asked for."""
    monkeypatch.setenv(VARIABLE, KEY)
    text = export(run, tmp_path / "e.jsonl", "--anonymize=drop", "--anonymize-keep", "region")
    assert json.loads(text)["metadata"] == {"region": "eu", "tokens": {"total": 3}}
    hashed = export(run, tmp_path / "f.jsonl", "--anonymize", "--anonymize-fields", "tokens")
    assert str(json.loads(hashed)["metadata"]["tokens"]["total"]).startswith("anon-")


def test_mistakes_are_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be exported that way is told, and nothing is written."""
    short, target = tmp_path / "key", tmp_path / "new" / "e.csv"
    short.write_text("x")
    assert "pretty is for json" in failure(capsys, run, "-o", target, "--pretty")
    line = failure(capsys, run, "-o", target, "--columns", "event,user_di")
    assert "no column 'user_di' in this run; close: user_id" in line
    line = failure(capsys, run, "-o", target, "--anonymize-key-file", short, "--anonymize")
    assert "has 1 bytes, it takes at least 16" in line
    line = failure(capsys, run, "-o", target, "--anonymize-fields", "a")
    assert "anonymize is not set" in line
    line = failure(capsys, run, "-o", target, "--anonymize", "--anonymize-key-file", tmp_path / "x")
    assert "No such file" in line
    short.write_text("\n")
    line = failure(capsys, run, "-o", target, "--anonymize", "--anonymize-key-file", short)
    assert "no key in it" in line
    assert "parquet compresses itself" in failure(capsys, run, "-o", tmp_path / "e.parquet.gz")
    assert not list(tmp_path.glob("new/*"))


@pytest.mark.parametrize("option", ["--columns", "--anonymize-fields", "--anonymize-keep"])
def test_no_names_are_not_all_of_them(
    option: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--columns "$UNSET"`` writes nothing, least of all what was to be left out."""
    target = tmp_path / "e.csv"
    with pytest.raises(SystemExit) as ended:
        main(["export", str(run), "-o", str(target), option, " ,"])
    assert ended.value.code == 2
    assert "holds no name" in capsys.readouterr().err
    assert not target.exists()
