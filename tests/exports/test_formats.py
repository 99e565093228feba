"""The registry of formats: whatever stands in it is accepted, read and guarded everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible._errors import DefinitionError
from pytest_crucible.analysis.run import open_run
from pytest_crucible.cli.main import main
from pytest_crucible.exports.compressed import lines, writing
from pytest_crucible.exports.formats import COMPRESSIONS, FORMATS, Format, parse_format
from pytest_crucible.exports.rows import to_json
from tests.made_events import event, reference_events, write_run
from tests.session import support


def scratch_write(rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None:
    with writing(path) as file:
        file.write(b"scratch\n" + b"".join(to_json(row) + b"\n" for row in rows()))


def scratch_read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines(path), 1):
        if number > 1:
            yield number, json.loads(line)


SCRATCH = Format(
    name="scratch",
    endings=(".scr", ".scratch"),
    write=scratch_write,
    read=scratch_read,
    compression="outer",
)
"""What somebody would add: a row and two functions, and nothing else anywhere."""


@pytest.fixture(params=[*FORMATS, SCRATCH.name])
def row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Format:
    """Each format of the registry, a new one among them."""
    if request.param == SCRATCH.name:
        monkeypatch.setitem(FORMATS, SCRATCH.name, SCRATCH)
    return FORMATS[request.param]


def names_of(row: Format) -> list[tuple[str, str]]:
    """What users type for it, plain and compressed, with the ending of its file."""
    packed = ["", *COMPRESSIONS] if row.compression == "outer" else [""]
    return [(row.name + each, row.endings[0] + each) for each in packed]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "run-1", reference_events())


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that refuses."""
    assert main([str(each) for each in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("crucible: ").rstrip()


def test_each_format_names_functions_that_are_there(row: Format) -> None:
    """A row says where its functions are: a wrong word in it does not wait for a user."""
    assert callable(row.writer())
    assert callable(row.reader())
    assert row.pretty is None or callable(row.pretty_writer())


def test_each_format_is_exported_and_read_by_the_command_line(
    row: Format, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``crucible export`` takes it by ending and by name; `open_run` and ``show`` read the file."""
    events = list(open_run(folder).events)
    for name, ending in names_of(row):
        by_ending, by_name = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
        assert main(["export", str(folder), "-o", str(by_ending)]) == 0
        assert main(["export", str(folder), "-o", str(by_name), "-f", name]) == 0
        assert list(open_run(by_ending).events) == list(open_run(by_name).events) == events
        assert main(["show", str(by_ending)]) == 0
        assert "12 events" in capsys.readouterr().out
    for ending in row.endings:
        path = tmp_path / f"c{ending}"
        assert main(["export", str(folder), "-o", str(path)]) == 0
        assert list(open_run(path).events) == events


def test_each_format_is_exported_by_the_library(row: Format, tmp_path: Path) -> None:
    """``export`` takes it by name, and gives the file an ending by which it is read again."""
    with crucible.experiment("lib") as exp:
        exp.execute("a", {"duration": 1})
    for name, ending in names_of(row):
        path = crucible.export(exp, name, tmp_path / f"e{ending}")
        assert [each.name for each in crucible.open_run(path).events] == ["a"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        path = crucible.export(exp, row.name)
        assert path.name.endswith(row.endings[0])
        assert len(crucible.open_run(path).events) == 1
    crucible.cleanup(exp)


def test_each_format_is_written_by_a_session(row: Format, pytester: pytest.Pytester) -> None:
    """``--crucible-export`` takes it, plain and compressed."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e")
        def test_a():
            telemetry.execute("x")
    """)
    names = names_of(row)
    asked = ",".join(name for name, _ in names)
    assert support.run(pytester, f"--crucible-export={asked}").ret == 0
    run = support.newest(pytester)
    assert run.path is not None
    for _, ending in names:
        found = open_run(run.path / f"events{ending}")
        assert [each.name for each in found.events] == [each.name for each in run.events]


@pytest.mark.parametrize("option", ["markdown", "json", "junit"])
def test_each_format_is_guarded(
    row: Format, option: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No output of ``compare`` or ``gate`` takes the place of such a file, nor its name."""
    for name, ending in names_of(row):
        path = tmp_path / f"record{ending}"
        assert main(["export", str(folder), "-o", str(path), "-f", name]) == 0
        capsys.readouterr()
        before = path.read_bytes()
        refused = f"--{option}: {str(path)!r} is an artifact, not a file to write; put "
        assert failure(capsys, "compare", folder, folder, f"--{option}", path).startswith(refused)
        assert failure(capsys, "gate", folder, f"--{option}", path).startswith(refused)
        assert path.read_bytes() == before
        new = tmp_path / f"new{ending}"
        if ending != ".json":
            assert "is an artifact" in failure(capsys, "gate", folder, f"--{option}={new}")
            assert not new.exists()


def test_each_format_is_replaced_only_by_force(
    row: Format, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``crucible export`` says how to replace a record, and does so when it is told to."""
    other = write_run(tmp_path / "runs" / "run-2", [event()])
    for _, ending in names_of(row):
        path = tmp_path / f"record{ending}"
        assert main(["export", str(folder), "-o", str(path)]) == 0
        capsys.readouterr()
        before = path.read_bytes()
        line = failure(capsys, "export", other, "-o", path)
        assert line == f"{path} is a record; --force replaces it"
        assert path.read_bytes() == before
        assert main(["export", str(other), "-o", str(path), "--force"]) == 0
        assert len(open_run(path).events) == 1


def test_messages_and_help_name_each_format(
    row: Format, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is valid is said where something is not, and in the help."""
    assert row.name in failure(capsys, "export", folder, "-o", tmp_path / "e.xlsx")
    (tmp_path / "e.xlsx").write_text("x")
    line = failure(capsys, "show", tmp_path / "e.xlsx")
    assert all(ending in line for ending in row.endings)
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert row.name in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [
    {"name": ""}, {"name": "a/b"}, {"name": "a,b"}, {"name": "a\nb"}, {"endings": ("csv",)},
    {"endings": (".",)}, {"endings": (".x.gz",)}, {"endings": (".zip",)}, {"endings": (".a/b",)},
])  # fmt: skip
def test_a_format_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """Names are typed between commas, and become parts of file names."""
    with pytest.raises(DefinitionError, match="cannot be"):
        Format(**{"name": "x", "write": scratch_write, **wrong})


def test_known_formats_pass() -> None:
    """The formats of this package and those of plugins are asked for by name."""
    mine = Format(name="mine", write=lambda rows, path: None)
    known = {**FORMATS, "mine": mine}
    assert parse_format("mine", known) == (mine, "")
    assert parse_format("csv.gz", known) == (FORMATS["csv"], ".gz")


def test_unknown_format_is_one_line_with_the_valid_ones() -> None:
    """A typo names itself and what would have been right."""
    with pytest.raises(DefinitionError, match="format 'xlsx'; valid: csv, json, jsonl, parquet"):
        parse_format("xlsx")
