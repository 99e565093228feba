"""Comparing runs: what is held against what, what is missing, and whether it is fair."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from pytest_crucible.analysis.run_comparison import (
    FAIL_ON,
    RunComparison,
    compare_runs,
    environment_differences,
)
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.exports.rows import to_json
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.runs.manifest import write_manifest
from pytest_crucible.stats.comparison import (
    ADDED,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    REGRESSED,
    REMOVED,
    Options,
)
from tests.report.support import LINE, compared, made, observed, verdicts
from tests.test_html import ELEMENTS, Tags


def test_every_form_of_a_run_is_the_same_run(tmp_path: Path) -> None:
    """Folder, CSV, JSONL and Parquet tell the same metrics, and no change between any two."""
    folder = made(tmp_path / "run-1", observed(range(200), failed=20))
    forms = [folder]
    for format in FORMATS:  # noqa: A001
        path = tmp_path / f"events.{format}"
        forms.append(export_events(lambda: open_run(folder).events, path, FORMATS[format]))
    told = [analyse(open_run(path)).to_dict()["experiments"]["exp"]["conditions"] for path in forms]
    assert told == [told[0]] * len(forms)
    for base, cand in itertools.combinations(forms, 2):
        found = verdicts(compared(base, cand))
        assert set(found) >= {"success_rate", "score.mean", "latency", "latency.p95", "cost"}
        assert set(found.values()) == {EQUIVALENT}, (base, cand)


def test_each_metric_has_its_verdict(tmp_path: Path) -> None:
    """Slower is REGRESSED, faster IMPROVED, and what did not change is EQUIVALENT."""
    base = made(tmp_path / "a", observed(range(100)))
    cand = made(tmp_path / "b", observed(range(100), failed=30, slower=1.5))
    there, back = compared(base, cand), compared(cand, base)
    assert verdicts(there) == {
        "success_rate": REGRESSED, "score.mean": EQUIVALENT, "latency": REGRESSED,
        "latency.p95": REGRESSED, "cost": EQUIVALENT, "tokens": EQUIVALENT,
    }  # fmt: skip
    assert verdicts(back)["latency"] == verdicts(back)["success_rate"] == IMPROVED
    assert (there.arms[0].verdict, there.count(REGRESSED), there.comparable) == (REGRESSED, 3, True)
    assert back.arms[0].verdict == IMPROVED
    assert there.arms[0].matched == 100
    assert there.arms[0].location == ("tests/t.py", LINE)


def test_cases_on_one_side_only_are_listed(tmp_path: Path) -> None:
    """New and missing cases are named; the others are still compared as pairs."""
    base = made(tmp_path / "a", observed(range(30)))
    cand = made(tmp_path / "b", observed(range(2, 33)))
    (arm,) = compared(base, cand).arms
    assert arm.matched == 28
    assert [name[-3:] for name in arm.removed_cases] == ["[0]", "[1]"]
    assert [name[-4:] for name in arm.added_cases] == ["[30]", "[31]", "[32]"]


def test_metrics_on_one_side_only_are_listed(tmp_path: Path) -> None:
    """A metric that is gone is REMOVED, one that is new is ADDED, each with its reason."""
    base = made(tmp_path / "a", observed(score="old"))
    cand = made(tmp_path / "b", observed(score="new"))
    found = verdicts(compared(base, cand))
    assert (found["old.mean"], found["new.mean"]) == (REMOVED, ADDED)


def test_experiments_and_arms_on_one_side_only_are_listed(tmp_path: Path) -> None:
    """An experiment, or a condition of one, that is gone or new is an arm with a reason."""
    kept = list(observed(condition="a"))
    base = made(tmp_path / "a", [*kept, *observed(experiment="old"), *observed(condition="b")])
    cand = made(tmp_path / "b", [*kept, *observed(experiment="new"), *observed(condition="c")])
    comparison = compared(base, cand)
    assert {arm.name: arm.verdict for arm in comparison.arms if arm.reason} == {
        "old": REMOVED, "exp (b)": REMOVED, "new": ADDED, "exp (c)": ADDED,
    }  # fmt: skip
    assert [arm.name for arm in comparison.arms if arm.removed] == ["exp (b)", "old"]


def test_nothing_in_common_is_not_comparable(tmp_path: Path) -> None:
    """Runs of different experiments say so, and how many went and came."""
    base = made(tmp_path / "a", observed(experiment="old"))
    cand = made(tmp_path / "b", observed(experiment="new"))
    comparison = compared(base, cand)
    assert not comparison.comparable
    assert comparison.to_dict()["comparable"] is False


# --- what fails a gate -------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> RunComparison:
    """Slower, too few for a percentile, without a score, without a case and an experiment."""
    base = made(tmp_path / "a", [*observed(range(30)), *observed(experiment="gone")])
    cand = made(tmp_path / "b", observed(range(1, 30), slower=2, score=None))
    return compared(base, cand)


@pytest.mark.parametrize(
    ("fail_on", "expected"),
    [
        ((), []),
        (("regression",), ["REGRESSED: latency of exp"]),
        (("inconclusive",), ["INCONCLUSIVE: success_rate of exp",
                             "INCONCLUSIVE: latency.p95 of exp"]),
        (("missing",), ["REMOVED: score.mean of exp", "REMOVED: gone", "REMOVED: 1 case of exp"]),
    ],
)  # fmt: skip
def test_a_gate_fails_on_what_it_was_told(
    fail_on: tuple[str, ...], expected: list[str], mixed: RunComparison
) -> None:
    """Each kind of failure is named, and only the kinds that were asked for."""
    assert mixed.failures(fail_on) == expected


def test_a_candidate_that_broke_off_is_missing_something(
    tmp_path: Path, mixed: RunComparison
) -> None:
    """A gate on missing data names why the candidate is incomplete; the baseline's loss is told."""
    torn = replace(mixed, incomplete=("baseline: gw0 broke off", "candidate: gw1 broke off"))
    assert torn.failures(("missing",))[-1] == "MISSING: candidate: gw1 broke off"
    assert len(torn.failures(FAIL_ON)) == len(mixed.failures(FAIL_ON)) + 1


