"""Packages with the entry point group ``pytest_crucible``: really installed, in real processes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.hooks.support import PLUGIN, crucible, install, run, session

TABLE = {"recorded 3/3 trials · 3 events", "cost.total $1.50", "acme.index 3"}
LINE = "acme: 1 experiment"
OUTPUT = "crucible-results"
MARKED = "import pytest\n@pytest.mark.experiment('e')\ndef test():\n    pass\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a session left its run, in which nothing was installed."""
    folder = tmp_path_factory.mktemp("plain")
    lines = session(folder, None)
    assert "  recorded 3/3 trials · 3 events" in lines
    assert not any("acme" in line for line in lines)
    return folder


def words(lines: list[str]) -> set[str]:
    """Lines without what is there to align them."""
    return {" ".join(line.split()) for line in lines}


def manifest(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob("manifest.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


# --- the command line --------------------------------------------------------------------------


def test_the_command_line_asks_them(site: Path, plain: Path, tmp_path: Path) -> None:
    """Enrichers, metrics, formats and lines, in every command that reads a run."""
    shown = crucible(plain, site, "show", OUTPUT).splitlines()
    assert words(shown) >= TABLE
    assert shown[-2:] == [LINE, f"run: {manifest(plain)['run']}"]
    table = tmp_path / "e.csv"
    crucible(plain, site, "export", OUTPUT, "-o", str(table))
    with open(table, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["event"].startswith("req_llm")]
    assert [(row["cost_usd"], row["region"]) for row in rows] == [("0.5", "eu")] * 3
    gate = ("gate", OUTPUT, "--expect", "acme.index > 2", "--expect", "cost.total > 1")
    assert LINE in crucible(plain, site, *gate)
    compared = crucible(plain, site, "compare", OUTPUT, str(table)).splitlines()
    assert any("cost $0.500 $0.500" in line for line in words(compared))
    planned = ("plan", "--pilot", str(table), "--metric", "success_rate", "--effect", "-0.2")
    assert "pilot: e" in crucible(plain, site, *planned)
    merged = crucible(plain, site, "merge", OUTPUT, "-o", str(tmp_path / "merged")).splitlines()
    assert words(merged) >= {*TABLE, LINE}
    assert "acme.index" not in crucible(plain, None, "show", OUTPUT)


def test_a_format_may_be_read_back(site: Path, plain: Path, tmp_path: Path) -> None:
    """It is exported, shown, compared and guarded like one of ours; without it nobody reads it."""
    record = tmp_path / "e.acme"
    crucible(plain, site, "export", OUTPUT, "-o", str(record))
    assert words(crucible(plain, site, "show", str(record)).splitlines()) >= TABLE
    crucible(plain, site, "compare", OUTPUT, str(record))
    crucible(plain, site, "export", str(record), "-o", str(tmp_path / "e.count"))
    assert (tmp_path / "e.count").read_text() == "3"
    for arguments, said in (
        (("gate", OUTPUT, "--markdown", str(record)), "is an artifact"),
        (("gate", OUTPUT, f"--junit={tmp_path / 'new.acme'}"), "is an artifact"),
        (("export", OUTPUT, "-o", str(record)), "--force replaces it"),
        (("export", OUTPUT, "-o", str(tmp_path / "e.x")), "valid: acme, count, csv, json,"),
        (("show", str(tmp_path / "e.count")), ".parquet, .acme, .zip file"),
    ):
        done = run(plain, site, "-m", "pytest_crucible", *arguments)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert run(plain, None, "-m", "pytest_crucible", "show", str(record)).returncode == 2


def test_recovery_keeps_what_they_say(site: Path, tmp_path: Path) -> None:
    """A run whose session was killed is finished with them, and shown so where they are not."""
    session(tmp_path, None)
    (path,) = tmp_path.rglob("manifest.json")
    path.unlink()
    for kept in tmp_path.rglob("*.enriched.jsonl"):
        kept.unlink()
    recovered = crucible(tmp_path, site, "recover", OUTPUT).splitlines()
    assert words(recovered) >= {*TABLE, LINE}
    assert manifest(tmp_path)["enrichers"] == ["prices", "acme.pytest_crucible_enrich"]
    for place in (site, None):
        assert words(crucible(tmp_path, place, "show", OUTPUT).splitlines()) >= TABLE


# --- the library -------------------------------------------------------------------------------


def test_the_library_asks_them(site: Path, plain: Path, tmp_path: Path) -> None:
    """`metrics(exact=True)`, `export`, `open_run` and `compare`, without pytest."""
    (tmp_path / "use.py").write_text("""
import json, sys
import pytest_crucible as crucible

with crucible.experiment("lib") as exp:
    exp.execute("req_llm.request.stop", {"duration": 1}, {"model": "m"})
metrics = exp.metrics(exact=True)
assert "pytest" not in sys.modules
path = crucible.export(exp, "acme", "e.acme")
run = crucible.open_run(path)
old = crucible.open_run(sys.argv[1])
print(json.dumps([
    metrics.cost.total, metrics.custom, [event.enriched for event in run.events],
    [event.enriched["extra"]["region"] for event in old.events if not event.internal],
    [each.metric for each in crucible.compare(exp, exp) if each.metric.startswith("acme")],
]))
""")
    done = run(tmp_path, site, "use.py", str(plain / OUTPUT))
    assert done.stderr == ""
    total, custom, enriched, regions, compared = json.loads(done.stdout)
    assert (total, custom) == (0.5, {"acme.index": 1.0})
    assert [each["cost_usd"] for each in enriched] == [0.5]
    assert regions == ["eu"] * 3
    assert compared == ["acme.index"]


# --- sessions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [
    ("pytest_crucible",), ("pytest_crucible", "pytest11"),
], ids=" ".join)  # fmt: skip
@pytest.mark.parametrize("how", [(), ("-n2",)], ids=" ".join)
def test_a_session_asks_each_once(
    groups: tuple[str, ...], how: tuple[str, ...], tmp_path: Path
) -> None:
    """Also one that is registered with pytest, too; and what it said is told again, not doubled."""
    site = install(tmp_path / "site", groups=groups)
    lines = session(tmp_path, site, *how, "--crucible-export=acme,csv,count")
    assert words(lines) >= TABLE
    assert lines.count(LINE) == 1
    assert lines[-2].endswith(" · events.acme · events.csv · events.count")
    (count,) = tmp_path.rglob("events.count")
    assert count.read_text() == "3"
    if not how:
        for place in (site, None):  # the numbers stay where it is not installed
            assert words(crucible(tmp_path, place, "show", OUTPUT).splitlines()) >= TABLE
        record = str(count.with_name("events.acme"))
        assert words(crucible(tmp_path, site, "show", record).splitlines()) >= TABLE


