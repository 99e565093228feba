"""A small part of the simulations, with fixed seeds, so that a broken method is noticed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulations import (
    agreement,
    alike,
    changes,
    everything,
    families,
    gates,
    intervals,
    plans,
)
from benchmarks.simulations.changes import PLAIN, TYPICAL
from benchmarks.simulations.populations import (
    BOUNDED,
    FEW,
    SIZES,
    UNEQUAL,
    Population,
    beta,
    lognormal,
    mostly_ones,
    only_at,
    sample,
    share,
    two_values,
)
from benchmarks.simulations.sessions import Cases, Design
from benchmarks.simulations.tables import PLANS, UNSEEN, Row, Table, as_markdown, counted
from pytest_crucible.stats.bounds import bounds_of
from pytest_crucible.stats.comparison import REGRESSED
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.metric_changes import change_of
from pytest_crucible.stats.row_drafts import draft_rows
from pytest_crucible.stats.samples import MEAN
from pytest_crucible.stats.subject import Subject

AT_MOST = Table(UNSEEN, "at most 5 %", most=0.05)


def kept(*rows: Row) -> None:
    """Every row gave answers and keeps its promise."""
    for row in rows:
        assert row.answers, row
        assert row.kept, (row, row.share)


def simulated(what: str) -> list[Row]:
    """A tenth of the runs of one task."""
    (task,) = (task for task in everything.all_tasks() if task.what == what)
    return task.rows(0.1)


# --- promises ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [6, 30])
@pytest.mark.parametrize(
    "population", [share(0.9), two_values(0.9, 0.9), mostly_ones(0.9), beta(0.3, 0.3)], ids=str
)
def test_claims_at_the_truth(population: Population, n: int) -> None:
    """Neither CONFIRMED nor REJECTED in more than 5 % of 400 runs, and what chance adds."""
    kept(*gates.gate(population, n, None, "", np.random.default_rng(n), 400))


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_claims_at_the_truth_of_clusters(sizes: list[int]) -> None:
    """However unequal they are; and to take them for independent would be noticed."""
    kept(*gates.gate(share(0.5), 0, sizes, "", np.random.default_rng(1), 300))
    rng = np.random.default_rng(2)
    naive = [
        gates.wrong_at_truth(replace(sample(share(0.5), rng, 0, sizes), belongs=None), 0.5)
        for _ in range(300)
    ]
    assert sum(lower is True or upper is True for lower, upper in naive) > 0.15 * 300


def test_claims_on_means_without_a_largest_value() -> None:
    """The lower bound holds, and the upper one is refused."""
    rows = list(gates.gate(lognormal(1.2), 30, None, "", np.random.default_rng(1), 300))
    kept(rows[0])
    assert rows[1].table == gates.ASSUMED
    assert not rows[1].answers


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_unchanged_code_is_green(paired: bool, margin: float) -> None:
    """Success, latency and cost of 30 cases together."""
    design = Design(30, paired=paired)
    once = families.fixed(design)
    rng = np.random.default_rng(5)
    red = [families.compared(1, 2, once, rng, margin) for _ in range(80)]
    kept(Row(families.RED, "", sum(red), len(red), len(red)))


def test_rows_and_claims_agree() -> None:
    """Interval, p and claims about the same arms."""
    rng = np.random.default_rng(4)
    assert not any(agreement.contradicted(20, rng) for _ in range(25))


def test_many_experiments_are_green_together() -> None:
    """Twenty of any kind: without the family most of these sessions would be red at margin 0."""
    rng = np.random.default_rng(6)
    designs = families.fixed(Design(12, 0.9, 0.5))
    red = [families.compared(20, 2, designs, rng, 0.0) for _ in range(10)]
    kept(Row(families.RED, "", sum(red), 10, 10))
    alone = [families.compared(1, 2, designs, rng, 0.0) for _ in range(200)]
    assert sum(alone) >= 2  # so that 20 of them would be red in more than one in six


@pytest.mark.parametrize("arms", [1, 2])
def test_claims_of_a_session_are_green_together(arms: int) -> None:
    """Ten claims at the truth, with an arm that does not differ."""
    rng = np.random.default_rng(7)
    designs = families.fixed(Design(20, 0.8, 0.5))
    red = [families.claimed(10, designs, rng, arms) for _ in range(15)]
    kept(Row(families.RED, "", sum(red), len(red), len(red)))


def test_tenfold_latency_of_six_pairs() -> None:
    """It is found among a hundred decisions."""
    rng = np.random.default_rng(8)
    assert sum(families.tenfold(99, 0.3, rng) for _ in range(2)) == 2


@pytest.mark.parametrize(
    "what",
    [
        "mean: success rate 0.9, 20 unequal clusters of 90",
        "mean: scores, 90% ones, n = 30",
        "p50: lognormal σ 0.5, 12 clusters × 5",
        "p95: lognormal σ 0.5, n = 300",
        "F1 0.74, class of 10%, n = 50",
        "word error rate 0.02, range declared, n = 50",
    ],
)
def test_intervals(what: str) -> None:
    """They hold the truth."""
    kept(*simulated(what))


@pytest.mark.parametrize(
    "what",
    [
        "success rate 0.9 → 0.80, paired, n = 30",
        "success rate 0.9 → 0.80, unpaired, n = 100",
        "success rate 0.5 → 0.50, paired, 20 unequal clusters",
        "scores, beta 0.3, 0.3 → 0.50, paired, 4 clusters × 10",
        "typical latency × 1.2, lognormal σ 1.2, paired, n = 10",
        "typical latency × 1.2, 30 cases × 5, unpaired",
        "cost × 1.2, lognormal σ 1.2, unpaired, n = 30",
        "mean 70 % zeros, exponential tail, unchanged, paired, n = 100",
        "p95 × 1.2, unpaired, 100 cases × 1",
        "F1 0.90 -0.06, paired, n = 50",
    ],
)
def test_intervals_of_changes(what: str) -> None:
    """They hold the true change."""
    kept(*simulated(f"{changes.COVERED.title}: {what}"))


@pytest.mark.parametrize("kind", alike.KINDS)
@pytest.mark.parametrize("n", [6, 100])
def test_a_candidate_that_breaks_some_cases(kind: str, n: int) -> None:
    """Is not EQUIVALENT, although most cases look alike."""
    rng = np.random.default_rng(9)
    found = [alike.equivalent(kind, n, True, rng) for _ in range(60)]
    kept(Row(alike.BROKEN, "", sum(found), len(found), len(found)))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("typical", [True, False])
def test_few_bimodal_values(paired: bool, typical: bool) -> None:
    """Student's t alone is wrong ten times as often as its level says."""
    level = alike.LEVELS[1]
    rng = np.random.default_rng(10)
    found = [alike.worse("bimodal", 6, paired, typical, level, rng) for _ in range(2_000)]
    kept(Row(alike.FEW[level], "", sum(found), len(found), len(found)))


