"""Comparisons of runs as values: what fails a gate, and how they show themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_crucible.analysis.run_comparison import (
    FAIL_ON,
    ArmComparison,
    RunComparison,
    failing,
    fails,
)
from pytest_crucible.exports.rows import to_json
from pytest_crucible.stats.comparison import (
    ADDED,
    BETTER,
    CHANGED,
    DIFFERENT,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    LACKING,
    REGRESSED,
    REMOVED,
    TOO_FEW,
    UNSEEN,
    WORSE,
    Comparison,
)
from tests.report.support import compared, made, observed
from tests.test_html import ELEMENTS, Tags


@pytest.fixture
def mixed(tmp_path: Path) -> RunComparison:
    """Slower, maybe dearer, without a score, without a case and an experiment."""
    base = made(tmp_path / "a", [*observed(range(60), noise=1), *observed(experiment="gone")])
    changed = observed(range(1, 60), slower=2, dearer=1.03, score=None, noise=2)
    cand = made(tmp_path / "b", changed)
    return compared(base, cand)


@pytest.mark.parametrize(
    ("fail_on", "expected"),
    [
        ((), []),
        (("regression",), ["REGRESSED: latency of exp"]),
        (("any",), ["REGRESSED: latency of exp"]),
        (("inconclusive",), ["INCONCLUSIVE: cost of exp"]),
        (("missing",), ["REMOVED: gone", "REMOVED: 1 case of exp"]),
    ],
)
def test_a_gate_fails_on_what_it_was_told(
    fail_on: tuple[str, ...], expected: list[str], mixed: RunComparison
) -> None:
    """Each kind of failure is named, and only the kinds that were asked for."""
    assert mixed.failures(fail_on) == expected


ROW = Comparison(metric="cost", baseline=1.0, candidate=1.1, verdict=INCONCLUSIVE)


@pytest.mark.parametrize(
    ("known", "expected"),
    [(WORSE, True), (DIFFERENT, True), (LACKING, True), (BETTER, False), (UNSEEN, False),
     (TOO_FEW, False)],
)  # fmt: skip
def test_inconclusive_fails_only_if_something_speaks_against_the_candidate(
    known: str, expected: bool
) -> None:
    """Two recordings of one commit show no difference, and nobody can record more certainty."""
    row = replace(ROW, open=known)
    assert fails(row, ("inconclusive",)) == expected
    assert not fails(row, ("regression", "missing", "changed", "any"))


@pytest.mark.parametrize("verdict", [REGRESSED, REMOVED, CHANGED, INCONCLUSIVE])
def test_what_is_only_shown_fails_nothing(verdict: str) -> None:
    """Whatever the gate was told to fail on; ``any`` makes all rows decide before they are made."""
    row = replace(ROW, verdict=verdict, open=WORSE if verdict == INCONCLUSIVE else None)
    assert fails(row, FAIL_ON)
    assert not fails(replace(row, primary=False), FAIL_ON)


def test_any_fails_on_regressions() -> None:
    """Of any metric: it need not be given with ``regression``."""
    assert failing(("any",)) == failing(("any", "regression")) == (REGRESSED,)
    assert failing(()) == ()
    assert failing(("changed", "missing")) == (REMOVED, CHANGED)


def arm_of(*found: Comparison) -> ArmComparison:
    return ArmComparison(experiment="exp", condition="default", comparisons=found)


def test_the_verdict_of_an_arm_is_that_of_the_rows_that_decide() -> None:
    """The worst of them; what is only shown may be worse."""
    improved, equivalent = (replace(ROW, verdict=verdict) for verdict in (IMPROVED, EQUIVALENT))
    shown = replace(ROW, verdict=REGRESSED, primary=False)
    assert arm_of(equivalent, improved, shown).verdict == IMPROVED
    assert arm_of(equivalent, replace(ROW, verdict=ADDED)).verdict == EQUIVALENT
    assert arm_of(shown).verdict == INCONCLUSIVE


def test_without_a_row_that_decides_there_is_nothing_to_compare() -> None:
    """A comparison that can only be green must not be taken for one that is."""
    whole = RunComparison(baseline="a", candidate="b", title="b against a", arms=(arm_of(ROW),))
    assert whole.comparable
    shown = replace(whole, arms=(arm_of(replace(ROW, primary=False)),))
    assert not shown.comparable
    assert not replace(whole, arms=()).comparable
    assert (shown.count(INCONCLUSIVE), shown.count(INCONCLUSIVE, primary=False)) == (0, 1)


def test_values_that_are_missing_fail_where_it_was_asked_for() -> None:
    """Of a metric that decides: a score that broke off in some trials may hide a regression."""
    row = replace(ROW, open=LACKING, reason="missing in 3 of 9 trials of the candidate")
    whole = RunComparison(baseline="a", candidate="b", title="t", arms=(arm_of(row),))
    assert whole.failures(("missing",)) == [
        "MISSING: cost of exp, missing in 3 of 9 trials of the candidate"
    ]
    shown = replace(whole, arms=(arm_of(replace(row, primary=False)),))
    assert shown.failures(("missing",)) == []


def test_a_candidate_that_broke_off_is_missing_something(
    tmp_path: Path, mixed: RunComparison
) -> None:
    """A gate on missing data names why the candidate is incomplete; the baseline's loss is told."""
    torn = replace(mixed, incomplete=("baseline: gw0 broke off", "candidate: gw1 broke off"))
    assert torn.failures(("missing",))[-1] == "MISSING: candidate: gw1 broke off"
    assert len(torn.failures(FAIL_ON)) == len(mixed.failures(FAIL_ON)) + 1


