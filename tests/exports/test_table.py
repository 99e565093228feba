"""Tables: nested rows as flat columns, none lost and none twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.exports.rows import (
    nested_row,
    unflatten,
)
from pytest_crucible.exports.table import flat_row
from tests.made_events import event

keys = st.text(max_size=5) | st.sampled_from(["a", "b", "a.b", "a.b.c", "a'", "a."])


leaves = st.text(max_size=5) | st.integers() | st.booleans()


metadata = st.recursive(
    leaves, lambda inner: st.dictionaries(keys, inner, max_size=4), max_leaves=10
).filter(lambda value: isinstance(value, dict))


def flat(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata columns of an event."""
    row = flat_row(nested_row(event(metadata=metadata)))
    return {key: value for key, value in row.items() if key.startswith("metadata")}


def test_nesting_becomes_dots() -> None:
    """Mappings become columns, lists and other values JSON text."""
    assert flat({"a": {"b": {"c": 1}}, "d": [1, {"e": None}], "f": b"hi", "g": {}}) == {
        "metadata.a.b.c": 1,
        "metadata.d": '[1,{"e":null}]',
        "metadata.f": '"aGk="',
    }


def test_columns_that_would_meet_are_both_kept() -> None:
    """A key with a dot and a nested key never overwrite each other."""
    assert flat({"a": {"b": 1}, "a.b": 2}) == {"metadata.a.b": 1, "metadata.a.b'": 2}


def test_a_value_and_values_below_it_are_both_kept() -> None:
    """``error`` and ``error.type`` come back under their own names, and so does ``type``."""
    names = {"error": "boom", "error.type": "Timeout", "type": "tool"}
    assert unflatten(flat(names)) == {"measurements": {}, "metadata": names}


@given(metadata)
def test_flattening_loses_no_leaf(metadata: dict[str, Any]) -> None:
    """Whatever the keys are, as many values come back as went in, under the same columns."""
    columns = dict(sorted(flat(metadata).items()))
    again = {**nested_row(event()), **unflatten(columns)}
    assert dict(sorted(flat(again["metadata"]).items())) == columns
    assert len(columns) == leaf_count(metadata)


def leaf_count(value: Any) -> int:
    return sum(map(leaf_count, value.values())) if isinstance(value, dict) else 1
