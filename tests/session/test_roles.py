"""Roles: which process records where, and what it registers for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.analysis.run import open_run
from pytest_crucible.session.controller import NOTES, RESCUED, WORKERINPUT, WORKEROUTPUT
from pytest_crucible.session.fixture import TRIALS
from pytest_crucible.session.marker import IDENTITY
from pytest_crucible.session.roles import Recorder, Worker, gather, gather_late, refuse
from pytest_crucible.session.transport import place
from tests.session import support

SUITE = """
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e")
@pytest.mark.parametrize("n", range(4))
def test_it(n):
    telemetry.execute("work.done", {"n": n})

def test_unmarked():
    pass
"""


def nodes(pytester: pytest.Pytester) -> list[str]:
    """Who recorded into the newest run."""
    folder = support.newest(pytester).path
    assert folder is not None
    return sorted(path.name for path in (folder / "nodes").glob("*.spool"))


# --- who records -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("-p no:xdist", ["main.spool"]), ("-n0", ["main.spool"]), ("-n1", ["gw0.spool"])],
)
def test_each_process_that_runs_tests_has_a_spool(
    pytester: pytest.Pytester, mode: str, expected: list[str]
) -> None:
    """One for the only process, one per worker; the controller, which runs none, has none."""
    pytester.makepyfile(SUITE)
    assert support.run(pytester, *mode.split()).ret == 0
    assert nodes(pytester) == expected
    assert len(support.events(pytester)) == 4


def test_the_environment_makes_nobody_a_worker(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that a worker's test starts inherits its variables and is local all the same."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw7")
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "outer")
    pytester.makepyfile(SUITE)
    result = support.run(pytester, "-p", "no:xdist")
    assert nodes(pytester) == ["main.spool"]
    result.stdout.fnmatch_lines(["*= experiments =*"])


def test_workers_record_into_one_run(pytester: pytest.Pytester) -> None:
    """Two workers, one folder, one summary: printed by the controller alone."""
    pytester.makepyfile(SUITE)
    result = support.run(pytester, "-n2", "--dist=load")
    assert result.ret == 0
    folder = pytester.path / support.OUTPUT
    (run,) = (each for each in folder.iterdir() if each.is_dir())
    assert len(list(open_run(run).events)) >= 4
    assert result.stdout.str().count("= experiments =") == 1
    result.stdout.fnmatch_lines(["*recorded 4/4 trials*"])


# --- what it registers -------------------------------------------------------------------------

LISTING = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    names = {name for name, _ in session.config.pluginmanager.list_name_plugin()}
    print("ours:", *sorted(name for name in names if name.startswith("crucible-")))
"""


def registered(pytester: pytest.Pytester, marker: str, *, body: str = "def") -> set[str]:
    """The plugins of ours in a session whose only test has this marker."""
    pytester.makeconftest(LISTING)
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.experiment('e'{marker})\n{body} test_it(): pass\n"
    )
    result = support.run(pytester, "-s", "-p", "no:xdist")
    (line,) = [line for line in result.outlines if line.startswith("ours:")]
    return set(line.split()[1:])


PLAIN = {"crucible-recorder", TRIALS}


@pytest.mark.parametrize(
    ("marker", "more"),
    [
        ("", set()),
        (", conditions=('a', 'b'), trials=2, tags=['t']", set()),
        (", expect=['pass_rate > 0']", {"crucible-recorded"}),  # then failed trials only count
        (", budget_usd=1", {"crucible-budget"}),
        (", validate='warn'", {"crucible-validation"}),
        (", failures='record'", {"crucible-recorded"}),
        (", scope='module'", {"crucible-scope-capture"}),
    ],
)
def test_hooks_that_no_test_needs_are_not_there(
    pytester: pytest.Pytester, marker: str, more: set[str]
) -> None:
    """Each costs every test of the session, whether marked or not."""
    assert registered(pytester, marker) == PLAIN | more


def test_coroutine_functions_need_one_more(pytester: pytest.Pytester) -> None:
    """Their scope is settled inside their task."""
    assert registered(pytester, "", body="async def") == {*PLAIN, "crucible-async"}


def test_a_session_without_markers_registers_nothing(pytester: pytest.Pytester) -> None:
    """What it would cost is paid by those who use it."""
    pytester.makeconftest(LISTING)
    pytester.makepyfile("def test_it(): pass")
    result = support.run(pytester, "-s", "-p", "no:xdist")
    assert "ours:\n" in result.stdout.str().replace("ours: \n", "ours:\n")


# --- refusing ----------------------------------------------------------------------------------


class Config:
    """As much of a config as refusing needs; a worker's has an output."""

    def __init__(self, worker: bool) -> None:
        if worker:
            self.workeroutput: dict[str, object] = {}


def test_a_worker_leaves_its_refusal_to_the_controller() -> None:
    """An error raised in a worker ends as an internal error: it runs nothing and says why."""
    items, config = ["item"], Config(worker=True)
    refuse(items, config, "no trials, please")  # type: ignore[arg-type]
    assert items == []
    assert config.workeroutput == {WORKEROUTPUT: "no trials, please"}


def test_the_only_process_refuses_at_once() -> None:
    """As a usage error, which pytest prints as one line."""
    with pytest.raises(pytest.UsageError, match="no trials, please"):
        refuse([], Config(worker=False), "no trials, please")  # type: ignore[arg-type]


def quiet(pytester: pytest.Pytester) -> None:
    """Have sessions that only collect load no more plugins than others here."""
    pytester.makeini(f"[pytest]\naddopts = {' '.join(support.ARGUMENTS)}")


def test_gathering_finds_the_trials(pytester: pytest.Pytester) -> None:
    """Each knows which trial it is; the others stay what they were."""
    quiet(pytester)
    items = pytester.getitems(SUITE)
    gather(items, items[0].config)
    assert [IDENTITY in item.stash for item in items] == [True] * 4 + [False]
    assert gather_late(items, items[0].config)
    assert not gather_late(items[4:], items[0].config)


# --- workers -----------------------------------------------------------------------------------


def worker_config(pytester: pytest.Pytester, output: Path, seen: dict[str, Any]) -> pytest.Config:
    quiet(pytester)
    config = pytester.parseconfigure("-p", "no:xdist")
    told = {
        "run": "run-1",
        "output": str(output),
        "place": seen,
        "channel": None,
        "each": False,
    }
    config.workerinput = {"workerid": "gw3", WORKERINPUT: told}  # type: ignore[attr-defined]
    config.workeroutput = {}  # type: ignore[attr-defined]
    return config


def test_a_worker_is_told_where_to_record(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """Its run, its name and the folder come from the controller; by itself it knows none."""
    worker = Worker(worker_config(pytester, tmp_path, place(tmp_path)))
    assert (worker.run, worker.node, worker.output) == ("run-1", "gw3", tmp_path)


def test_a_worker_that_does_not_see_the_folder_has_its_own(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    """On another host, or in another root: it records there and sends what it has."""
    elsewhere = place(tmp_path) | {"inode": -1}
    worker = Worker(worker_config(pytester, tmp_path / "out", elsewhere))
    assert worker.output != tmp_path / "out"
    assert worker.output.is_dir()
    worker.output.rmdir()


def test_a_worker_without_trials_says_nothing(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """It makes no folder, and tells the controller of none."""
    config = worker_config(pytester, tmp_path / "out", place(tmp_path))
    worker: Recorder = Worker(config)
    worker.close()
    worker.close()
    assert not (tmp_path / "out").exists()
    output: dict[str, object] = config.workeroutput  # type: ignore[attr-defined]
    assert not {NOTES, RESCUED} & set(output)
