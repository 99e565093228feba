"""Results: the worst verdict, what is lost, and all of it as plain data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run import open_run
from pytest_crucible.runs.experiment_definition import Definition, define
from pytest_crucible.stats.verdict import CONFIRMED, INCONCLUSIVE, REJECTED
from tests.analysis.support import arm, run_of
from tests.made_events import recorded, trial_scope, write_run


def test_worst_verdict_is_the_verdict(tmp_path: Path) -> None:
    """One rejected expectation rejects the experiment; without any there is no verdict."""
    cases = {
        (): None,
        ("tests.trials >= 4",): CONFIRMED,
        ("tests.trials >= 4", "success_rate > 0.7"): INCONCLUSIVE,
        ("tests.trials >= 4", "success_rate > 0.7", "tests.failed < 1"): REJECTED,
    }
    run = run_of(tmp_path, arm("default", "pppf"))
    for expect, verdict in cases.items():
        (found,) = analyse(run, expect=expect).experiments
        assert (found.verdict, len(found.verdicts)) == (verdict, len(expect))


@pytest.mark.parametrize("outcomes", ["pc", "pm"])
def test_one_lost_trial_is_enough(outcomes: str, tmp_path: Path) -> None:
    """A run with a crashed or a missing trial has lost something, even if its node was closed."""
    plan = [("exp", "default", f"t{i}", f"case-{i}", 1) for i in range(2)]
    events = arm("default", outcomes.replace("m", ""))
    assert analyse(open_run(write_run(tmp_path / "r", events, plan=plan))).lost


def test_notes_are_added_once() -> None:
    """What a caller learns later makes the record incomplete, without repeating a sentence."""
    found = Results(run="r", experiments=(), nodes=(), incomplete=("a",)).with_notes(["b", "a"])
    assert (found.incomplete, found.lost) == (("a", "b"), True)
    assert not Results(run="r", experiments=(), nodes=(), incomplete=()).with_notes([]).lost


def test_results_are_plain_data(tmp_path: Path) -> None:
    """The manifest holds definitions, metrics, verdicts and completeness as JSON."""
    events = [*arm("a", "pf"), *arm("b", "pp"), recorded({"score": 1}, trial_scope(condition="a"))]
    definition = define("exp", conditions=["a", "b"], expect=["tests.failed < 1"])
    results = analyse(run_of(tmp_path, events, definition))
    data = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    found = data["experiments"]["exp"]
    assert Definition.from_dict(found["definition"]) == definition
    assert (found["trials"], found["recorded"], found["verdict"]) == (4, 4, REJECTED)
    assert found["conditions"]["a"]["tests"]["failed"] == 1
    assert list(found["comparisons"]) == ["b"]
    assert data["completeness"]["complete"] is True
    assert data["nodes"] == [{"name": "main", "events": 9, "closed": True}]


def test_a_notebook_tells_what_is_missing() -> None:
    """Reasons, and events of nobody; nothing where nothing is missing."""
    whole = Results(run="r", experiments=(), nodes=(), incomplete=())
    assert "incomplete" not in whole._repr_html_()
    assert "2 events not attributed" in replace(whole, unattributed=2)._repr_html_()
    assert "&lt;b&gt;" in whole.with_notes(["<b>"])._repr_html_()
