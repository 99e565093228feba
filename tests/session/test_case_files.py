"""Cases from files: ids by content, places by the calling file, errors by file and line."""

from __future__ import annotations

import builtins
import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from pytest_crucible import DefinitionError, cases
from tests.session import support

ROWS = [{"q": "What is the capital of France?", "n": 1}, {"q": "Ünï?", "n": 2}]


def write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"questions.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="," if kind == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    return path


KINDS = ("jsonl", "json", "csv", "tsv", "parquet")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_back(tmp_path: Path, kind: str) -> None:
    """Every kind of file gives dictionaries; the separated ones, of texts."""
    made = cases(write(tmp_path, kind, ROWS))
    text = kind in ("csv", "tsv")
    assert [p.values[0] for p in made] == [
        {**r, "n": str(r["n"]) if text else r["n"]} for r in ROWS
    ]
    assert str(made[0].id).startswith("what-is-the-capital-of-")


@pytest.mark.parametrize("kind", KINDS)
def test_ids_do_not_depend_on_the_place(tmp_path: Path, kind: str) -> None:
    """A row put in front renames no other; equal rows get a number."""
    before = [p.id for p in cases(write(tmp_path, kind, ROWS))]
    after = [p.id for p in cases(write(tmp_path, kind, [{"q": "New", "n": 0}, *ROWS, ROWS[0]]))]
    assert after[1:] == [*before, f"{before[0]}-2"]
    assert len(set(after)) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_id_limit_where_and_marks(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, [{"key": f"k{i}", "n": i} for i in range(10)])
    made = cases(
        path, id="key", limit=3, where=lambda row: int(row["n"]) % 2,
        marks=lambda row: pytest.mark.slow if int(row["n"]) > 3 else None,
    )  # fmt: skip
    assert [p.id for p in made] == ["k1", "k3", "k5"]
    assert [[m.name for m in p.marks] for p in made] == [[], [], ["slow"]]
    assert [p.id for p in cases(path, id=lambda row: f"<{row['n']}>", limit=1)] == ["<0>"]
    assert [m.name for m in cases(path, marks=[pytest.mark.slow])[9].marks] == ["slow"]


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_a_limit_leaves_the_rest_unread(tmp_path: Path, kind: str) -> None:
    """What stands far behind the last row that is wanted may be anything."""
    path = write(tmp_path, kind, [{"n": i, "text": "x" * 100} for i in range(3000)])
    path.write_text(path.read_text(encoding="utf-8")[:-5] + "}{ no JSON", encoding="utf-8")
    assert len(cases(path, limit=10)) == 10
    with pytest.raises(DefinitionError, match="not JSON"):
        cases(path)


