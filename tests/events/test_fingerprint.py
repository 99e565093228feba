"""Fingerprints of contents: equal for equal values, in every process, and for nothing else."""

from __future__ import annotations

import datetime
import decimal
import enum
import os
import re
import subprocess
import sys
import types
import uuid
from collections import UserDict, deque, namedtuple
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any
from unittest.mock import MagicMock

import attrs
import numpy as np
import pandas as pd
import polars as pl
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.fingerprint import comparable, fingerprint

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def same(one: object, other: object) -> bool:
    """Whether two values have one fingerprint."""
    return fingerprint({"x": one}) == fingerprint({"x": other})


def told_apart(value: Any) -> Any:
    """A value that equals another's only if both are one content: ``1 == True`` is not."""
    if isinstance(value, dict):
        return "mapping", sorted((key, told_apart(item)) for key, item in value.items()).__repr__()
    if isinstance(value, list):
        return "list", tuple(map(told_apart, value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number", value
    return type(value).__name__, value


@given(PLAIN, PLAIN)
def test_plain_values_are_told_apart(one: object, other: object) -> None:
    """Two plain values have one fingerprint exactly if they are the same."""
    assert same(one, other) == (told_apart(one) == told_apart(other))


@given(st.dictionaries(st.text(min_size=1), PLAIN, min_size=1))
def test_order_does_not_count(content: dict[str, object]) -> None:
    """Neither that of the parameters nor that of keys."""
    turned = dict(reversed(content.items()))
    assert fingerprint(content) == fingerprint(turned)
    assert same(content, turned)


def test_without_content() -> None:
    """A test without parameters has no fingerprint, and is comparable with nothing."""
    assert fingerprint({}) is None
    assert not comparable(None, None)
    assert not comparable(None, fingerprint({"x": 1}))


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Row:
    q: str
    n: int = 0


@dataclass
class LongerRow:
    q: str
    n: int = 0
    lang: str = "de"


@attrs.define
class Attrs:
    q: str


class Model(pydantic.BaseModel):
    q: str


class Slots:
    __slots__ = ("q",)

    def __init__(self, q: str) -> None:
        self.q = q


class Held:
    def __init__(self, q: str) -> None:
        self.q, self._client = q, object()


Pair = namedtuple("Pair", "a b")

DIFFERENT: dict[str, tuple[Any, ...]] = {
    "numbers": (0, 1, -1, 0.1, 2**53, 2**53 + 1, 1j, float("inf"), 10**5000, 10**5000 + 1),
    "types": (None, "None", True, 1, "1", b"1", [1], {1: 1}, {"1": 1}, {1}),
    "nesting": ([1, [2]], [[1], 2], [1, 2], [[1, 2]], {"a": None}, {}),
    "texts": ("a", "b", "a\x00", "", "\ud800", "a\u200b"),
    "enums": tuple(Colour),
    "classes": (Row("a"), Row("b"), Row("a", 1), Attrs("a"), Attrs("b")),
    "models": (Model(q="a"), Model(q="b")),
    "objects": (Slots("a"), Slots("b"), Held("a"), Held("b")),
    "containers": (Pair(1, 2), Pair(1, 3), deque([1]), deque([2]), UserDict(a=1), UserDict(a=2)),
    "ranges": (range(3), range(4)),
    "paths": (Path("a"), Path("b")),
    "patterns": (re.compile("a"), re.compile("a", re.IGNORECASE), re.compile("b")),
    "dates": (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)),
    "others": (decimal.Decimal("1.5"), uuid.UUID(int=1), uuid.UUID(int=2)),
    "partials": (partial(int, 1), partial(int, 2)),
    "memory": (memoryview(b"a"), memoryview(b"b")),
    "functions": (len, max, "a".join, Row, os),
    "arrays": (
        np.zeros(3), np.zeros(4), np.zeros(3, dtype=np.float32), np.zeros((3, 1)),
        np.array(["a"], dtype=object), np.array(["b"], dtype=object),
    ),
    "long arrays": (np.zeros(100_000), np.append(np.zeros(99_999), 1)),
    "tables": (
        pd.DataFrame({"a": range(10_000)}), pd.DataFrame({"a": [*range(9_999), 0]}),
        pd.DataFrame({"b": range(10_000)}), pd.DataFrame({"a": [1]}, index=["x"]),
        pd.DataFrame({"a": [1]}), pd.DataFrame({"a": ["t"]}),
    ),
    "columns": (pd.Series([1], index=["a"]), pd.Series([1], index=["b"]), pd.Series([2])),
    "polars": (pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]}), pl.Series([1]), pl.Series([2])),
}  # fmt: skip