def test_a_comparison_is_json(tmp_path: Path, mixed: RunComparison) -> None:
    """Everything about a comparison survives as JSON, with the verdict of each arm."""
    data = json.loads(to_json(mixed.to_dict()))
    assert [arm["verdict"] for arm in data["arms"]] == [REGRESSED, REMOVED]
    first, *others = data["arms"][0]["comparisons"]
    assert first["verdict"] == INCONCLUSIVE
    assert 0 <= first["p"] <= 1
    assert (first["primary"], first["level"], first["open"]) == (True, 0.95, UNSEEN)
    assert [row["primary"] for row in others].count(False) == 3


def test_a_comparison_shows_itself_in_a_line_and_in_a_table(mixed: RunComparison) -> None:
    """The worst first; arms on one side only are in a table of their own."""
    assert repr(mixed).startswith(f"<comparison of {mixed.title}: ")
    assert f"{mixed.count(REGRESSED)} {REGRESSED}" in repr(mixed)
    found = Tags(mixed._repr_html_())
    assert found.names <= ELEMENTS
    assert mixed.title in found.text
    for arm in mixed.arms:
        assert arm.name in found.text
    assert "regressed" not in found.text
    assert "removed" in found.text  # the score, which decides nothing


# --- all arms together --------------------------------------------------------------------------


def test_the_geometric_mean_of_the_ratios_of_several_arms() -> None:
    """Like benchstat's last line: over all arms that have a ratio, each counts the same."""

    def arm(condition: str, *rows: Comparison) -> ArmComparison:
        return ArmComparison(experiment="exp", condition=condition, comparisons=rows)

    def row(metric: str, change: float, scale: str = "ratio") -> Comparison:
        return Comparison(
            metric=metric, baseline=1.0, candidate=1.0, verdict="EQUIVALENT", change=change,
            scale=scale,
        )  # fmt: skip

    arms = (
        arm("a", row("latency", 2.0), row("cost", 1.1), row("success_rate", -0.1, "difference")),
        arm("b", row("latency", 0.5), row("success_rate", 0.1, "difference")),
        arm("c", row("latency", 8.0)),
    )
    compared = RunComparison(baseline="x", candidate="y", title="y against x", arms=arms)
    means = compared.geometric_means
    assert list(means) == ["latency"]
    assert means["latency"].ratio == pytest.approx(2.0)
    assert means["latency"].n == 3
    assert compared.to_dict()["geometric_means"]["latency"]["n"] == 3
    assert not replace(compared, arms=arms[:1]).geometric_means
