"""Merging shards: one run, whatever the order, and never a half one."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_crucible._errors import ArtifactError, OutputError
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import Results
from pytest_crucible.capture.frames import HeaderFrame
from pytest_crucible.events.event import Event
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.report.terminal import render
from pytest_crucible.runs.manifest import read_manifest, write_manifest
from pytest_crucible.runs.run import open_folder
from pytest_crucible.runs.shards import merge_shards, runs_in
from tests.made_events import event, write_run
from tests.report.support import made, observed

CASES = 12


def describe(folder: Path) -> Mapping[str, Any]:
    return analyse(open_folder(folder)).to_dict()


def merged(target: Path, *shards: Path) -> Results:
    merge_shards(shards, target, describe)
    return analyse(open_folder(target))


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    return {str(each.relative_to(folder)): each.read_bytes() for each in files}


def conditions(results: Results) -> Any:
    return results.to_dict()["experiments"]["exp"]["conditions"]


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Three shards of twelve cases; the node of each is called main."""
    every = list(observed(range(CASES), failed=3))
    per_case = len(every) // CASES
    found = []
    for number in range(3):
        part = [each for i, each in enumerate(every) if i // per_case % 3 == number]
        found.append(made(tmp_path / "shards" / f"run-{number}", part))
        write_manifest(found[-1], {"run": f"run-{number}", "python": "3.11.4", "cpu_count": 2})
    return found


def test_shards_make_one_run(tmp_path: Path, shards: list[Path]) -> None:
    """The metrics are those of one run with all trials, to the last bit."""
    whole = analyse(open_folder(made(tmp_path / "whole", observed(range(CASES), failed=3))))
    found = merged(tmp_path / "m", *shards)
    assert conditions(found) == conditions(whole)
    assert not found.lost
    assert len(found.experiments[0].trials) == CASES
    manifest = read_manifest(tmp_path / "m")
    assert manifest is not None
    assert manifest["merged"] == ["run-0", "run-1", "run-2"]
    assert manifest["run"].startswith("merged-")
    assert manifest["python"] == "3.11.4"


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([0, 1, 2]), min_size=3, max_size=6), st.randoms())
def test_order_and_repetition_do_not_matter(
    tmp_path: Path, shards: list[Path], order: list[int], rng: random.Random
) -> None:
    """Any order, any shard named twice, shards or their folder, again into the same place: the
    same bytes."""
    folder = tmp_path / "m"
    merge_shards(shards, folder, describe)
    expected = contents(folder)
    chosen = [shards[i] for i in {*order, 0, 1, 2}] + [shards[i] for i in order]
    rng.shuffle(chosen)
    merge_shards(chosen, folder, describe)
    assert contents(folder) == expected
    merge_shards([shards[0].parent, folder], folder, describe)
    assert contents(folder) == expected


def test_inputs_are_only_read(tmp_path: Path, shards: list[Path]) -> None:
    """The shards are the same afterwards, and nothing was added to their folder."""
    before = contents(shards[0].parent)
    merged(tmp_path / "m", *shards)
    assert contents(shards[0].parent) == before


def test_one_shard_at_a_time(tmp_path: Path, shards: list[Path]) -> None:
    """An earlier merge is a shard like any other: adding to it ends where merging at once ends."""
    for shard in shards:
        earlier = [tmp_path / "m"] if (tmp_path / "m").exists() else []
        merged(tmp_path / "m", *earlier, shard)
    merged(tmp_path / "once", *shards)
    assert contents(tmp_path / "m") == contents(tmp_path / "once")


# --- overlapping shards ------------------------------------------------------------------------


def test_a_copied_shard_counts_once(tmp_path: Path, shards: list[Path]) -> None:
    """The same record under two names is one record, told by its id and not by its path."""
    copy = shutil.copytree(shards[0], tmp_path / "again")
    assert conditions(merged(tmp_path / "m", *shards, copy)) == conditions(
        merged(tmp_path / "n", *shards)
    )


def test_the_longer_copy_of_a_shard_counts(tmp_path: Path, shards: list[Path]) -> None:
    """A copy that was taken while the shard still ran, or is torn, loses to the whole one."""
    early = shutil.copytree(shards[0], tmp_path / "a-early")
    spool = early / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-400])
    found = merged(tmp_path / "m", early, *shards)
    assert not found.lost
    assert len(found.experiments[0].trials) == CASES