@pytest.mark.parametrize(
    "what",
    [
        "latency × 1.2, paired, σ 0.3, 1 decision",
        "cost × 1.3, lognormal σ 1, 1 decision",
        "rates 0.95 → 0.8, unpaired, 10 decisions",
        "rates, 17% of pairs worse, 2% better, 1 decision",
        "claim: rate > 0.9, true 0.8",
        "needed for × 1.2, after a pilot of 30 pairs",
    ],
)
def test_plans(what: str) -> None:
    """They find what they were made for, in about 80 %."""
    kept(*simulated(f"plan: {what}"))


# --- the simulations themselves ---------------------------------------------------------------


@pytest.mark.parametrize("sizes", [None, UNEQUAL, FEW])
def test_the_short_way_to_a_bound_says_the_same(sizes: list[int] | None) -> None:
    """Whether a bound clears a value does not depend on how it is worked out."""
    rng = np.random.default_rng(11)
    for population in BOUNDED[::2]:
        for _ in range(15):
            drawn = sample(population, rng, 12, sizes)
            low, high = population.mean - 0.05, population.mean + 0.05
            with only_at(low, high):
                quick = bounds_of(drawn, 0.05, 0.05)
            full = bounds_of(drawn, 0.05, 0.05)
            assert (quick.low > low, quick.high < high) == (full.low > low, full.high < high)


@pytest.mark.parametrize("paired", [True, False])
def test_the_short_way_to_a_verdict_says_the_same(paired: bool) -> None:
    """Sessions are red for the same reason."""
    rng = np.random.default_rng(12)
    found = 0
    for number in range(30):
        rate = 0.9 - 0.03 * number
        design = Design(25, 0.95, paired=paired)
        cases = Cases.of(design, rng)
        base, cand = cases.arm("a", rng), cases.arm("b", rng, 1.0, max(0.05, rate))
        if not paired:
            cand = cases.arm("b", rng, 1.0, max(0.05, rate), prefix="other")
        rows = draft_rows(Subject(base, {}), Subject(cand, {}))
        deciding = [draft for draft in rows if draft.row.primary]
        full = judge_rows(deciding, RowLevels.of(rows))
        slow = [row.metric for row in full if row.verdict == REGRESSED]
        assert families.regressed(rows) == slow
        found += "success_rate" in slow
    assert 5 < found < 30


