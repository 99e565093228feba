"""Drift in runs: what each latency is held against, and what is said of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import Run
from pytest_crucible.analysis.run_comparison import RunComparison
from pytest_crucible.events.event import Event
from pytest_crucible.experiments.verdicts import compare
from pytest_crucible.report.compare_text import render_comparison
from pytest_crucible.report.markdown import compare_markdown, results_markdown
from pytest_crucible.report.terminal import render
from pytest_crucible.runs.experiment_definition import Definition
from tests.analysis.support import run_of
from tests.made_events import MS, event, trial, trial_scope
from tests.report.support import compare_runs

SECOND_US = 1_000_000
N = 60
Speed = Callable[[float], float]
"""How much slower the machine is, by the share of the run that is over."""


def steady(at: float) -> float:
    return 1.0


def slowing(at: float) -> float:
    return 1 + at


def harder(case: int) -> float:
    """Cases in order of difficulty."""
    return 1 + 3 * case / N


def alike(case: int) -> float:
    return 1.0


def events_of(
    order: Iterable[tuple[str, int, int]],
    speed: Speed = steady,
    work: Callable[[int], float] = alike,
    seed: int = 1,
) -> list[Event]:
    """A run of trials (condition, case, trial), one a second, in this order."""
    rng = np.random.default_rng(seed)
    rows = list(order)
    found: list[Event] = []
    for place, (condition, case, number) in enumerate(rows):
        scope = trial_scope(f"case-{case}", number, condition=condition)
        ms = 100 * work(case) * speed(place / len(rows)) * rng.lognormal(0, 0.1)
        stop = event(measurements={"duration": ms * MS}, at_us=place * SECOND_US, scope=scope)
        start, end = trial("passed", scope)
        found += [start, stop, end]
    return found


def once(condition: str = "default") -> list[tuple[str, int, int]]:
    return [(condition, case, 1) for case in range(N)]


def in_passes() -> list[tuple[str, int, int]]:
    return [("default", case, number) for number in (1, 2, 3) for case in range(N)]


def in_rows() -> list[tuple[str, int, int]]:
    return [("default", case, number) for case in range(N) for number in (1, 2, 3)]


def by_turns() -> list[tuple[str, int, int]]:
    return [(condition, case, 1) for case in range(N) for condition in ("control", "treatment")]


def one_by_one() -> list[tuple[str, int, int]]:
    return [*once("control"), *once("treatment")]


def run(folder: Path, events: Iterable[Event]) -> Run:
    return run_of(folder, events, Definition(name="exp"))


def drifts(folder: Path, events: Iterable[Event]) -> tuple[str, ...]:
    return analyse(run(folder, events)).drifts


RAW = (
    "from the first to the last third of the run: the machine or the service changed its speed, or "
    "later cases take another time; `crucible ab` interleaves"
)


def test_a_steady_run_says_nothing(tmp_path: Path) -> None:
    """In no order of cases, trials and arms."""
    for number, order in enumerate((once(), in_passes(), in_rows(), by_turns(), one_by_one())):
        assert drifts(tmp_path / str(number), events_of(order)) == ()


@pytest.mark.parametrize("order", [once, in_rows])
def test_without_repeats_cases_may_be_the_cause(
    order: Callable[[], list[tuple[str, int, int]]], tmp_path: Path
) -> None:
    """A run that slows down, and one whose cases get harder, look alike: both causes are named."""
    for name, events in (
        ("slower", events_of(order(), slowing)),
        ("harder", events_of(order(), work=harder)),
    ):
        (text,) = drifts(tmp_path / name, events)
        assert text.startswith("exp: latency drifted +")
        assert text.endswith(f" % {RAW}")


def test_where_cases_repeat_they_are_no_cause(tmp_path: Path) -> None:
    """All cases in three passes: harder ones are no drift, a slower machine is, and by how much."""
    assert drifts(tmp_path / "a", events_of(in_passes(), work=harder)) == ()
    (text,) = drifts(tmp_path / "b", events_of(in_passes(), slowing, harder))
    assert text.startswith("exp: latency case for case drifted +5")
    assert "later cases" not in text


def test_arms_that_take_turns_are_held_against_each_other(tmp_path: Path) -> None:
    """What hits both alike, a slow machine or hard cases, does no harm; a drift of one does."""
    assert drifts(tmp_path / "a", events_of(by_turns(), slowing, harder)) == ()
    control, treatment = events_of(by_turns(), seed=1), events_of(by_turns(), slowing, seed=2)
    mixed = [
        late if late.scope and late.scope.condition == "treatment" else plain
        for plain, late in zip(control, treatment, strict=True)
    ]
    (text,) = drifts(tmp_path / "b", mixed)
    assert text.startswith("exp (treatment): latency against control drifted +")


def test_arms_one_after_the_other_are_not(tmp_path: Path) -> None:
    """Each has its own stretch of the run, in which it drifts by itself."""
    texts = drifts(tmp_path, events_of(one_by_one(), slowing))
    assert [text.partition(":")[0] for text in texts] == ["exp (control)", "exp (treatment)"]


def compared(tmp_path: Path, before: list[Event], after: list[Event]) -> RunComparison:
    base, cand = run(tmp_path / "a", before), run(tmp_path / "b", after)
    return compare_runs((base, analyse(base)), (cand, analyse(cand)))


def test_two_runs_are_held_against_each_other(tmp_path: Path) -> None:
    """Hard cases are hard in both; a candidate that slows down is told, whatever the order."""
    plain = events_of(once(), work=harder)
    assert compared(tmp_path / "a", plain, events_of(once(), work=harder, seed=2)).drifts == ()
    mixed = once()
    random.Random(1).shuffle(mixed)
    for name, order in (("b", once()), ("c", mixed)):
        late = events_of(order, slowing, harder, seed=2)
        (text,) = compared(tmp_path / name, plain, late).drifts
        assert text.startswith("exp: latency against the baseline drifted +")
        (text,) = compared(tmp_path / f"{name}-back", late, plain).drifts
        assert text.startswith("exp: latency against the baseline drifted -")


def test_a_side_that_repeats_its_cases_is_held_against_itself(tmp_path: Path) -> None:
    """Its means per case hide a drift from pass to pass."""
    (text,) = compared(tmp_path, events_of(in_passes()), events_of(in_passes(), slowing)).drifts
    assert text.startswith("exp, candidate: latency case for case drifted +")


def test_runs_without_common_cases_stand_alone(tmp_path: Path) -> None:
    """Nothing to hold them against: each side by itself, with both causes."""
    others = [("default", case + N, 1) for case in range(N)]
    (text,) = compared(tmp_path, events_of(once()), events_of(others, slowing)).drifts
    assert text.startswith("exp, candidate: latency drifted +")
    assert text.endswith(RAW)


def test_a_speed_that_wanders_is_told(tmp_path: Path) -> None:
    """No trend, but neighbours are alike: the intervals are too narrow."""
    rng = np.random.default_rng(0)
    speeds = np.zeros(N)
    for place in range(1, N):
        speeds[place] = 0.85 * speeds[place - 1] + rng.normal(0, 0.4)
    speeds -= np.linspace(-1, 1, N) * np.polyfit(np.linspace(-1, 1, N), speeds, 1)[0]

    def wandering(at: float) -> float:
        return float(np.exp(speeds[round(at * N)]))

    (text,) = compared(tmp_path, events_of(once()), events_of(once(), wandering, seed=3)).drifts
    assert "trials that ran one after the other are alike (correlation 0." in text
    assert "the intervals are too narrow" in text


def test_every_report_says_it(tmp_path: Path) -> None:
    """Summary, comparison, Markdown, JSON and the library's comparison."""
    base, cand = (
        run(tmp_path / "a", events_of(once())),
        run(tmp_path / "b", events_of(once(), slowing)),
    )
    results = analyse(cand)
    (text,) = results.drifts
    assert f"drift: {text}" in [line.text for line in render(results)]
    assert "drift: exp: latency drifted" in results_markdown(results)
    assert results.to_dict()["drifts"] == [text]
    for found in (
        compare_runs((base, analyse(base)), (cand, results)),
        compare(base, cand).runs[0],
        compare(base.arm("exp"), cand.arm("exp")).runs[0],
    ):
        (between,) = found.drifts
        assert f"  drift: {between}" in [line.text for line in render_comparison(found)]
        assert "drift: exp: latency against the baseline" in compare_markdown(found)
        assert found.to_dict()["drifts"] == [between]
