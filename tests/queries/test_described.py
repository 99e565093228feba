"""Tests of `pytest_crucible.queries.described`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.events.scope import Scope
from pytest_crucible.runs.experiment_definition import define
from tests.made_events import event, write_run


def of(experiment: str) -> Scope:
    return Scope(experiment=experiment, test="t", case="t", trial=1, attempt=1)


@pytest.mark.parametrize(
    ("tag", "metadata", "found"),
    [
        ("nightly", None, ["one", "two"]),
        ("fr", None, ["one"]),
        (None, {"commit": "ab"}, ["one"]),
        ("nightly", {"commit": "ab", "n": 3}, ["one"]),
        (None, {"commit": None}, []),
        ("gone", None, []),
    ],
)
def test_a_run_is_queried_by_its_experiments(
    tag: str | None, metadata: Mapping[str, object] | None, found: list[str], tmp_path: Path
) -> None:
    """The record tells what the authors said; events of nobody are in no answer."""
    definitions = (
        define("one", tags=["nightly", "fr"], metadata={"commit": "ab", "n": 3}),
        define("two", tags=["nightly"]),
        define("three"),
    )
    events = [event(scope=of(name)) for name in ("one", "two", "three")] + [event(scope=None)]
    run = crucible.open_run(write_run(tmp_path / "run-1", events, definitions=definitions))
    view = run.events.query(experiment_tag=tag, experiment_metadata=metadata)
    assert [each.scope.experiment for each in view if each.scope is not None] == found
    assert len(view) == len(found)


def test_a_handle_and_views_of_views() -> None:
    """Outside pytest, and after another query."""
    with crucible.experiment("one", tags=["nightly"], metadata={"lang": "fr"}) as handle:
        telemetry.execute("a.done", {"n": 1})
        telemetry.execute("b.done", {"n": 2}, {"tag": "own"})
    view = handle.events.query(name="b.*").query(experiment_tag="nightly")
    assert [each.measurements["n"] for each in view] == [2]
    assert len(handle.events.query(experiment_metadata={"lang": "en"})) == 0
    assert len(handle.events.query(tag="own")) == 1  # metadata of the event are another thing
