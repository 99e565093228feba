"""Drafts of comparisons: which arms, cases and metrics stand beside which, and who decides."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.environment import environment_differences
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run import open_run
from pytest_crucible.analysis.run_drafts import draft_runs, judge_drafts
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.runs.experiment_definition import Definition, define
from pytest_crucible.runs.manifest import write_manifest
from pytest_crucible.runs.run import RecordedRun
from pytest_crucible.stats.comparison import (
    ADDED,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    REGRESSED,
    REMOVED,
)
from pytest_crucible.stats.comparison_options import PRIMARY, Options
from pytest_crucible.stats.family import CLAIM, Decision
from tests.report.support import LINE, compare_runs, compared, made, observed, rows, verdicts


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
    base = made(tmp_path / "a", observed(range(200)))
    cand = made(tmp_path / "b", observed(range(200), failed=60, slower=1.5))
    there, back = compared(base, cand), compared(cand, base)
    assert verdicts(there) == {
        "success_rate": REGRESSED, "score.mean": EQUIVALENT, "latency": REGRESSED,
        "latency.p95": REGRESSED, "cost": EQUIVALENT, "tokens": EQUIVALENT,
    }  # fmt: skip
    assert verdicts(back)["latency"] == verdicts(back)["success_rate"] == IMPROVED
    assert (there.arms[0].verdict, there.count(REGRESSED), there.comparable) == (REGRESSED, 2, True)
    assert there.count(REGRESSED, primary=False) == 1
    assert back.arms[0].verdict == IMPROVED
    assert there.arms[0].matched == 200
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


def test_an_incomplete_record_is_told(tmp_path: Path) -> None:
    """Trials that never ran make the side that lacks them incomplete."""
    base, cand = made(tmp_path / "a", observed()), made(tmp_path / "b", observed())
    spool = cand / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-20])
    (reason,) = {each.partition(": ")[0] for each in compared(base, cand).incomplete}
    assert reason == "candidate"


def test_the_title_names_runs_and_commits(tmp_path: Path) -> None:
    """Run ids say little; commits say what was compared; one run twice is told as such."""
    base, cand = made(tmp_path / "a", observed()), made(tmp_path / "b", observed())
    assert compared(base, cand).title == "b against a"
    assert compared(base, base).title == "a against itself"
    write_manifest(base, {"run": "a", "git": {"commit": "abcdef0123456789"}})
    assert compared(base, cand).title == "b against a (abcdef0123)"


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


# --- who decides, and with whom ----------------------------------------------------------------


def deciding(folder: Path, *definition: Definition, **options: Any) -> set[str]:
    """The metrics that decide a comparison whose candidate has this marker."""
    base = made(folder / "a", observed(range(30)))
    cand = made(folder / "b", observed(range(30)), *definition)
    sides = [(run, analyse(run)) for run in (open_run(base), open_run(cand))]
    adjust = (lambda marker: replace(marker, **options)) if options else (lambda marker: marker)
    found = rows(compare_runs(sides[0], sides[1], adjust))
    assert {"score.mean", "latency.p95", "tokens"} <= set(found)
    return {metric for metric, row in found.items() if row.primary}


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, set(PRIMARY)),
        ({"primary": ["score"]}, {"success_rate", "score.mean"}),
        ({"primary": "tokens"}, {"success_rate", "tokens"}),
        ({"expect": ["latency.p95 < 900"]}, {"success_rate", "latency.p95"}),
        ({"expect": ["latency.p50 < 900", "score > 0.1"]}, {"success_rate", "latency",
                                                            "score.mean"}),
        ({"expect": ["latency.p50 < 900"], "primary": ["cost"]},
         {"success_rate", "cost", "latency"}),
    ],
)  # fmt: skip
def test_what_was_asked_decides(
    keywords: dict[str, Any], expected: set[str], tmp_path: Path
) -> None:
    """``primary=`` and what is claimed, else success rate, latency and cost."""
    assert deciding(tmp_path, define("exp", **keywords)) == expected


def test_all_decide_if_it_was_asked_for(tmp_path: Path) -> None:
    """``--fail-on any``."""
    every = deciding(tmp_path, define("exp", primary=["cost"]), every=True)
    assert every == {"success_rate", "score.mean", "latency", "latency.p95", "cost", "tokens"}


def test_rows_that_decide_stand_first(tmp_path: Path) -> None:
    """In the order of the catalogue, and the others after them."""
    base = made(tmp_path / "a", observed(range(30)))
    (arm,) = compared(base, base).arms
    flags = [row.primary for row in arm.comparisons]
    assert flags == sorted(flags, reverse=True)
    assert arm.comparisons[0].metric == "success_rate"


def test_a_suite_that_broke_is_found_whatever_else_is_measured(tmp_path: Path) -> None:
    """20 cases, 100 % to 70 %: nothing that nobody asked about hides that."""
    base = made(tmp_path / "a", observed(range(20), noise=1))
    cand = made(tmp_path / "b", observed(range(20), noise=2, failed=6))
    comparison = compared(base, cand)
    row = rows(comparison)["success_rate"]
    assert (row.verdict, row.level, row.decisions) == (REGRESSED, 0.95, 1)
    assert comparison.failures(["regression"]) == ["REGRESSED: success_rate of exp"]


def noisy(folder: Path, *seeds: int, **more: Any) -> list[tuple[RecordedRun, Results]]:
    """Recordings of the same code."""
    runs = [
        open_run(made(folder / f"r{seed}", observed(range(40), noise=seed, **more)))
        for seed in seeds
    ]
    return [(run, analyse(run)) for run in runs]


def test_what_one_command_compares_is_one_family(tmp_path: Path) -> None:
    """Of three candidates each has a third of the false alarms, and wider intervals."""
    base, *others = noisy(tmp_path, 0, 1, 2, 3)
    alone = compare_runs(base, others[0])
    together = judge_drafts([draft_runs(base, other) for other in others])
    one, of_three = rows(alone), [rows(each) for each in together]
    for metric in PRIMARY:
        spent = 1 - one[metric].level
        assert [1 - each[metric].level for each in of_three] == pytest.approx([spent / 3] * 3)
        assert {each[metric].decisions for each in of_three} == {3 * one[metric].decisions}
        wide, narrow = of_three[0][metric], one[metric]
        assert wide.low is not None
        assert wide.high is not None
        assert narrow.low is not None
        assert narrow.high is not None
        assert wide.low < narrow.low < narrow.high < wide.high


def test_interval_p_and_level_say_the_same(tmp_path: Path) -> None:
    """However many are compared: p is at most 0.05 exactly where the interval excludes no change.

    The rule of three may widen an interval, but never over "no change".
    """
    base, *others = noisy(tmp_path, *range(6))
    others += noisy(tmp_path / "x", 7, 8, slower=1.08)
    excluded = 0
    for each in judge_drafts([draft_runs(base, other) for other in others]):
        for row in rows(each).values():
            if row.low is None or row.high is None or row.p is None:
                continue
            same = 1.0 if row.scale == "ratio" else 0.0
            outside = not row.low <= same <= row.high
            assert outside == (row.p <= 0.05), row
            excluded += outside
    assert excluded


def test_what_else_decides_takes_its_part(tmp_path: Path) -> None:
    """Claims of the same session are a kind of their own: half is left for the rows."""
    base, cand = noisy(tmp_path, 0, 1)
    draft = draft_runs(base, cand)
    claim = Decision(CLAIM, 1e-9)
    (free,), (shared,) = judge_drafts([draft]), judge_drafts([draft], [claim] * 7)
    alone, beside = rows(free)["cost"], rows(shared)["cost"]
    assert alone.level == pytest.approx(1 - 0.05 / 2)  # latency and cost share 2.5 % a side
    assert 1 - beside.level < 1 - alone.level
    unreachable = judge_drafts([draft], [Decision(CLAIM, 1.0)] * 7)
    assert unreachable == [free]


def test_a_row_that_cannot_reach_its_level_takes_nothing(tmp_path: Path) -> None:
    """A small experiment beside a large one: its rows are open, and the other's stay as sharp."""
    large = list(observed(range(60), noise=1)), list(observed(range(60), noise=2))
    small = [list(observed(range(2), experiment="small", noise=n)) for n in (1, 2)]
    alone = compared(made(tmp_path / "a", large[0]), made(tmp_path / "b", large[1]))
    both = compared(
        made(tmp_path / "c", [*large[0], *small[0]]), made(tmp_path / "d", [*large[1], *small[1]])
    )
    found = {arm.experiment: {row.metric: row for row in arm.comparisons} for arm in both.arms}
    for metric in PRIMARY:
        assert found["exp"][metric] == rows(alone)[metric]
        assert found["small"][metric].verdict == INCONCLUSIVE


def test_slices_decide_nothing(tmp_path: Path) -> None:
    """Each is judged at its share, and no gate asks them."""
    base, cand = (
        open_run(made(tmp_path / name, observed(range(60), slower=slower, noise=7)))
        for name, slower in (("a", 1.0), ("b", 1.5))
    )
    sides = [(run, analyse(run)) for run in (base, cand)]
    draft = draft_runs(sides[0], sides[1], by=["half"])
    (whole,) = judge_drafts([draft])
    (arm,) = whole.arms
    row = rows(whole)["latency"]
    parts = [each for each in arm.slices["half"] if each.metric.endswith(": latency")]
    assert [each.verdict for each in parts] == [REGRESSED, REGRESSED]
    assert [1 - each.level for each in parts] == pytest.approx([(1 - row.level) / 2] * 2)
    assert not any(each.primary for each in arm.slices["half"])
    assert whole.failures(["regression"]) == ["REGRESSED: latency of exp"]


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
