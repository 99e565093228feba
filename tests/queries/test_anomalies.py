"""Anomalous events: found in views, and marked in exports."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible._errors import ArtifactError
from pytest_crucible.analysis.run import open_run
from pytest_crucible.events.event import Event
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.queries.anomalies import marks, marks_of
from pytest_crucible.queries.events import Events
from tests.made_events import MS, event, recorded, trial_scope

STEADY = (10, 11, 9, 10, 12, 9, 11, 10, 8, 10)


def stalled() -> list[Event]:
    """Ten steady calls and one that stalls, ten steady scores and one that fails."""
    latencies = [*STEADY, 400]
    events = [
        event(measurements={"duration": each * MS}, sequence=i, at_us=i)
        for i, each in enumerate(latencies)
    ]
    scores = [0.8, 0.81, 0.79, 0.82, 0.8, 0.78, 0.83, 0.8, -5.0]
    return events + [crucible_record(score, 100 + i) for i, score in enumerate(scores)]


def crucible_record(score: float, number: int) -> Event:
    made = recorded({"score": score}, trial_scope(str(number)))
    return event(made.name, made.measurements, scope=made.scope, sequence=number, at_us=number)


def view(events: list[Event]) -> Events:
    return Events(lambda: iter(events))


def test_a_view_gives_the_events_with_their_scores() -> None:
    """The flagged events come with value, score and what they were held against."""
    found = view(stalled()).anomalies()
    assert (len(found), found.judged, found.reasons) == (1, 11, {})
    only = found[0]
    assert [each.event for each in found] == [only.event]
    assert (only.event.sequence, only.value) == (10, 400)
    assert only.median == pytest.approx(10)
    assert only.score > only.threshold


def test_measurements_and_recorded_numbers_can_be_asked_for() -> None:
    """Any measurement will do, also one that was given to `record`."""
    (found,) = view(stalled()).anomalies("score", method="iqr", threshold=3)
    assert found.value == -5.0
    assert found.score < -3
    nothing = view(stalled()).anomalies("nobody_said_this")
    assert (len(nothing), nothing.judged) == (0, 0)


def test_names_and_conditions_are_not_mixed() -> None:
    """Eleven slow events of one name are no anomalies among many fast ones of another."""
    slow = [event("slow.stop", {"duration": each * 100 * MS}) for each in STEADY]
    other = [
        event(measurements={"duration": each * 50 * MS}, scope=trial_scope(condition="b"))
        for each in STEADY
    ]
    assert not view([*stalled()[:10], *slow, *other]).anomalies()


def test_reasons_are_by_name() -> None:
    """What could not be judged says why."""
    assert view([event("x.stop", {"duration": 5})] * 6).anomalies("duration").reasons == {
        "x.stop": "all 6 numbers are the same"
    }
    with pytest.raises(ValueError, match="not one of"):
        view([]).anomalies(method="guess")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "conditions",
    [
        ["a"], {"a": []}, {"a": {"anomalies": 3}},
        {"a": {"anomalies": {"cost": {"limits": {"x": 1}}}}},
    ],
)  # fmt: skip
def test_a_manifest_out_of_shape(conditions: object) -> None:
    """It is named, and what was expected of it."""
    with pytest.raises(ArtifactError, match="not a manifest: in its 'experiments': Expected"):
        marks_of({"experiments": {"e": {"definition": {}, "conditions": conditions}}})


@pytest.mark.parametrize("format", FORMATS)
def test_exports_mark_the_rows(format: str, tmp_path: Path) -> None:
    """The rows of anomalies say of what; a reader finds them by that, like any other column."""
    events = stalled()
    groups = observe(events).groups.values()
    mark = marks(map(summarise, groups))
    path = export_events(lambda: iter(events), tmp_path / f"e.{format}", FORMATS[format], (), mark)
    run = open_run(path)
    assert [each.sequence for each in run.events.query(anomaly="latency")] == [10]
    assert len(run.events) == len(events)
    if format == "csv":
        with open(path, newline="") as file:
            rows = {row["sequence"]: row["anomaly"] for row in csv.DictReader(file)}
        assert {key: value for key, value in rows.items() if value} == {
            "10": "latency", "108": "score",
        }  # fmt: skip
    again = export_events(lambda: run.events, tmp_path / f"f.{format}", FORMATS[format])
    assert [each.sequence for each in open_run(again).events.query(anomaly="latency")] == [10]


def test_without_anomalies_there_is_no_mark_and_no_column(tmp_path: Path) -> None:
    """A plain export is what it was, and costs what it did."""
    events = stalled()[:10]
    assert marks([summarise(group) for group in observe(events).groups.values()]) is None
    assert marks_of(None) is marks_of({}) is None


def test_the_manifest_knows_the_limits() -> None:
    """What was worked out at the end of a run marks rows later, without reading it again."""
    (group,) = (g for g in observe(stalled()).groups.values() if g.latency_ms)
    metrics = json.loads(json.dumps(asdict(summarise(group))))
    mark = marks_of({"experiments": {"exp": {"conditions": {"default": metrics}}}})
    assert mark is not None
    row: dict[str, Any] = {"latency_ms": 400.0, "cost_usd": None, "measurements": {}}
    assert mark(event(), dict(row))["anomaly"] == "latency"
    assert "anomaly" not in mark(event(scope=None), dict(row))
    assert "anomaly" not in mark(event("other"), dict(row))
    assert mark(event(), {**row, "anomaly": "mine"})["anomaly"] == "mine"


def test_the_library_marks_its_exports(tmp_path: Path) -> None:
    """Outside pytest, exports are marked as well."""
    with crucible.experiment("stall") as exp:
        for duration in (*STEADY, 400):
            exp.execute("llm.stop", {"duration": duration * MS})
    path = crucible.export(exp, "jsonl", tmp_path / "e.jsonl")
    marked = [json.loads(line).get("anomaly") for line in path.read_text().splitlines()]
    assert marked == [None] * 10 + ["latency"]
    assert [each.value for each in exp.events.anomalies()] == [400]