def test_an_incomplete_record_is_told(tmp_path: Path) -> None:
    """Trials that never ran make the side that lacks them incomplete."""
    base, cand = made(tmp_path / "a", observed()), made(tmp_path / "b", observed())
    spool = cand / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-20])
    (reason,) = {each.partition(": ")[0] for each in compared(base, cand).incomplete}
    assert reason == "candidate"


# --- margins -----------------------------------------------------------------------------------


def test_the_candidates_marker_sets_the_margin(tmp_path: Path) -> None:
    """What does not matter is for the newer code to say; the caller may adjust it."""
    base = made(tmp_path / "a", observed(range(100)))
    loose = define("exp", margin={"latency": 0.5})
    cand = made(tmp_path / "b", observed(range(100), slower=1.2), loose)
    assert verdicts(compared(base, cand))["latency"] == EQUIVALENT
    first, second = open_run(base), open_run(cand)
    seen: list[Options] = []

    def strict(marker: Options) -> Options:
        seen.append(marker)
        return Options(margin=0.01)

    sides = [(run, analyse(run)) for run in (first, second)]
    assert verdicts(compare_runs(sides[0], sides[1], strict))["latency"] == REGRESSED
    assert [each.margins for each in seen] == [{"latency": 0.5}]


# --- is it fair? -------------------------------------------------------------------------------

AROUND: dict[str, Any] = {
    "run": "r", "python": "3.11.4", "machine": "x86_64", "cpu_count": 2,
    "packages": {"numpy": "2.0", "openai": "1.0"}, "git": {"commit": "abcdef0123456789"},
}  # fmt: skip


