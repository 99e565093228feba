"""Options and ini values: where the run goes, in which formats, and what is refused."""

from __future__ import annotations

import json
import os

import pytest

from pytest_crucible.analysis.run import open_run
from tests.session import support

SUITE = """
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e", conditions=("a", "b"))
def test_a(experiment):
    telemetry.execute("x", {"n": 1}, {"model": "m"})
"""

UNKNOWN = "unknown export format 'xlsx'; valid: csv, json, jsonl, parquet"


@pytest.mark.parametrize("marked", [True, False])
def test_an_unknown_format_on_the_command_line(
    pytester: pytest.Pytester, mode: tuple[str, ...], marked: bool
) -> None:
    """An unknown export format is refused before any test runs, experiments or not."""
    pytester.makepyfile(SUITE if marked else "def test_a(): pass")
    result = support.run(pytester, *mode, "--crucible-export=csv,xlsx")
    assert support.refused(result) == f"--crucible-export: {UNKNOWN}"


def test_an_unknown_format_in_the_ini_file(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """The line says that the ini file is where the unknown format stands."""
    pytester.makepyfile(SUITE)
    pytester.makeini("[pytest]\ncrucible_export = xlsx\n")
    line = support.refused(support.run(pytester, *mode))
    assert line == f"ini value crucible_export: {UNKNOWN}"


@pytest.mark.parametrize("address", ["s3://bucket/x", "gs://b/x.csv", "postgresql://h/db"])
@pytest.mark.parametrize("option", ["output", "baseline", "prices"])
def test_the_address_of_a_storage_is_refused(
    pytester: pytest.Pytester, option: str, address: str
) -> None:
    """Before any test runs, experiments or not, and no folder named like it appears."""
    pytester.makepyfile(SUITE)
    said = f"{address}: there is no storage for {address.partition(':')[0]}:// in this version; "
    said += "give a local path"
    line = support.refused(support.run(pytester, f"--crucible-{option}={address}"))
    assert line == f"--crucible-{option}: {said}"
    pytester.makeini(f"[pytest]\ncrucible_{option} = {address}\n")
    assert support.refused(support.run(pytester)) == f"ini value crucible_{option}: {said}"
    assert not [each for each in pytester.path.iterdir() if ":" in each.name]


PLACES = ["a_file", "a_file/below", "/proc/nowhere", "/dev/null/x"]


def reason(pytester: pytest.Pytester, place: str) -> str:
    folder = pytester.path / place
    if place.startswith("a_file"):
        return f"output folder {str(folder)!r}: {str(pytester.path / 'a_file')!r} is a file"
    if place.startswith("/dev"):
        return "output folder '/dev/null/x': '/dev/null' is a file"
    return "output folder '/proc/nowhere': cannot write in '/proc': No such file or directory"


@pytest.mark.parametrize("place", PLACES)
def test_an_output_folder_that_cannot_be(
    pytester: pytest.Pytester, mode: tuple[str, ...], place: str
) -> None:
    """An output folder that is a file or cannot be written is refused before any test runs."""
    pytester.makepyfile(SUITE)
    pytester.path.joinpath("a_file").write_text("")
    line = support.refused(support.run(pytester, *mode, f"--crucible-output={place}"))
    assert line == f"--crucible-output: {reason(pytester, place)}"


@pytest.mark.parametrize("place", PLACES)
def test_an_output_folder_in_the_ini_file_that_cannot_be(
    pytester: pytest.Pytester, place: str
) -> None:
    """The line says that the ini file is where the unusable folder stands."""
    pytester.makepyfile(SUITE)
    pytester.makeini(f"[pytest]\ncrucible_output = {place}\n")
    pytester.path.joinpath("a_file").write_text("")
    line = support.refused(support.run(pytester))
    assert line == f"ini value crucible_output: {reason(pytester, place)}"


def test_a_default_folder_that_cannot_be(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """A file where results go by default is refused before any test runs, in one line."""
    pytester.makepyfile(SUITE)
    pytester.path.joinpath(support.OUTPUT).write_text("mine")
    line = support.refused(support.run(pytester, *mode))
    assert line.startswith("experiments cannot be recorded: output folder ")
    assert line.endswith("is a file")
    assert pytester.path.joinpath(support.OUTPUT).read_text() == "mine"


def test_a_default_folder_that_nobody_needs(pytester: pytest.Pytester) -> None:
    """Without experiments it does not matter what stands where results would go."""
    pytester.makepyfile("def test_a(): pass")
    pytester.path.joinpath(support.OUTPUT).write_text("mine")
    support.run(pytester).assert_outcomes(passed=1)


def test_every_format_is_written(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Formats come comma-separated, spaces and doubles do no harm, and the summary names them."""
    pytester.makepyfile(SUITE)
    result = support.run(pytester, *mode, "--crucible-export= csv, jsonl,parquet,csv")
    assert result.ret == 0
    folder = support.newest(pytester).path
    assert folder is not None
    formats = ["events.csv", "events.jsonl", "events.parquet"]
    assert sorted(each.name for each in folder.glob("events.*")) == formats
    shown = os.path.join(support.OUTPUT, folder.name)  # noqa: PTH118
    result.stdout.fnmatch_lines([f"run: {shown} · {' · '.join(formats)}"])
    lines = folder.joinpath("events.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["event"] == "x"]
    assert len(rows) == 2


def test_the_command_line_beats_the_ini_file(pytester: pytest.Pytester) -> None:
    """Ini values are defaults: options win, also an empty one."""
    pytester.makepyfile(SUITE)
    pytester.makeini("[pytest]\ncrucible_export = csv\ncrucible_output = from-ini\n")
    assert support.run(pytester, "--crucible-export=jsonl").ret == 0
    assert support.run(pytester, "--crucible-export=").ret == 0
    assert support.run(pytester).ret == 0
    assert support.run(pytester, "--crucible-output=from-option").ret == 0
    found = [
        sorted(each.name for each in run.glob("events.*"))
        for run in pytester.path.joinpath("from-ini").iterdir()
        if run.is_dir()
    ]
    assert sorted(found) == [[], ["events.csv"], ["events.jsonl"]]
    assert pytester.path.joinpath("from-option").is_dir()
    assert not pytester.path.joinpath(support.OUTPUT).exists()


@pytest.mark.parametrize("how", [(), ("-n2",)])
def test_where_results_go(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    """An option counts from where the user stands, an ini value from the root directory."""
    pytester.makepyfile(SUITE)
    below = pytester.mkdir("below")
    pytester.makeini("[pytest]\ncrucible_output = results\n")
    monkeypatch.chdir(below)
    assert support.run(pytester, *how, "..").ret == 0
    assert support.run(pytester, *how, "..", "--crucible-output=results").ret == 0
    for folder in (pytester.path, below):
        runs = [each for each in folder.joinpath("results").iterdir() if each.is_dir()]
        assert len(runs) == 1


def test_a_user_home_is_expanded(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``~`` in the output folder is the user's home, also where no shell expands it."""
    monkeypatch.setenv("HOME", str(pytester.mkdir("home")))
    pytester.makepyfile(SUITE)
    assert support.run(pytester, "--crucible-output=~/results").ret == 0
    assert pytester.path.joinpath("home", "results").is_dir()
    assert not pytester.path.joinpath("~").exists()


def test_a_fresh_folder_keeps_git_clean(pytester: pytest.Pytester) -> None:
    """A new output folder ignores itself; a folder that was there stays as it is."""
    pytester.makepyfile(SUITE)
    assert support.run(pytester).ret == 0
    assert pytester.path.joinpath(support.OUTPUT, ".gitignore").read_text() == "*\n"
    pytester.mkdir("mine")
    assert support.run(pytester, "--crucible-output=mine").ret == 0
    assert not pytester.path.joinpath("mine", ".gitignore").exists()


def test_every_run_has_a_folder(pytester: pytest.Pytester) -> None:
    """Runs never overwrite each other."""
    pytester.makepyfile(SUITE)
    for _ in range(3):
        assert support.run(pytester).ret == 0
    runs = [each for each in pytester.path.joinpath(support.OUTPUT).iterdir() if each.is_dir()]
    assert len(runs) == 3


def test_marker_and_options_are_documented(pytester: pytest.Pytester) -> None:
    """``--markers``, ``--help`` and ``--fixtures`` tell what there is."""
    support.run(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.experiment(name, *"])
    support.run(pytester, "--help").stdout.fnmatch_lines([
        "*--crucible-export=FORMATS*", "*--crucible-output=DIR*", "*crucible_export (string)*",
    ])  # fmt: skip
    fixtures = support.run(pytester, "--fixtures")
    fixtures.stdout.fnmatch_lines(["experiment -- *"])
    assert not any(line.startswith("_crucible") for line in fixtures.outlines)


def test_strict_markers_know_the_marker(pytester: pytest.Pytester) -> None:
    """The marker is registered: ``--strict-markers`` accepts it."""
    pytester.makepyfile(SUITE)
    support.run(pytester, "--strict-markers").assert_outcomes(passed=2)


def test_exports_may_be_compressed(pytester: pytest.Pytester) -> None:
    """Formats with an ending are written compressed, and read equal to the run."""
    pytester.makepyfile(SUITE)
    result = support.run(pytester, "--crucible-export=csv.gz,jsonl.zst,json")
    assert result.ret == 0
    run = support.newest(pytester)
    assert run.path is not None
    for name in ("csv.gz", "jsonl.zst", "json"):
        found = open_run(run.path / f"events.{name}")
        assert [each.name for each in found.events] == [each.name for each in run.events]


@pytest.mark.parametrize("name", ["parquet.gz", "csv.bz2", ".gz", "xlsx.gz"])
def test_an_unknown_compression(pytester: pytest.Pytester, name: str) -> None:
    """What cannot be compressed that way is refused like an unknown format."""
    pytester.makepyfile("def test_a(): pass")
    line = support.refused(support.run(pytester, f"--crucible-export={name}"))
    assert line.startswith(f"--crucible-export: unknown export format {name!r}; valid: csv,")