@pytest.mark.parametrize("population", [*BOUNDED, lognormal(0.8)], ids=str)
def test_populations_have_the_mean_that_they_say(population: Population) -> None:
    """Also in clusters."""
    rng = np.random.default_rng(13)
    values = population.draw(rng, 100_000)
    assert values.mean() == pytest.approx(population.mean, abs=5 * values.std() / math.sqrt(1e5))
    clustered = sample(population, rng, 0, [5] * 10_000).values
    spread = 5 * values.std() * math.sqrt(3 / 5e4)
    assert clustered.mean() == pytest.approx(population.mean, abs=spread)


def test_sides_change_as_they_say() -> None:
    """The true change of a mix, and the typical ratio of latencies."""
    rng = np.random.default_rng(14)
    old, new = share(0.9), share(0.8)
    before, after = changes.mixed(old, new, 100_000, None, 0.5, True, rng)
    truth = changes.mixed_truth(old, new, 0.5)
    assert after.mean() - before.mean() == pytest.approx(truth, abs=0.01)
    before, after = changes.timed(1.2, 0.5, 20_000, 1, True, rng)
    assert np.median(after.values / before.values) == pytest.approx(1.2, abs=0.02)
    assert change_of(before, after, 0.05, TYPICAL).scale == "ratio"
    assert change_of(before, after, 0.05, PLAIN).estimate == pytest.approx(1.2, abs=0.05)


def test_a_broken_promise_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the table, at the end, in the file, and by the exit status."""
    rows = [
        Row(AT_MOST, "kept", 5, 100, 100),
        Row(AT_MOST, "broken", 15, 90, 100),
        Row(AT_MOST, "silent", 0, 0, 100),
        Row(Table(PLANS, "only told"), "told", 5, 10, 10),
        Row(Table(PLANS, "between", most=0.8, least=0.7), "between", 75, 100, 100),
    ]
    monkeypatch.setattr(everything, "simulate", lambda tasks, share: rows)
    path = tmp_path / "simulations.md"
    assert everything.main(markdown=path) == 1
    assert "BROKEN: at most 5 %: broken: 16.7%, at most 5.0%" in capsys.readouterr().out
    text = path.read_text(encoding="utf-8")
    assert as_markdown(rows) in text
    assert "| broken | 16.7% | 90 | 10 | **no** |" in text
    assert "| silent | – | 0 | 100 | no answer |" in text
    assert text.index("## Unseen") < text.index("### At most 5 %") < text.index("## Plans")
    assert "| told | 50.0% | 10 |  |  |" in text
    assert "Promised: 70% to 80%." in text
    monkeypatch.setattr(everything, "simulate", lambda tasks, share: rows[:1])
    assert everything.main() == 0


def test_tasks_run_in_processes() -> None:
    """They are found by their number, so each name is there once; the same seed says the same."""
    tasks = everything.all_tasks()
    assert len({task.what for task in tasks}) == len(tasks)
    wanted = [task for task in tasks if "noisy scores, paired, n = 6" in task.what]
    assert len(wanted) == 1
    assert everything.simulate(wanted, 0.02) == wanted[0].rows(0.02)


def test_a_reason_is_no_answer() -> None:
    """A run without an answer is counted, but in no share."""

    def answer(rng: np.random.Generator) -> bool | None:
        return None if rng.random() < 0.5 else True

    (row,) = counted(AT_MOST, "half", 100, answer).rows()
    assert row.hits == row.answers < row.runs == 100


def test_effects_and_few_clusters_are_among_the_tasks() -> None:
    """Every part has tasks, and intervals of one kind of sample say when they assume something."""
    names = [task.what for task in everything.all_tasks()]
    for part in everything.PARTS:
        assert any(task.what in names for task in part.tasks())
    rng = np.random.default_rng(15)
    normal = Population("", lambda rng, n: rng.standard_normal(n), 0.0, (None, None), MEAN)
    assert intervals.covered(sample(normal, rng, 30), 0.0)[1]
    assert plans.LEAST < 0.8 < plans.MOST