def test_a_trial_that_two_shards_ran_counts_once(tmp_path: Path) -> None:
    """Its numbers, events, cost and outcome are those of the earlier run; the summary says so."""
    first = made(tmp_path / "run-0", observed(range(4)))
    later = [_later(each) for each in observed(range(2, 6), slower=9, failed=2)]
    second = made(tmp_path / "run-1", later)
    found = merged(tmp_path / "m", second, first)
    trials = {trial.case[-3:]: trial for trial in found.experiments[0].trials}
    assert {case: trial.duplicates for case, trial in trials.items()} == {
        "[0]": 0, "[1]": 0, "[2]": 1, "[3]": 1, "[4]": 0, "[5]": 0,
    }  # fmt: skip
    assert {trial.outcome for trial in trials.values()} == {"passed"}
    metrics = found.experiments[0].metrics["default"]
    assert metrics.recorded["score"].count == metrics.latency.count == metrics.cost.count == 6
    assert metrics.summary.total_events == 6
    once = merged(tmp_path / "n", first, made(tmp_path / "run-2", later[8:]))
    assert conditions(found) == conditions(once)


@pytest.mark.parametrize("crashed_first", [True, False])
@pytest.mark.parametrize("swapped", [True, False])
def test_a_later_complete_attempt_replaces_a_crashed_one(
    tmp_path: Path, crashed_first: bool, swapped: bool
) -> None:
    """The record is complete and judged by the complete attempt; the cost of both was spent."""
    broken = list(observed(range(4), failed=4))[:-1]  # the last trial never ended
    whole = list(observed(range(3, 6)))
    if crashed_first:
        whole = list(map(_later, whole))
    else:
        broken = list(map(_later, broken))
    first = write_run(tmp_path / "run-0", broken, closed=False)
    second = made(tmp_path / "run-1", whole)
    found = merged(tmp_path / "m", *([second, first] if swapped else [first, second]))
    assert (found.lost, found.incomplete) == (False, ())
    (trial,) = (trial for trial in found.experiments[0].trials if trial.case.endswith("[3]"))
    assert (trial.outcome, trial.replaced) == ("passed", int(crashed_first))
    metrics = found.experiments[0].metrics["default"]
    assert (metrics.tests.passed, metrics.tests.failed) == (3, 3)
    assert metrics.recorded["score"].count == 6
    assert metrics.cost.count == 6 + crashed_first
    told = any("1 crashed attempt replaced by later ones" in line.text for line in render(found))
    assert told == crashed_first


def test_a_crash_that_nothing_made_up_for_leaves_the_record_incomplete(tmp_path: Path) -> None:
    """One trial that no shard ran to its end is enough."""
    first = write_run(tmp_path / "run-0", list(observed(range(4)))[:-1], closed=False)
    found = merged(tmp_path / "m", first, made(tmp_path / "run-1", observed(range(4, 6))))
    assert found.lost
    assert found.incomplete == (
        "main: did not end in good order", "1 trial crashed: tests/t.py::test_it[3]",
    )  # fmt: skip


def _later(each: Event) -> Event:
    import msgspec

    return msgspec.structs.replace(each, time_us=each.time_us + 60_000_000)


# --- what the shards had noted -----------------------------------------------------------------


def test_what_only_a_session_knew_survives(tmp_path: Path, shards: list[Path]) -> None:
    """A loss that stands in a shard's manifest alone is still told after the merge."""
    note = "gw1: disk full; later events are in memory only"
    noted = analyse(open_folder(shards[1])).with_notes([note])
    write_manifest(shards[1], {"run": "run-1", **noted.to_dict()})
    found = merged(tmp_path / "m", *shards)
    assert found.lost
    assert found.incomplete == (note,)
    assert analyse(open_folder(shards[1])).incomplete == (note,)


def test_torn_shards_are_merged_and_told(tmp_path: Path, shards: list[Path]) -> None:
    """What a killed shard wrote is kept; that it broke off is the merged run's reason."""
    spool = shards[0] / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-30])
    found = merged(tmp_path / "m", *shards)
    assert found.lost
    assert any(each.startswith(str(tmp_path / "m")) for each in found.incomplete)
    assert len(found.experiments[0].trials) == CASES


def test_surroundings_that_differ_are_listed(tmp_path: Path, shards: list[Path]) -> None:
    """Versions of a mixed matrix stand side by side; what was the same everywhere stands once."""
    write_manifest(shards[2], {"run": "run-2", "python": "3.12.0", "cpu_count": 2})
    merged(tmp_path / "m", *shards)
    manifest = read_manifest(tmp_path / "m")
    assert manifest is not None
    assert (manifest["python"], manifest["cpu_count"]) == ("3.11.4, 3.12.0", 2)


def test_what_enrichers_set_is_merged(tmp_path: Path, shards: list[Path]) -> None:
    """The files beside the spools come along, and tell the same numbers."""
    from pytest_crucible.runs.enriched import keep_enriched

    for shard in shards:
        for node in open_folder(shard).nodes:
            keep_enriched(node, [lambda event, enriched: setattr(enriched, "cost_usd", 0.5)])
    found = merged(tmp_path / "m", *shards)
    assert found.experiments[0].metrics["default"].cost.total == CASES * 0.5


# --- all or nothing ----------------------------------------------------------------------------


