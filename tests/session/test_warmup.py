"""Warm-up trials: first, of the first cases, paid for, and in no number."""

from __future__ import annotations

import pytest

from tests.session import support
from tests.session.priced import SPANS


@pytest.mark.parametrize("arguments", [(), ("-n2",)])
def test_warmups_run_first_and_do_not_count(
    priced: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    """Per arm; what they cost is told, and no metric, claim or plan knows them."""
    priced.makepyfile(
        SPANS
        + """
@pytest.mark.experiment("e", conditions=("a", "b"), warmup=2, expect=["success_rate >= 0"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it(n, experiment):
    ask()
    experiment.record(score=experiment.trial)
    assert experiment.trial > 0
"""
    )
    result = support.run(priced, *arguments)
    experiment = support.only(priced)
    assert [t.trial for t in experiment.trials] == [1] * 6
    assert {trial.outcome for trial in experiment.trials} == {"passed"}
    assert experiment.warmup[0] == 4
    spent = sum(s.application_usd or 0 for s in experiment.spending.values())
    assert experiment.warmup[1] == pytest.approx(spent * 4 / 6)
    result.stdout.fnmatch_lines(["*4 warm-up trials, $*, not counted"])
    assert {s.values[0] for g in experiment.groups.values() for s in g.recorded.values()} == {1}


def test_order_and_cases(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", warmup=3)
        @pytest.mark.parametrize("n", [1, 2])
        def test_a(n):
            pass
    """)
    lines = support.run(pytester, "--collect-only", "-q").outlines
    assert [line.partition("::")[2] for line in lines if "::" in line] == [
        "test_a[1-warmup1]", "test_a[1-warmup3]", "test_a[2-warmup2]",
        "test_a[1-trial1]", "test_a[2-trial1]",
    ]  # fmt: skip


def test_warmups_count_for_the_budget(priced: pytest.Pytester) -> None:
    priced.makepyfile(
        SPANS
        + """
@pytest.mark.experiment("e", warmup=2, trials=4, budget_usd=2.5)
def test_it():
    ask()
"""
    )
    support.run(priced).assert_outcomes(passed=3, skipped=3)


@pytest.mark.parametrize(
    ("keyword", "said"),
    [
        ("warmup=-1", "warmup must be a whole number of trials, 0 or more, not -1"),
        ("warmup=True", "warmup must be a whole number"),
        ("resources=1", "resources must be True or False, not 1"),
    ],
)
def test_mistakes(pytester: pytest.Pytester, keyword: str, said: str) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.experiment("e", {keyword})
        def test_a():
            pass
    """)
    assert said in support.refused(support.run(pytester))
