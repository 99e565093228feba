"""JSONL: one event per line, nesting kept, and errors that name the line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._errors import ArtifactError
from pytest_crucible.exports.jsonl_file import read_jsonl, write_jsonl
from pytest_crucible.exports.rows import nested_row
from tests.made_events import event

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(st.dictionaries(st.text(), values, max_size=4))
def test_nesting_survives(metadata: dict[str, Any]) -> None:
    """Mappings, lists, nulls and numbers in metadata are read back exactly."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.jsonl"
        write_jsonl(lambda: [nested_row(event(metadata=metadata))], path)
        ((line, row),) = read_jsonl(path)
    assert (line, row["metadata"]) == (1, metadata)


def test_one_valid_json_object_per_line(tmp_path: Path) -> None:
    """Line breaks of every kind inside a value break no line, and nothing is NaN."""
    path = tmp_path / "e.jsonl"
    odd = {"text": "a\nb\r\u2028c\x85", "nan": float("nan"), "bytes": b"hi"}
    write_jsonl(lambda: [nested_row(event(metadata=odd)), nested_row(event())], path)
    first, second = path.read_bytes().decode().removesuffix("\n").split("\n")

    def no_constants(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    assert json.loads(first, parse_constant=no_constants)["metadata"] == {
        "text": odd["text"], "nan": None, "bytes": "aGk=",
    }  # fmt: skip
    assert json.loads(second)["metadata"] == {}
    assert [line for line, _ in read_jsonl(path)] == [1, 2]


@pytest.mark.parametrize("bad", [b'{"run": "r"', b"[1]", b"3", b"null", b"", b"\xff{}", b"{}{}"])
def test_bad_line_is_named(bad: bytes, tmp_path: Path) -> None:
    """A torn, foreign or binary line is told by its number, after those before it were read."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": 2}\n' + bad + b"\n")
    rows = read_jsonl(path)
    assert [next(rows), next(rows)] == [(1, {"a": 1}), (2, {"b": 2})]
    with pytest.raises(ArtifactError) as caught:
        next(rows)
    assert str(caught.value) == f"{path}:3: not a JSON object in UTF-8"