@pytest.mark.parametrize("kind", DIFFERENT)
def test_different_contents_are_told_apart(kind: str) -> None:
    """Each value of a kind has a fingerprint of its own, wherever it stands."""
    for one, other in combinations(DIFFERENT[kind], 2):
        assert not same(one, other), (one, other)
        assert not same([{"k": one}], [{"k": other}]), (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, np.int64(1)), (0.5, np.float32(0.5)), (3, np.array(3)), ([1, 2], (1, 2)),
        ({"a": 1}, {"a": np.int64(1)}), ({1, 2, 3}, frozenset([3, 2, 1])), (Row("a"), Row("a")),
        (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2]})),
        (Held("a"), Held("a")), (PurePosixPath("a/b"), PurePosixPath("a//b")),
        (float("nan"), float("nan")), (Slots("a"), Slots("a")),
    ],
)  # fmt: skip
def test_equal_contents_are_one(one: object, other: object) -> None:
    """What JSON, CSV or NumPy do not tell apart is one content; addresses never count."""
    assert same(one, other)


IN_A_PROCESS = """
from tests.events.test_fingerprint import Held, Row, Slots
from pytest_crucible.events.fingerprint import fingerprint
import numpy as np, pandas as pd, unittest.mock
values = [{"b", "a", "c"}, Row("a"), Slots("a"), Held("a"), np.array([{"a"}], dtype=object), len,
    Held("a")._client, pd.DataFrame({"a": ["x", "y"]}), {"s": {1, 2, 3}, "t": {"x", "y"}}]
print(*(fingerprint({"x": value}) for value in values))
"""


def test_every_process_finds_the_same() -> None:
    """Whatever the seed of the hashes is, and wherever objects lie."""
    found = {
        subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(found) == 1


class Raising:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class RaisingKeys(dict[str, int]):
    def items(self) -> Any:
        raise OSError

    def __iter__(self) -> Any:
        raise OSError


class RaisingProperty:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise LookupError

    def __eq__(self, other: object) -> bool:
        raise ValueError

    def __hash__(self) -> int:
        raise ValueError

    def __repr__(self) -> str:
        raise ValueError


class Anything:
    """Has every attribute, as mocks and proxies do."""

    def __getattr__(self, name: str) -> Any:
        return self


@pytest.mark.parametrize(
    "kind", [Raising, lambda: RaisingKeys(a=1), RaisingProperty, Anything, MagicMock]
)
def test_hostile_objects_have_a_fingerprint(kind: Any) -> None:
    """What raises, or says yes to everything, counts by its type; values beside it still count."""
    assert fingerprint({"x": kind()}) is not None
    assert fingerprint({"x": kind(), "y": 1}) != fingerprint({"x": kind(), "y": 2})


def test_values_that_contain_themselves_end() -> None:
    """So do very deep ones, and objects that hang together with the whole process."""
    ring: list[object] = [1]
    ring.append(ring)
    mapping: dict[str, object] = {"q": 1}
    mapping["self"] = mapping
    deep: object = 1
    for _ in range(5_000):
        deep = [deep]
    for value in (ring, mapping, deep, sys, types.SimpleNamespace(all=sys)):
        assert fingerprint({"x": value}) is not None
    assert not same(ring, [1, [1]])


def test_only_equal_names_are_comparable() -> None:
    """One more column says nothing about the rows, whatever class a row is of."""
    pairs = [
        ({"q": 1}, {"q": 2}, {"q": 1, "lang": "de"}),
        (Row("a"), Row("b"), LongerRow("a")),
        (Model(q="a"), Model(q="b"), pydantic.create_model("M", q=str, lang=str)(q="a", lang="d")),
    ]
    for one, other, longer in pairs:
        first, second, third = (fingerprint({"row": row}) for row in (one, other, longer))
        assert comparable(first, second)
        assert not comparable(first, third)
    assert not comparable(fingerprint({"a": 1}), fingerprint({"b": 1}))
