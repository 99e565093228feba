"""The public tests: what they take for a sample, and what they do with arms."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytest_crucible as crucible
from pytest_crucible import DefinitionError, Experiment, tests
from pytest_crucible.runs.experiment_definition import Definition
from tests.analysis.support import arm, run_of
from tests.stats.support import SLEEP_1, SLEEP_2


@pytest.fixture(autouse=True)
def _own_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    for handle in crucible.list_experiments():
        if handle.status != "stopped":
            crucible.stop(handle)
        crucible.cleanup(handle)


def recorded(values: Any, *, trials: int = 1, cluster: int | None = None) -> Experiment:
    """An experiment with a case per value, which records it as ``score``."""
    with crucible.experiment("exp") as handle:
        for number, value in enumerate(values):
            name = None if cluster is None else f"group {number // cluster}"
            for _ in range(trials):
                with handle.case(f"case {number}", cluster=name):
                    handle.record(score=float(value))
    return handle


def outcomes(letters: str) -> Experiment:
    with crucible.experiment("exp") as handle:
        for number, letter in enumerate(letters):
            try:
                with handle.case(f"case {number}"):
                    assert letter == "p"
            except AssertionError:
                pass
    return handle


NUMBERS = (
    lambda a, b, **more: tests.t_test(a, b, paired=True, **more),
    tests.t_test,
    tests.wilcoxon_signed_rank,
    tests.mann_whitney,
)


@pytest.mark.parametrize("test", NUMBERS)
def test_arms_are_tested_as_arrays_of_their_cases(test: Any) -> None:
    """Handles, their ids, and arms of runs give what the values of their cases give."""
    a, b = recorded(SLEEP_1), recorded(SLEEP_2)
    expected = test(list(SLEEP_1), SLEEP_2)
    assert test(a, b, metric="score") == expected
    assert test(a.id, b, metric="score.mean") == expected


def test_repeated_trials_are_one_value() -> None:
    """Three trials of a case are no three cases."""
    a, b = recorded(SLEEP_1, trials=3), recorded(SLEEP_2, trials=3)
    found: Any = tests.t_test(a, b, metric="score")
    expected = tests.t_test(SLEEP_1, SLEEP_2)
    assert (found.p, found.df, found.n) == (pytest.approx(expected.p), expected.df, (10, 10))


def test_pairs_are_the_cases_that_both_have() -> None:
    """By their ids; the others are left out."""
    a, b = recorded(SLEEP_1), recorded(SLEEP_2[:8])
    found = tests.t_test(a, b, metric="score", paired=True)
    assert found == tests.t_test(SLEEP_1[:8], SLEEP_2[:8], paired=True)
    assert tests.t_test(a, b, metric="score").n == (10, 8)


def test_arms_of_a_run(tmp_path: Path) -> None:
    """Success rates are tested by default, as pairs and as independent samples."""
    events = arm("old", "ppppffffpp") + arm("new", "ppppppppfp")
    run = run_of(tmp_path, events, Definition(name="exp"))
    old, new = run.arm("exp", "old"), run.arm("exp", "new")
    assert tests.mcnemar(new, old) == tests.mcnemar([[5, 4], [1, 0]])
    assert tests.fisher_exact(new, old) == tests.fisher_exact([[9, 1], [6, 4]])
    assert tests.chi_square(new, old) == tests.chi_square([[9, 1], [6, 4]])


def test_outcomes_may_be_samples_or_a_table() -> None:
    """1 and 0, booleans and words; the larger outcome stands first."""
    one, two = [1, 1, 1, 0], [1, 0, 0, 0]
    table = [[3, 1], [1, 3]]
    assert tests.fisher_exact(one, two) == tests.fisher_exact(table)
    assert tests.fisher_exact([True, True, True, False], two) == tests.fisher_exact(table)
    assert tests.mcnemar(one, two) == tests.mcnemar([[1, 2], [0, 1]])
    words = ["yes"] * 3 + ["no"], ["yes"] + ["no"] * 3
    assert tests.chi_square(*words) == tests.chi_square(table)
    assert tests.chi_square(one, two, two).n == (4, 4, 4)
    assert tests.fisher_exact([1, 1], [1, 1]).p == 1.0
    assert tests.chi_square(table, correction=True).p > tests.chi_square(table).p


def test_options_reach_the_tests() -> None:
    """Alternative, confidence and mid-p."""
    for alternative, confidence in itertools.product(("greater", "less"), (0.8, 0.99)):
        options: dict[str, Any] = {"alternative": alternative, "confidence": confidence}
        for test in (tests.t_test, tests.wilcoxon_signed_rank, tests.mann_whitney):
            found = test(SLEEP_1, SLEEP_2, **options)
            assert found.alternative == alternative
            finite = found.low if alternative == "greater" else found.high
            wider = test(SLEEP_1, SLEEP_2, alternative=alternative, confidence=0.999)
            assert finite != (wider.low if alternative == "greater" else wider.high)
        for counted in (tests.fisher_exact, tests.mcnemar):
            assert counted([[3, 1], [1, 3]], **options).alternative == alternative
    assert tests.mcnemar([[1, 1], [7, 12]], mid_p=True).p < tests.mcnemar([[1, 1], [7, 12]]).p


def test_corrections_are_public() -> None:
    """Several p are corrected by name."""
    p_values = {"a": 0.01, "b": 0.04}
    assert tests.holm(p_values) == {"a": 0.02, "b": 0.04}
    assert tests.benjamini_hochberg(p_values) == {"a": 0.02, "b": 0.04}


SCORES = [1.0, 2.0, 4.0]


def test_what_cannot_be_tested_is_a_line() -> None:
    """Which test, what it got, and what would be valid."""
    handle = recorded(SCORES)
    repeated = recorded([1, 0], trials=2)
    failing = outcomes("pf")
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: tests.t_test(handle, handle), "which metric of the arms"),
        (lambda: tests.t_test(handle, handle, metric="scroe"), "metric='scroe' is not recorded"),
        (lambda: tests.t_test(handle, handle, metric="latency"), "is one of success_rate, .*score"),
        (lambda: tests.t_test(handle, handle, metric="score.p95"), "has no value per case"),
        (lambda: tests.t_test(handle, SCORES), "two arms and a metric, or two sequences"),
        (lambda: tests.t_test(SCORES, SCORES, metric="score"), "or two sequences of numbers"),
        (lambda: tests.t_test([1, float("nan")], SCORES), "t_test: value 1 is nan"),
        (lambda: tests.mann_whitney([["a"]], SCORES), "takes sequences of numbers, or arms"),
        (lambda: tests.mann_whitney(["a"], SCORES), "takes sequences of numbers, or arms"),
        (lambda: tests.fisher_exact(handle, [1, 0]), "takes arms, or sequences of outcomes, not"),
        (lambda: tests.fisher_exact([], [1, 0]), "a sample is empty"),
        (lambda: tests.fisher_exact(), "takes samples, or a table"),
        (lambda: tests.chi_square([[0.5, 1], [1, 2]]), "or a table of counts, not"),
        (lambda: tests.chi_square([["a"]]), "or a table of counts, not"),
        (lambda: tests.mcnemar([1, 0], [1]), "needs pairs, not 2 and 1 outcomes"),
        (lambda: tests.mcnemar(handle, handle, metric="score"), "not only 0 or 1"),
        (lambda: tests.mcnemar([[1, 0]], [1, 0]), "no sequence of outcomes"),
    ]
    for call, problem in calls:
        with pytest.raises(DefinitionError, match=problem):
            call()
    assert tests.mcnemar(repeated, repeated, metric="score").p == 1.0
    assert tests.fisher_exact(failing, failing).n == (2, 2)


def test_arms_without_common_cases_are_no_pairs() -> None:
    """Nothing belongs together."""
    with crucible.experiment("exp") as other, other.case("elsewhere"):
        other.record(score=1)
    with pytest.raises(DefinitionError, match="the arms have no case in common"):
        tests.wilcoxon_signed_rank(recorded(SCORES), other, metric="score")


def test_cases_in_clusters_are_refused() -> None:
    """These tests take cases for independent; `compare` does not."""
    handle = recorded(np.arange(6), cluster=2)
    with pytest.raises(DefinitionError, match=r"are in clusters; compare\(\) accounts for them"):
        tests.t_test(handle, handle, metric="score")


def test_a_run_with_several_arms_is_no_arm(tmp_path: Path) -> None:
    """Nor is one with one: `Run.arm` gives it."""
    run = run_of(tmp_path, arm("old", "pp") + arm("new", "pp"), Definition(name="exp"))
    with pytest.raises(DefinitionError, match=r"t_test takes two arms and a metric"):
        tests.t_test(run, run, metric="score")  # type: ignore[arg-type]
