"""Exports: one promise for all formats, that events come back as they were written."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_crucible as crucible
from pytest_crucible._errors import OutputError
from pytest_crucible.analysis.run import open_run
from pytest_crucible.events.event import Event
from pytest_crucible.exports.export import export_as, export_events
from pytest_crucible.exports.formats import FORMATS, Format
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from tests.made_events import (
    event,
    recorded,
    reference_events,
    trial,
    trial_scope,
)

each_format = pytest.mark.parametrize("format", FORMATS)
names = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1)
texts = (
    st.text()
    | st.sampled_from(
        ["=1+1", "'=1", "+1", "-1", "@x", "\tx", "\rx", "'", "''", '"', ",", "a\r\nb"]
    )
    | st.sampled_from(["007", "1e5", "True", "nan", "inf", " 1", "1_000", "٣"])
)


def read(path: Path) -> list[Event]:
    return list(open_run(path).events)


def round_trip(events: list[Event], format: str, folder: Path) -> list[Event]:
    path = folder / f"events.{format}"
    export_events(lambda: iter(events), path, FORMATS[format])
    return read(path)


@each_format
def test_identity_scope_and_time_survive(format: str, tmp_path: Path) -> None:
    """Where an event belongs and when it happened is the same in every format."""
    events = [
        event(scope=trial_scope('a/b: "c",\n=d', 2, 3, "treatment"), at_us=1, sequence=10),
        event(scope=None, attribution="unattributed", node="gw1", at_us=2, sequence=11),
        event("x.start", at_us=3, attribution="late", sequence=2**40),
    ]
    assert round_trip(events, format, tmp_path) == events


@each_format
def test_metrics_survive(format: str, tmp_path: Path) -> None:
    """Every metric of a run is the same when it is worked out from an export."""
    events = [
        *reference_events(),
        *trial("passed", trial_scope("a"), duration_ms=3),
        *trial("failed", trial_scope("b"), duration_ms=4, error="ValueError at t.py:3"),
        *trial(None, trial_scope("c"), node="gw0"),
        recorded({"score": 0.25}, trial_scope("a")),
        recorded({"score": 1}, trial_scope("b")),
    ]
    before = summarise(observe(events).groups["exp", "default"])
    after = summarise(observe(round_trip(events, format, tmp_path)).groups["exp", "default"])
    assert after == before


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
@given(st.lists(st.dictionaries(names, texts, max_size=3), min_size=1, max_size=3))
def test_text_metadata_survives(format: str, metadata: list[dict[str, str]]) -> None:
    """Any text under any key is read back unchanged."""
    with tempfile.TemporaryDirectory() as folder:
        found = round_trip([event(metadata=each) for each in metadata], format, Path(folder))
    assert [each.metadata for each in found] == metadata


@given(st.lists(st.dictionaries(names, texts, max_size=3), min_size=1, max_size=3))
def test_text_metadata_survives_csv(metadata: list[dict[str, str]]) -> None:
    """CSV has no types: empty text is absent, and text that is exactly a number becomes it."""
    with tempfile.TemporaryDirectory() as folder:
        found = round_trip([event(metadata=each) for each in metadata], "csv", Path(folder))
    expected = [{key: text for key, text in each.items() if text} for each in metadata]
    assert [{key: str(value) for key, value in each.metadata.items()} for each in found] == expected


numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@each_format
@given(st.lists(st.dictionaries(names, numbers, max_size=3), min_size=1, max_size=3))
def test_measurements_survive(format: str, measurements: list[dict[str, float]]) -> None:
    """Numbers are read back unchanged, to the last bit; mixed with floats, integers are floats."""
    with tempfile.TemporaryDirectory() as folder:
        events = [event(measurements=each) for each in measurements]
        found = round_trip(events, format, Path(folder))
    for after, before in zip(found, measurements, strict=True):
        assert after.measurements == {
            key: pytest.approx(value, rel=1e-15) for key, value in before.items()
        }


@each_format
def test_nan_and_infinity_are_never_numbers_again(format: str, tmp_path: Path) -> None:
    """What is no finite number stays out of the metrics in every format."""
    events = [
        event(measurements={"duration": float("nan"), "cost": float("inf")}),
        event(measurements={"duration": 5e6, "cost": 1}),
    ]
    found = round_trip(events, format, tmp_path)
    odd = found[0].measurements.get("duration")
    assert odd is None or math.isnan(odd)
    metrics = summarise(observe(found).groups["exp", "default"])
    assert (metrics.latency.mean, metrics.cost.total) == (5, 1)


@each_format
def test_whatever_code_emits_can_be_exported(format: str, tmp_path: Path) -> None:
    """Odd keys, bytes, lists, cycles and objects become text; no event is lost."""
    cycle: list[Any] = []
    cycle.append(cycle)
    odd: dict[Any, Any] = {
        1: "int",
        (1, 2): "tuple",
        b"k": b"v",
        None: object(),
        "\ud800": "\ud800",
    }
    with crucible.experiment("odd") as exp:
        exp.execute("a", {"n": 2**70, "f": float("nan")}, {"list": [1, {"x": b"y"}], "c": cycle})
        exp.execute("b", odd, odd)
        exp.execute("c", [1], "text")  # type: ignore[arg-type]
    path = crucible.export(exp, format, tmp_path / f"odd.{format}")
    crucible.cleanup(exp)
    assert [each.name for each in read(path)] == ["a", "b", "c"]


@each_format
def test_exporter_that_raises_leaves_the_old_file(format: str, tmp_path: Path) -> None:
    """An export that breaks off leaves neither half a file nor a temporary one."""
    path = tmp_path / f"events.{format}"
    export_events(lambda: iter([event()]), path, FORMATS[format])
    before = path.read_bytes()

    passes = iter(range(2))

    def events() -> Iterator[Event]:
        yield event("new.stop")
        # Formats that read twice break in their second pass, when the file is open.
        if format.startswith("json") or next(passes) == 1:
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        export_events(events, path, FORMATS[format])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@each_format
def test_no_events_make_a_file_that_says_so(format: str, tmp_path: Path) -> None:
    """An export of nothing is a file, and reading it says that it is empty."""
    with pytest.raises(crucible.ArtifactError, match=r"empty|no events in it"):
        round_trip([], format, tmp_path)


def test_plugins_exporters_get_rows_as_often_as_they_ask(tmp_path: Path) -> None:
    """An exporter of somebody else's is called with a function that starts over each time."""

    def write_counts(rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None:
        path.write_text(f"{len(list(rows()))} {len(list(rows()))}")

    counts = Format(name="counts", write=write_counts)
    path = export_events(lambda: iter([event(), event()]), tmp_path / "n.txt", counts)
    assert path.read_text() == "2 2"


def test_a_format_that_wrote_no_file_is_told(tmp_path: Path) -> None:
    """Else the name of a file that does not exist is printed as if it were there."""
    known = {**FORMATS, "csv": Format(name="csv", write=lambda rows, path: None)}
    with pytest.raises(OutputError, match=r"e\.csv: format 'csv' wrote no file"):
        export_as(list, tmp_path / "e.csv", "csv", known=known)