@pytest.mark.parametrize(
    "options", ["", "--crucible-export=acme,csv", "-n2 --crucible-export=acme"]
)
def test_a_session_without_experiments_loads_none(options: str, tmp_path: Path) -> None:
    """Not even where it asks for a format that only they may know."""
    site = install(tmp_path / "site", "raise AssertionError('loaded')")
    (tmp_path / "test_b.py").write_text(
        "import sys\ndef test_b():\n    assert 'acme' not in sys.modules\n"
    )
    done = run(tmp_path, site, "-m", "pytest", "-q", "test_b.py", *options.split())
    assert done.returncode == 0, done.stdout
    assert "loaded" not in done.stdout + done.stderr


@pytest.mark.parametrize("how", [(), ("-n2",)], ids=" ".join)
def test_a_format_that_they_lack_too_is_refused(
    how: tuple[str, ...], site: Path, tmp_path: Path
) -> None:
    """Before any test runs, in one line that names theirs among the valid ones."""
    (tmp_path / "test_a.py").write_text(
        "import pytest\n@pytest.mark.experiment('e')\ndef test(): 1"
    )
    done = run(tmp_path, site, "-m", "pytest", "-q", *how, "--crucible-export=acne")
    said = "--crucible-export: unknown export format 'acne'; valid: acme, count, csv, json, jsonl"
    assert f"ERROR: {said}, parquet" in (done.stdout + done.stderr).splitlines()
    assert "1 passed" not in done.stdout
    assert not (tmp_path / OUTPUT).exists()


def test_a_baseline_may_be_in_their_format(site: Path, plain: Path, tmp_path: Path) -> None:
    """It is read when the session ends."""
    crucible(plain, site, "export", OUTPUT, "-o", str(tmp_path / "base.acme"))
    lines = session(tmp_path, site, f"--crucible-baseline={tmp_path / 'base.acme'}")
    assert any("cost $0.500 $0.500" in line for line in words(lines))


@pytest.mark.parametrize("off", [
    ["-p", "no:acme"], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
])  # fmt: skip
def test_a_session_may_do_without(
    off: list[str] | dict[str, str], site: Path, tmp_path: Path
) -> None:
    """What switches pytest's plugins off switches these off."""
    (tmp_path / "test_a.py").write_text(
        "import pytest\n@pytest.mark.experiment('e')\ndef test(): 1"
    )
    arguments = off if isinstance(off, list) else ["-p", "pytest_crucible.plugin"]
    env = off if isinstance(off, dict) else {}
    done = run(tmp_path, site, "-m", "pytest", "-q", *arguments, env=env)
    assert done.returncode == 0, done.stdout
    assert "recorded 1/1 trials" in done.stdout
    assert "acme" not in done.stdout


# --- plugins that fail -------------------------------------------------------------------------

HOOKS = ("enrich", "metrics", "exporters", "summary")
RAISING = """
def pytest_crucible_enrich(event, enriched): {}["broken"]
def pytest_crucible_metrics(): {}["broken"]
def pytest_crucible_exporters(): {}["broken"]
def pytest_crucible_summary(): {}["broken"]
"""