def refused(target: Path, shards: Iterable[Path]) -> str:
    """Why nothing was written."""
    before = contents(target.parent)
    with pytest.raises((ArtifactError, OutputError)) as caught:
        merge_shards(list(shards), target, describe)
    assert contents(target.parent) == before
    return str(caught.value)


def test_other_peoples_folders_are_left_alone(tmp_path: Path, shards: list[Path]) -> None:
    """A folder with anything else in it, a file, a recorded run: none is overwritten."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    no_merge = "exists and is no earlier merge; nothing was written"
    assert refused(mine, shards) == f"{mine}: {no_merge}"
    assert refused(shards[0], shards) == f"{shards[0]}: {no_merge}"
    file = mine / "thesis.txt"
    assert refused(file, shards) == f"{file}: exists and is no folder; nothing was written"


def test_an_empty_folder_may_be_filled(tmp_path: Path, shards: list[Path]) -> None:
    """A folder that a script made beforehand is as good as none."""
    (tmp_path / "m").mkdir()
    assert len(merged(tmp_path / "m", *shards).experiments[0].trials) == CASES
    assert len(merged(tmp_path / "new" / "m", *shards).experiments[0].trials) == CASES


@pytest.mark.parametrize("failing", ["describe", "copy", "swap"])
def test_a_failure_leaves_the_earlier_merge(
    failing: str, tmp_path: Path, shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails, and when: what was there is there, whole, and nothing lies about."""
    target = tmp_path / "out" / "m"
    merge_shards(shards[:2], target, describe)
    expected = contents(tmp_path / "out")

    def fail(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    rename = os.replace

    def fail_second(old: Path, new: Path) -> None:
        if str(old).endswith(".tmp") and Path(new) == target:
            fail()
        rename(old, new)

    if failing == "copy":
        monkeypatch.setattr(shutil, "copyfile", fail)
    if failing == "swap":
        monkeypatch.setattr(os, "replace", fail_second)
    with pytest.raises(OutputError, match=r"/m: No space left on device$"):
        merge_shards(shards, target, fail if failing == "describe" else describe)
    monkeypatch.undo()
    assert contents(tmp_path / "out") == expected
    assert [each.name for each in target.parent.iterdir()] == ["m"]


def test_a_merge_is_in_its_place_when_it_is_whole(tmp_path: Path, shards: list[Path]) -> None:
    """While it is being made nothing stands at the target; nobody can read a half merge."""
    seen: list[bool] = []

    def look(folder: Path) -> Mapping[str, Any]:
        seen.append((tmp_path / "m").exists())
        return describe(folder)

    merge_shards(shards, tmp_path / "m", look)
    assert seen == [False]


# --- what cannot be merged ---------------------------------------------------------------------


def test_another_schema_is_refused_by_name(tmp_path: Path, shards: list[Path]) -> None:
    """A shard of another version is named, as a spool or by its manifest."""
    path = shards[1] / "manifest.json"
    manifest = path.read_text()
    path.write_text(manifest.replace('"schema": 1', '"schema": 7'))
    assert refused(tmp_path / "out" / "m", shards).startswith(f"{path}: schema 7, ")
    path.write_text(manifest)
    (tmp_path / "shards" / "new" / "nodes").mkdir(parents=True)
    spool = tmp_path / "shards" / "new" / "nodes" / "main.spool"
    SpoolStore(spool, HeaderFrame(9, "r", "main", "u", 1, "h", 0, 0)).close()
    assert refused(tmp_path / "out" / "m", [*shards, spool.parents[1]]).startswith(
        f"{spool}: schema 9, "
    )


def test_what_is_no_shard_is_named(tmp_path: Path, shards: list[Path]) -> None:
    """Files, folders without runs, runs without spools, and spools without a beginning."""
    target = tmp_path / "out" / "m"
    file = tmp_path / "events.csv"
    file.write_text("x")
    assert refused(target, [file]).startswith(f"{file}: not a run folder (merging needs run")
    assert refused(target, [tmp_path / "gone"]).startswith(f"{tmp_path / 'gone'}: not a run")
    bare = tmp_path / "bare"
    bare.mkdir()
    assert refused(target, [*shards, bare]) == f"{bare}: no run in this folder"
    write_manifest(bare, {"run": "bare"})
    assert refused(target, [bare]) == f"{bare}: no recorded events in it"
    spool = shards[0] / "nodes" / "main.spool"
    spool.write_bytes(b"\x00" * 100)
    assert refused(target, shards) == f"{spool}: does not begin with a header"


def test_a_killed_merge_is_no_shard(tmp_path: Path) -> None:
    """What a merge that was killed left behind is not read as a run."""
    run = write_run(tmp_path / "run-1", [event()])
    write_run(tmp_path / ".m.1234.tmp", [event()])
    assert runs_in(tmp_path) == runs_in(run) == [run]
