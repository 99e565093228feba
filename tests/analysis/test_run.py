"""The public run: events, metrics and results by the grammar of the handle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.runs.manifest import write_manifest
from tests.made_events import MS, event, recorded, trial, trial_scope, write_run
from tests.test_html import ELEMENTS, HOSTILE, Tags


def arms(folder: Path, *names: str) -> Path:
    """A run folder with one trial per condition, the nth of which takes n ms."""
    events = []
    for number, name in enumerate(names, 1):
        scope = trial_scope(condition=name)
        started, stopped = trial("passed", scope)
        events += [started, event(measurements={"duration": number * MS}, scope=scope), stopped]
    return write_run(folder, events, definitions=[define("exp", conditions=names)])


def test_events_are_a_property_as_of_a_handle(tmp_path: Path) -> None:
    """The same view, which can be queried; each is read anew."""
    with crucible.experiment("exp") as handle:
        handle.execute("llm.stop", {"duration": MS}, {"model": "m"})
    path = crucible.archive(handle, tmp_path / "e.zip")
    run = crucible.open_run(path)
    assert isinstance(run.events, crucible.Events)
    assert run.events == handle.events
    assert len(run.events.query(model="m")) == 1
    crucible.cleanup(handle)


def test_results_are_what_analysis_says(tmp_path: Path) -> None:
    """Metrics and verdicts, read once."""
    folder = arms(tmp_path / "r", "a", "b")
    run = crucible.open_run(folder)
    assert run.results().to_dict() == analyse(run).to_dict()
    assert run.results() is run.results()


def test_metrics_of_the_only_condition_need_no_name(tmp_path: Path) -> None:
    """Where the run has one experiment with one condition, both may be left out."""
    run = crucible.open_run(arms(tmp_path / "r", "only"))
    assert run.metrics() == run.metrics("exp", "only") == run.metrics(condition="only")
    assert run.metrics().latency.max == 1.0


def test_metrics_of_several_conditions_are_told_apart(tmp_path: Path) -> None:
    """What is named is enough as soon as it names one."""
    run = crucible.open_run(arms(tmp_path / "r", "a", "b"))
    assert run.metrics("exp", "b").latency.max == run.metrics(condition="b").latency.max == 2.0


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({}, "metrics(): which one?"),
        ({"experiment": "exp"}, "metrics(experiment='exp'): which one?"),
        ({"experiment": "ex"}, "metrics(experiment='ex'): there is none"),
        ({"condition": "c"}, "metrics(condition='c'): there is none"),
    ],
)
def test_metrics_of_what_is_not_there_is_one_line(
    asked: dict[str, str], problem: str, tmp_path: Path
) -> None:
    """It says what was asked for, and all that could be."""
    run = crucible.open_run(arms(tmp_path / "r", "a", "b"))
    with pytest.raises(LookupError) as caught:
        run.metrics(**asked)
    assert str(caught.value) == f"run r: {problem}; valid: ('exp', 'a'), ('exp', 'b')"


def test_metrics_of_a_run_without_experiments_say_so(tmp_path: Path) -> None:
    """Events that belong to no experiment have no metrics."""
    run = crucible.open_run(write_run(tmp_path / "r", [event(scope=None)]))
    with pytest.raises(LookupError, match=r"run r: metrics\(\): there is none; valid: none$"):
        run.metrics()


def test_repr_is_a_line(tmp_path: Path) -> None:
    """Id and path; trials and events as far as they are known without reading the record."""
    folder = arms(tmp_path / "r", "a", "b")
    run = crucible.open_run(folder)
    assert repr(run) == f"<run 'r' {str(folder)!r}>"
    assert repr(run.results()) == "<results of run 'r': 1 experiment, 2 trials>"
    assert repr(run) == f"<run 'r' {str(folder)!r}: 6 events>"
    write_manifest(folder, {"run": "r", **run.results().to_dict()})
    run = crucible.open_run(folder)
    assert repr(run) == f"<run 'r' {str(folder)!r}: 2 trials, 6 events>"


@pytest.mark.parametrize(
    "told", [{"experiments": {}}, {"experiments": {}, "nodes": [{"events": "many"}]}]
)
def test_repr_of_a_run_with_an_odd_manifest(told: dict[str, object], tmp_path: Path) -> None:
    """What is no number of ours is not shown."""
    folder = write_manifest(arms(tmp_path / "r", "a"), {"run": "r", **told}).parent
    assert repr(crucible.open_run(folder)) == f"<run 'r' {str(folder)!r}>"


def test_notebooks_show_tables(tmp_path: Path) -> None:
    """Of the run, its results and each experiment; names are text, whatever they hold."""
    run = crucible.open_run(arms(tmp_path / HOSTILE.replace("/", ""), "a", HOSTILE))
    results = run.results()
    for shown in (run, results, results.experiments[0], results.experiments[0].metrics[HOSTILE]):
        assert Tags(shown._repr_html_()).names <= ELEMENTS
    assert HOSTILE in Tags(results._repr_html_()).text
    (experiment,) = results.experiments
    assert repr(experiment) == f"<result of 'exp': 'a', {HOSTILE!r}, 2 trials>"
    assert "latencyINCONCLUSIVE12" in Tags(experiment._repr_html_()).text


def test_numbers_of_plugins_are_among_the_metrics(tmp_path: Path) -> None:
    """What the manifest tells is told, as by `results`."""
    folder = arms(tmp_path / "r", "a")
    custom = {"conditions": {"a": {"custom": {"spread": 3.0}}}, "definition": {}}
    write_manifest(folder, {"run": "r", "experiments": {"exp": custom}})
    assert crucible.open_run(folder).metrics().custom == {"spread": 3.0}


def test_recorded_numbers_are_among_the_metrics(tmp_path: Path) -> None:
    """Those that tests gave to ``record``."""
    scope = trial_scope()
    started, stopped = trial("passed", scope)
    folder = write_run(tmp_path / "r", [started, recorded({"score": 0.5}, scope), stopped])
    assert crucible.open_run(folder).metrics().recorded["score"].mean == 0.5


@pytest.mark.parametrize("odd", [5, None, b"run", ["run"]])
def test_what_is_no_path_is_one_line(odd: Any) -> None:
    """Not the TypeError of a function within."""
    with pytest.raises(crucible.DefinitionError, match="a path is a text or a pathlib"):
        crucible.open_run(odd)
