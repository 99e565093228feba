"""Budgets: no further trials once the money is spent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.capture.recorder import record_into
from pytest_crucible.events.pricing import Pricer
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.metrics.observations import observe
from pytest_crucible.record.node_reader import Node
from pytest_crucible.session.budget import Budget
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


# --- what is known of what was spent -----------------------------------------------------------


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[NodeRecording]:
    (tmp_path / "nodes").mkdir()
    made = NodeRecording(tmp_path, "run", "gw0")
    yield made
    made.close()


def spend(recording: NodeRecording, usd: float, experiment: str = "e", **more: Any) -> None:
    """A trial with a call at this price."""
    opened = recording.open(Scope(experiment=experiment, test="t", case="c", trial=1, attempt=1))
    record_into(opened, "req_llm.request.stop", {"duration": 1, "cost": usd}, more)
    recording.close_scope(opened)


def test_without_a_limit_nothing_is_refused(recording: NodeRecording) -> None:
    """Neither of the experiment nor of the session; then nothing is read either."""
    budget = Budget(recording, Pricer(), None)
    spend(recording, 100)
    assert budget.refusal("e", None) is None
    assert list(recording.folder.rglob("*.spent.json")) == []


def test_an_experiment_pays_for_itself_only(recording: NodeRecording) -> None:
    """Its own budget is held against its own calls; that of the session against all."""
    budget = Budget(recording, Pricer(), 5.0)
    spend(recording, 2, "other")
    spend(recording, 1.5)
    assert budget.refusal("e", 2.0) is None
    spend(recording, 0.5)
    assert budget.refusal("e", 2.0) == "budget of $2 of experiment 'e' is spent ($2)"
    assert budget.refusal("other", None) is None
    spend(recording, 1.25, "third")
    assert budget.refusal("third", None) == "budget of $5 is spent ($5.25)"


def test_parents_and_children_are_not_paid_twice(recording: NodeRecording) -> None:
    """What is spent is what the summary calls cost."""
    budget = Budget(recording, Pricer(), None)
    opened = recording.open(Scope(experiment="e", test="t", case="c", trial=1, attempt=1))
    parent, child = {"span_id": "1"}, {"span_id": "2", "parent_span_id": "1"}
    record_into(opened, "agent.start", {}, parent)
    record_into(opened, "call.start", {}, child)
    record_into(opened, "call.stop", {"duration": 1, "cost": 1.0}, child)
    record_into(opened, "agent.stop", {"duration": 1, "cost": 1.0}, parent)
    recording.close_scope(opened)
    assert budget.refusal("e", 1.5) is None
    assert budget.refusal("e", 1.0) is not None


def test_what_other_workers_spent_counts(recording: NodeRecording) -> None:
    """As they left it beside their spools; a file that is half written is read the next time."""
    budget = Budget(recording, Pricer(), 3.0)
    nodes = recording.folder / "nodes"
    nodes.joinpath("gw1.spent.json").write_text('{"e": 1.5, "other": 0.25}')
    nodes.joinpath("gw2.spent.json").write_text('{"e": 2')
    spend(recording, 1)
    assert budget.refusal("e", 3.0) is None
    nodes.joinpath("gw2.spent.json").write_text('{"e": 0.5}')
    assert budget.refusal("e", 3.0) == "budget of $3 of experiment 'e' is spent ($3)"
    assert budget.refusal("other", 1.0) == "budget of $3 is spent ($3.25)"
    assert json.loads(nodes.joinpath("gw0.spent.json").read_text()) == {"e": 1.0}


def test_a_spent_budget_is_in_the_record_once(recording: NodeRecording) -> None:
    """For the summary, however many trials it keeps from running."""
    budget = Budget(recording, Pricer(), None)
    spend(recording, 2)
    for _ in range(3):
        assert budget.refusal("e", 1.0) is not None
    found = observe(Node("gw0", recording.store.frames()))
    assert list(found.budgets) == ["budget of $1 of experiment 'e' is spent"]
