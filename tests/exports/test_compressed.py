"""Compressed exports: the ending decides, the same events make the same bytes, tears are told."""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible._errors import ArtifactError, DefinitionError, MissingExtraError
from pytest_crucible.analysis.run import open_run
from pytest_crucible.events.event import Event
from pytest_crucible.exports.export import export_as
from pytest_crucible.exports.formats import format_of
from pytest_crucible.exports.options import ExportOptions
from tests.made_events import event

PACKED = [f"{name}{ending}" for name in ("csv", "json", "jsonl") for ending in (".gz", ".zst")]
each_packed = pytest.mark.parametrize("format", PACKED)
EVENTS = [event(metadata={"n": i, "text": f"{i * i} words" * 9}, sequence=i) for i in range(3000)]


def export(path: Path, events: list[Event] = EVENTS, **options: Any) -> Path:
    return export_as(lambda: iter(events), path, format_of(path), ExportOptions(**options))


@each_packed
def test_compressed_files_read_equal_and_are_small(format: str, tmp_path: Path) -> None:
    """Every event comes back, and the same events give the same bytes under any name."""
    path = export(tmp_path / f"a.{format}")
    assert list(open_run(path).events) == EVENTS
    plain = export(tmp_path / f"a.{format.partition('.')[0]}")
    assert path.stat().st_size * 4 < plain.stat().st_size
    assert export(tmp_path / f"b.{format}").read_bytes() == path.read_bytes()
    assert list(tmp_path.glob(".*")) == []


@each_packed
def test_a_torn_compressed_file_is_one_line(format: str, tmp_path: Path) -> None:
    """Cut anywhere, foreign or spoiled: file, line, no traceback of a codec."""
    path = export(tmp_path / f"a.{format}")
    data = path.read_bytes()
    for spoiled in (data[:-1], data[: len(data) // 2], data[:3], b"foreign" * 9):
        path.write_bytes(spoiled)
        with pytest.raises(ArtifactError) as caught:
            list(open_run(path).events)
        text = str(caught.value)
        assert text.startswith(f"{path}:")
        assert ": torn, or no ." in text
        assert "\n" not in text


def test_lines_of_a_compressed_file_are_counted(tmp_path: Path) -> None:
    """A bad line has the number that it has in the uncompressed file."""
    path = export(tmp_path / "a.jsonl")
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes() + b"nonsense\n"))
    with pytest.raises(ArtifactError, match=r"b\.jsonl\.gz:3001: not a JSON object"):
        list(open_run(packed).events)


def test_endings_that_do_not_fit(tmp_path: Path) -> None:
    """Parquet compresses itself, and a format's ending is that of its file."""
    with pytest.raises(DefinitionError, match=r"parquet compresses itself; leave out \.gz"):
        export_as(lambda: iter(EVENTS), tmp_path / "e.parquet.gz", "parquet")
    with pytest.raises(DefinitionError, match=r"a csv\.gz file ends with \.gz"):
        export_as(lambda: iter(EVENTS), tmp_path / "e.csv", "csv.gz")
    with pytest.raises(DefinitionError, match="compresses itself; use 'parquet'"):
        export_as(lambda: iter(EVENTS), tmp_path / "e.parquet.gz", "parquet.gz")
    (tmp_path / "e.parquet.gz").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="not a run folder, nor a"):
        open_run(tmp_path / "e.parquet.gz")
    (tmp_path / "e.csv.gz").touch()
    with pytest.raises(ArtifactError, match="empty"):
        open_run(tmp_path / "e.csv.gz")


def test_zstd_needs_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no codec is told how to get one, for writing and for reading; gzip needs none."""
    path = export(tmp_path / "e.jsonl.zst", EVENTS[:1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for use in (open_run, lambda path: export(path, EVENTS[:1])):
        with pytest.raises(MissingExtraError, match=r"'pytest-crucible\[parquet\]'"):
            use(path)
    assert len(open_run(export(tmp_path / "e.csv.gz", EVENTS[:1])).events) == 1


leaves = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
keys = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(keys, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)
flat_values = st.recursive(
    leaves, lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3), max_leaves=8
)


@settings(max_examples=60)
@given(
    st.sampled_from(["json", "json.gz", "jsonl.gz", "jsonl.zst", "jsonl"]),
    st.booleans(),
    st.lists(st.dictionaries(keys, values, max_size=3), min_size=1, max_size=3),
)
def test_nesting_survives_every_form_of_json(
    format: str, pretty: bool, metadata: list[dict[str, Any]]
) -> None:
    """Mappings, lists, nulls, texts and 64-bit numbers come back, compressed or indented."""
    events = [event(metadata=each, measurements={"n": 1.5}) for each in metadata]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"e.{format}"
        export(path, events, pretty=pretty and not format.startswith("jsonl"))
        assert list(open_run(path).events) == events


@settings(max_examples=40)
@given(st.dictionaries(keys, flat_values, max_size=4))
def test_flattened_json_is_nested_again(metadata: dict[str, Any]) -> None:
    """Dotted keys are dotted keys only in the file, nulls among them."""
    with tempfile.TemporaryDirectory() as folder:
        events = [event(metadata=metadata, measurements={"a": {"b": 1}}), event()]
        path = export(Path(folder) / "e.jsonl", events, flatten=True)
        assert b'"measurements.a.b":1' in path.read_bytes()
        assert list(open_run(path).events) == events