def test_rows_larger_than_a_chunk(tmp_path: Path) -> None:
    rows = [{"q": c * 200_000, "n": i} for i, c in enumerate(["a", 'é"\\', "\u2028"])]
    limit = csv.field_size_limit()
    for kind in ("json", "jsonl", "csv"):
        path = write(tmp_path, kind, rows)
        read: list[Any] = [parameter.values[0] for parameter in cases(path)]
        assert [row["q"] for row in read] == [row["q"] for row in rows]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("name", "content", "keywords", "said"),
    [
        ("q.jsonl", b'{"a": 1}\n\n{"a": }\n', {}, "q.jsonl:3: not JSON: "),
        ("q.jsonl", b'{"a": 1}\n[1]\n', {}, "q.jsonl:2: a row must be an object, not list"),
        ("q.jsonl", b'{"a": 1}\n{}\n', {}, "q.jsonl:2: a row without fields"),
        ("q.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', {}, "q.jsonl:2: not utf-8-sig text; give enc"),
        ("q.jsonl", b"", {}, "q.jsonl: no rows"),
        ("q.jsonl", b"\n \n", {}, "q.jsonl: no rows"),
        ("q.jsonl", b'{"a": 1}', {"where": lambda _: 0}, "q.jsonl: where keeps none of 1 row"),
        ("q.jsonl", b'{"a": 1}', {"where": lambda r: r["b"]}, "q.jsonl:1: where raised KeyError"),
        ("q.jsonl", b'{"a": 1}', {"id": lambda r: r["b"]}, "q.jsonl:1: id raised KeyError: 'b'"),
        ("q.jsonl", b'{"a": 1}', {"id": "b"}, "q.jsonl:1: no field 'b' (fields: a)"),
        ("q.jsonl", b'{"a": null}', {"id": "a"}, "field 'a' is no text or number: None"),
        ("q.jsonl", b'{"a": " "}', {"id": "a"}, "q.jsonl:1: field 'a' is empty"),
        (
            "q.jsonl",
            b'{"a":1}\n{"a":2}\n{"a":1}',
            {"id": "a"},
            ":3: id '1' is that of line 1",
        ),
        ("q.jsonl", b'{"a": 1}', {"marks": "slow"}, "marks must be marks of pytest, not 'slow'"),
        ("q.jsonl", b'{"a": 1}', {"limit": 0}, "limit must be a whole number of at least 1, not 0"),
        ("q.jsonl", b'{"a": 1}', {"encoding": "utf-7000"}, "unknown encoding: utf-7000"),
        ("q.json", b'[\n{"a": 1},\n{"a" 2}]', {}, "q.json:3: not JSON"),
        ("q.json", b'[\n{"a": 1}\n{"a": 2}]', {}, "q.json:3: not JSON: expected ',' or ']'"),
        ("q.json", b'[{"a": 1}', {}, "q.json:1: not JSON: expected ',' or ']'"),
        ("q.json", b'[{"a": "b', {}, "q.json:1: not JSON: Unterminated"),
        ("q.json", b'[{"a": 1}, 2]', {}, "q.json:1: a row must be an object, not int"),
        ("q.json", b'{"a": 1}', {}, "q.json:1: must be a list of objects"),
        ("q.json", b"[]", {}, "q.json: no rows"),
        ("q.json", b"", {}, "q.json: no rows"),
        ("q.csv", b"a,b\n1,2\n3\n", {}, "q.csv:3: 1 fields, but the header names 2"),
        ("q.csv", b'a,b\n"1\n2",2\n3,4,5\n', {}, "q.csv:4: 3 fields, but the header names 2"),
        ("q.csv", b'a,b\n"1,2\n', {}, "q.csv:2: not CSV"),
        ("q.csv", b"a,a\n1,2\n", {}, "q.csv:1: the header names 'a' twice"),
        ("q.csv", b"a,\n1,2\n", {}, "q.csv:1: field 2 of the header has no name"),
        ("q.csv", b"a,b\n", {}, "q.csv: no rows"),
        ("q.parquet", b"no", {}, "q.parquet: not Parquet: "),
        ("q.xlsx", b"no", {}, "unknown kind of file '.xlsx' (valid: .jsonl, "),
    ],
)
def test_errors_are_one_line_with_file_and_line(
    tmp_path: Path, name: str, content: bytes, keywords: dict[str, Any], said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DefinitionError) as caught:
        cases(tmp_path / name, **keywords)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="a folder, not a file of cases"):
        cases(tmp_path)


def test_parquet_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "parquet", ROWS)
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DefinitionError, match=r"pip install 'pytest-crucible\[parquet\]'"):
        cases(path)


TEST = """
    import pytest
    import pytest_crucible as crucible

    @pytest.mark.experiment("e")
    @pytest.mark.parametrize("row", crucible.cases("data/q.jsonl", id="k"))
    def test_a(row):
        assert row["place"]
"""


def test_beside_the_test_first_then_in_the_root(pytester: pytest.Pytester) -> None:
    """Both places are tried wherever pytest starts, and an error names both."""
    pytester.makeini("[pytest]")
    (pytester.path / "tests").mkdir()
    pytester.makepyfile(**{"tests/test_x": TEST})
    result = support.run(pytester)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    tests, root = pytester.path / "tests/data/q.jsonl", pytester.path / "data/q.jsonl"
    result.stdout.fnmatch_lines([f"cases: no file {tests} or {root}"])
    result.stdout.no_fnmatch_line("*Error:*")
    for place in (root, tests):
        place.parent.mkdir()
        place.write_text(json.dumps({"k": place.parent.parent.name, "place": 1}))
        support.run(pytester, "tests").assert_outcomes(passed=1)
        assert f"[{place.parent.parent.name}]" in support.only(pytester).trials[0].case