def test_one_that_raises_loses_its_own_part(plain: Path, tmp_path: Path) -> None:
    """Each is named in one line; table, exit code and the other's part are as ever."""
    site = install(tmp_path / "site")
    install(site, RAISING, "other")
    lines = [
        f"KeyError: 'broken' ({site}/other.py:{number}): "
        f"left out pytest_crucible_{hook} of plugin 'other'"
        for number, hook in enumerate(HOOKS, 2)
    ]
    target = str(tmp_path / "n.count")
    for arguments, expected in (
        (("show", OUTPUT), {lines[0], lines[1], lines[3]}),
        (("export", OUTPUT, "-o", target), {lines[0], lines[2]}),
    ):
        done = run(plain, site, "-m", "pytest_crucible", *arguments)
        assert done.returncode == 0
        told = done.stderr.splitlines()
        assert {line.removeprefix("crucible: ") for line in told} == expected
        assert len(told) == len(expected)
        if "show" in arguments:
            assert words(done.stdout.splitlines()) >= {*TABLE, LINE}
    assert Path(target).read_text() == "3"
    found = session(tmp_path, site, "--crucible-export=count", code=1)
    assert words(found) >= {*TABLE, LINE}
    told = [line.removeprefix("problem: ") for line in found if line.startswith("problem: ")]
    assert sorted(told) == sorted(lines)
    assert any(line.startswith("run: ") and line.endswith(" · events.count") for line in found)


UNLOADABLE = {
    "gone": ("import nowhere", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"),
    "quits": ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
    "typo": ("def pytest_crucible_enrich(evnt): pass", "cannot be loaded: PluginValidationError: "),
    "odd": ("def pytest_crucible_metric(): pass", "unknown hook 'pytest_crucible_metric'; valid: "),
}


def test_one_that_cannot_be_loaded_is_named(plain: Path, tmp_path: Path) -> None:
    """In one line, wherever plugins are asked; the others are there."""
    site = install(tmp_path / "site")
    for name, (source, _) in UNLOADABLE.items():
        install(site, source, name)
    done = run(plain, site, "-m", "pytest_crucible", "show", OUTPUT)
    assert done.returncode == 0
    assert words(done.stdout.splitlines()) >= {*TABLE, LINE}
    told = done.stderr.splitlines()
    assert len(told) == len(UNLOADABLE)
    for name, (_, said) in UNLOADABLE.items():
        (line,) = [line for line in told if f"plugin {name!r}" in line]
        assert said in line
    assert run(plain, site, "-m", "pytest_crucible", "events").stderr == ""


def test_the_library_warns(tmp_path: Path) -> None:
    """Whoever has no terminal to read learns of it as Python tells such things."""
    site = install(tmp_path / "site", RAISING)
    (tmp_path / "use.py").write_text("""
import warnings
import pytest_crucible as crucible

with crucible.experiment("lib") as exp:
    exp.execute("a")
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for _ in range(2):
        assert exp.metrics(exact=True).custom == {}
print([(each.category.__name__, str(each.message)[-44:]) for each in told])
""")
    done = run(tmp_path, site, "use.py")
    said = [f"left out pytest_crucible_{hook} of plugin 'acme'"[-44:] for hook in HOOKS[:2]]
    assert done.stdout == f"{[('PluginWarning', each) for each in said]}\n"


def test_metrics_are_worked_out_anew_where_that_is_possible(tmp_path: Path) -> None:
    """A newer plugin's number wins; one that it no longer has stays as the session had it."""
    old = install(
        tmp_path / "old",
        """
def pytest_crucible_metrics(observations, metrics):
    return {"acme.index": 1, "acme.gone": 7}
""",
    )
    new = install(
        tmp_path / "new",
        """
def pytest_crucible_metrics(observations, metrics):
    return {"acme.index": 2}
""",
    )
    session(tmp_path, old)
    for site, index in ((None, 1), (old, 1), (new, 2)):
        lines = crucible(tmp_path, site, "show", OUTPUT).splitlines()
        shown = {
            line.split()[0]: line.split()[1:]
            for line in lines
            if line.strip().startswith("acme.") and ":" not in line  # no footnote
        }
        assert shown == {"acme.index": [str(index)], "acme.gone": ["7"]}


def test_an_enricher_that_was_not_asked_is_asked_later(site: Path, tmp_path: Path) -> None:
    """On top of what was kept of the others, of whom none is asked twice."""
    other = install(tmp_path / "site", PLUGIN.replace("acme", "other").replace("eu", "us"), "other")
    session(tmp_path, other)
    assert manifest(tmp_path)["enrichers"][-1] == "other.pytest_crucible_enrich"
    install(other)
    shown = crucible(tmp_path, other, "show", OUTPUT)
    assert "cost.total $3.00" in words(shown.splitlines())
    assert "cost.total $1.50" in words(crucible(tmp_path, None, "show", OUTPUT).splitlines())
