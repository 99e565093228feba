"""Budgets: no further trials once the money is spent."""

from __future__ import annotations

import pytest

from tests.session import support
from tests.session.priced import SPANS, manifest


@pytest.mark.parametrize("where", ["marker", "option", "ini"])
def test_a_budget_stops_further_trials(priced: pytest.Pytester, where: str) -> None:
    """Once it is spent, trials are skipped before their fixtures; what ran is complete."""
    budget = "budget_usd=2.5" if where == "marker" else ""
    if where == "ini":
        priced.makeini("[pytest]\ncrucible_prices = prices.toml\ncrucible_budget = 2.5")
    priced.makepyfile(
        SPANS
        + f"""
@pytest.fixture
def costly():
    ask()

@pytest.mark.experiment("e", trials=6, {budget})
def test_it(costly):
    pass
"""
    )
    result = support.run(priced, "-rs", *(["--crucible-budget=2.5"] if where == "option" else []))
    result.assert_outcomes(passed=3, skipped=3)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["SKIPPED*budget of $2.5* is spent ($3)"])
    result.stdout.fnmatch_lines(["stopped: budget of $2.5* is spent; further trials were skipped"])
    (budget,) = manifest(priced)["completeness"]["budgets"]
    assert budget.startswith("budget of $2.5")
    assert manifest(priced)["completeness"]["complete"]


def test_workers_share_a_budget(priced: pytest.Pytester) -> None:
    """Each worker sees what the others have spent; at most one trial each goes beyond."""
    priced.makepyfile(
        SPANS
        + """
import time

@pytest.mark.experiment("e", trials=20)
def test_it():
    ask()
    time.sleep(0.02)
"""
    )
    result = support.run(priced, "-n2", "--crucible-budget=4")
    passed = result.parseoutcomes()["passed"]
    assert 4 <= passed <= 5
    assert result.parseoutcomes()["skipped"] == 20 - passed


@pytest.mark.parametrize("budget", ["0", "-1", "float('nan')", "float('inf')", "'$2'", "True"])
def test_a_wrong_budget_in_the_marker(pytester: pytest.Pytester, budget: str) -> None:
    """So is one in the marker."""
    pytester.makepyfile(f"""
import pytest
@pytest.mark.experiment("e", budget_usd={budget})
def test_it(): pass
""")
    assert "budget_usd must be a number" in support.refused(support.run(pytester))


def test_a_budget_on_a_full_disk(
    priced: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """What was spent cannot be told to the others; the trials run, and the budget holds."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_crucible.session.budget._publish", full)
    priced.makepyfile(
        SPANS
        + """
@pytest.mark.experiment("e", trials=4, budget_usd=2)
def test_it():
    ask()
"""
    )
    support.run(priced).assert_outcomes(passed=2, skipped=2)
