"""Lines of JSON: one per row, the same whether rows come one by one or by the batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.exports.json_lines import from_json, json_lines

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def lines(rows: list[Mapping[str, Any]]) -> list[bytes]:
    """Every line, without its end."""
    written = b"".join(json_lines(lambda: iter(rows)))
    assert written == b"" or written.endswith(b"\n")
    return written.split(b"\n")[:-1]


@given(st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), max_size=5))
def test_each_row_is_a_line_of_plain_json(rows: list[Mapping[str, Any]]) -> None:
    """Whatever is in it: no line break within, and no number that JSON has not."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = [json.loads(line, parse_constant=refuse) for line in lines(rows)]
    assert len(found) == len(rows)
    assert [list(each) for each in found] == [list(each) for each in rows]


def test_many_rows_come_in_flat_memory() -> None:
    """In pieces, and no more is asked for than a piece needs."""
    asked = 0

    def rows() -> Iterator[Mapping[str, Any]]:
        nonlocal asked
        for number in range(10_000):
            asked += 1
            yield {"n": number}

    pieces = json_lines(rows)
    assert next(pieces).startswith(b'{"n":0}\n{"n":1}\n')
    assert asked < 1_000
    assert sum(piece.count(b"\n") for piece in pieces) > 9_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), (b'{"a": [1, null]}', {"a": [1, None]}), ("1" * 40, int("1" * 40)),
        ('"\\u00e4"', "ä"), ('"\\ud83d\\ude00"', "😀"),
    ],
)  # fmt: skip
def test_any_json_is_read(text: str | bytes, value: object) -> None:
    """Also integers of more than 64 bits, and characters in two halves."""
    assert from_json(text) == value


@pytest.mark.parametrize("text", ["", "{", b"\xff", '"\\ud83d"', '{"a": "\\udc00"}'])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    """Half a character included: no other format could hold it."""
    with pytest.raises(ValueError):  # noqa: PT011  (several kinds, each with its own words)
        from_json(text)


def test_json_that_is_too_deep_is_refused() -> None:
    """With an error of its own, which callers know."""
    with pytest.raises(RecursionError):
        from_json("[" * 100_000)