def differences(tmp_path: Path, **changes: Any) -> list[str]:
    base, cand = made(tmp_path / "a", observed()), made(tmp_path / "b", observed())
    write_manifest(base, AROUND)
    write_manifest(cand, AROUND | changes)
    return list(compared(base, cand).differences)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"python": "3.12.0"}, ["python: 3.11.4 → 3.12.0"]),
        ({"machine": "arm64", "cpu_count": 8}, ["machine: x86_64 → arm64", "cpu_count: 2 → 8"]),
        ({"packages": {"numpy": "2.1", "httpx": "1"}},
         ["packages: httpx absent → 1, numpy 2.0 → 2.1, openai 1.0 → absent"]),
        ({"packages": {}}, []),
        ({"git": {"commit": "1234567890abcdef", "dirty": True}},
         ["candidate: recorded from a dirty tree at 1234567890"]),
        ({"git": None}, []),
    ],
)  # fmt: skip
def test_different_surroundings_are_told(
    changes: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    """Python, machine, packages and dirty trees that differ stand beside the verdict."""
    assert differences(tmp_path, **changes) == expected


def test_many_changed_packages_are_cut(tmp_path: Path) -> None:
    """An upgrade of everything is one line, with the number of the rest."""
    packages = {f"p{i}": "2" for i in range(20)} | AROUND["packages"]
    (line,) = differences(tmp_path, packages=packages)
    assert line.endswith(" and 12 more")
    assert line.count("absent → 2") == 8


def test_different_models_are_told(tmp_path: Path) -> None:
    """Another model under the same name of experiment is the first thing to know."""
    base = made(tmp_path / "a", observed(model="m1"))
    cand = made(tmp_path / "b", observed(model="m2"))
    assert "models: m1 → m2" in compared(base, cand).differences


def test_an_unknown_environment_is_told_by_side(tmp_path: Path) -> None:
    """Exported files hold no surroundings: the side that lacks them is named."""
    run = open_run(write_manifest(made(tmp_path / "a", observed()), AROUND))
    bare = replace(run, manifest=None)
    results = analyse(run)
    unknown = "environment of the {} unknown: no manifest"
    for sides, named in (
        ((run, bare), "candidate"),
        ((bare, run), "baseline"),
        ((bare, bare), "baseline and the candidate"),
    ):
        first, second = sides
        found = environment_differences((first, results), (second, results))
        assert found == [unknown.format(named)]


def test_the_title_names_runs_and_commits(tmp_path: Path) -> None:
    """Run ids say little; commits say what was compared; one run twice is told as such."""
    base, cand = made(tmp_path / "a", observed()), made(tmp_path / "b", observed())
    assert compared(base, cand).title == "b against a"
    assert compared(base, base).title == "a against itself"
    write_manifest(base, {"run": "a", "git": {"commit": "abcdef0123456789"}})
    assert compared(base, cand).title == "b against a (abcdef0123)"


def test_a_comparison_is_json(tmp_path: Path, mixed: RunComparison) -> None:
    """Everything about a comparison survives as JSON, with the verdict of each arm."""
    data = json.loads(to_json(mixed.to_dict()))
    assert [arm["verdict"] for arm in data["arms"]] == [REGRESSED, REMOVED]
    assert data["arms"][0]["comparisons"][0]["verdict"] == INCONCLUSIVE


def test_a_comparison_shows_itself_in_a_line_and_in_a_table(mixed: RunComparison) -> None:
    """The worst first; arms on one side only are in a table of their own."""
    assert repr(mixed).startswith(f"<comparison of {mixed.title}: ")
    assert f"{mixed.count(REGRESSED)} {REGRESSED}" in repr(mixed)
    found = Tags(mixed._repr_html_())
    assert found.names <= ELEMENTS
    assert mixed.title in found.text
    for arm in mixed.arms:
        assert arm.name in found.text
