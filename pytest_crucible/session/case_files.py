"""``crucible.cases("questions.jsonl")``: the rows of a file as parameters of a test."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from pytest_crucible._errors import DefinitionError
from pytest_crucible._text import plural
from pytest_crucible.session.row_readers import READERS, RowError

Row = dict[str, Any]
Marks = pytest.MarkDecorator | Sequence[pytest.MarkDecorator] | None

_PROJECT_FILES = (
    "pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini",
    "setup.cfg", "setup.py", ".git",
)  # fmt: skip
_MARKS = (pytest.MarkDecorator, pytest.Mark)
_SLUG = 24
_DIGEST = 10  # hexadecimal digits: among a million rows, two share a hash with 40 bits rarely


class CasesError(DefinitionError, pytest.Collector.CollectError):
    """A file of cases that cannot be used. pytest shows it as one line, without a traceback."""


def cases(
    path: str | Path,
    *,
    id: str | Callable[[Row], object] | None = None,
    limit: int | None = None,
    where: Callable[[Row], object] | None = None,
    marks: Marks | Callable[[Row], Marks] = None,
    encoding: str = "utf-8-sig",
) -> list[ParameterSet]:
    """Read a file of cases: one parameter of a test per row.

    For ``@pytest.mark.parametrize("row", crucible.cases("questions.jsonl"))``. Each row becomes a
    ``pytest.param`` that holds a dictionary. Its id comes from its content: so a row that is
    inserted does not rename the others.

    Args:
        path: JSON Lines (``.jsonl``, ``.ndjson``), ``.csv``, ``.tsv``, ``.json`` (a list of
            objects) or ``.parquet``. A relative path is looked for beside the file that calls, then
            in the project's root: the closest folder above with a ``pyproject.toml``,
            ``pytest.ini``, ``tox.ini``, ``setup.cfg``, ``setup.py`` or ``.git``.
        id: the field that holds the id, or a function from a row to its id. Without it, the id is
            made of the first text of the row and a hash of the row.
        limit: return at most this many rows; the rest of the file is not read.
        where: keep only rows for which this is true.
        marks: marks of every row, or a function from a row to its marks.
        encoding: of a text file.

    Raises:
        DefinitionError: one line that names the file and the line of what is wrong.
    """
    if limit is not None and (type(limit) is not int or limit < 1):
        raise CasesError(f"cases: limit must be a whole number of at least 1, not {limit!r}")
    if not (id is None or callable(id) or (id and isinstance(id, str))):
        raise CasesError(f"cases: id must be the name of a field or a function, not {id!r}")
    file = _find(path, Path(sys._getframe(1).f_code.co_filename))
    try:
        reader = READERS[file.suffix.lower()]
    except KeyError:
        valid = ", ".join(READERS)
        raise CasesError(f"{file}: unknown kind of file {file.suffix!r} (valid: {valid})") from None
    params = _Params(file, id, marks)
    rows = 0
    try:
        for place, row in reader(file, encoding):
            rows += 1
            if where is None or params.call(where, "where", place, row):
                params.add(place, row)
                if len(params.found) == limit:
                    break
    except RowError as error:
        raise CasesError(f"{file}{error}") from error
    except OSError as error:
        raise CasesError(f"{file}: {error.strerror or error}") from error
    except LookupError as error:
        raise CasesError(f"cases: encoding={encoding!r}: {error}") from error
    if not params.found:
        # pytest would skip the test, and the session would be green.
        raise CasesError(
            f"{file}: where keeps none of {plural(rows, 'row')}" if rows else f"{file}: no rows"
        )
    return params.found


def _find(path: str | Path, caller: Path) -> Path:
    given = Path(path).expanduser()
    beside = caller.parent if caller.is_file() else Path.cwd()  # a notebook has no file
    root = next(
        (p for p in (beside, *beside.parents) if any((p / n).exists() for n in _PROJECT_FILES)),
        Path.cwd(),
    )
    places = [given] if given.is_absolute() else list(dict.fromkeys([beside / given, root / given]))
    for place in places:
        if place.is_file():
            return place
    for place in places:
        if place.is_dir():
            raise CasesError(f"{place}: a folder, not a file of cases")
    raise CasesError(f"cases: no file {' or '.join(map(str, places))}")


class _Params:
    """The parameters made so far, and the ids that they use."""

    def __init__(
        self, file: Path, wanted: str | Callable[[Row], object] | None, marks: object
    ) -> None:
        self.found: list[ParameterSet] = []
        self._file, self._wanted, self._marks = file, wanted, marks
        self._places: dict[str, str] = {}
        self._repeats: dict[str, int] = {}

    def call(self, function: Callable[[Row], Any], what: str, place: str, row: Row) -> Any:
        """Call a function of the user; an error names the row."""
        try:
            return function(row)
        except Exception as error:
            problem = f"{place}: {what} raised {type(error).__name__}: {error}"
            raise CasesError(f"{self._file}{problem}") from error

    def add(self, place: str, row: Row) -> None:
        marks: Any = self._marks
        if callable(marks) and not isinstance(marks, pytest.MarkDecorator):
            marks = self.call(marks, "marks", place, row)
        if marks is None:
            marks = ()
        elif isinstance(marks, _MARKS):
            marks = (marks,)
        elif not isinstance(marks, (list, tuple)) or not all(isinstance(m, _MARKS) for m in marks):
            raise CasesError(f"{self._file}{place}: marks must be marks of pytest, not {marks!r}")
        name = self._made_id(row) if self._wanted is None else self._given_id(place, row)
        self.found.append(pytest.param(row, id=name, marks=marks))

    def _given_id(self, place: str, row: Row) -> str:
        if callable(self._wanted):
            what, value = "id", self.call(self._wanted, "id", place, row)
        else:
            what = f"field {self._wanted!r}"
            if self._wanted not in row:
                names = ", ".join(map(str, row)) or "none"
                raise CasesError(f"{self._file}{place}: no {what} (fields: {names})")
            value = row[str(self._wanted)]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise CasesError(f"{self._file}{place}: {what} is no text or number: {value!r}")
        name = str(value)
        if not name.strip():
            raise CasesError(f"{self._file}{place}: {what} is empty")
        if name in self._places:
            raise CasesError(
                f"{self._file}{place}: id {name!r} is that of {self._places[name].lstrip(':')}, too"
            )
        self._places[name] = f"line {place[1:]}" if place[1:].isdigit() else place
        return name

    def _made_id(self, row: Row) -> str:
        content = json.dumps(row, sort_keys=True, ensure_ascii=True, default=repr)
        digest = hashlib.sha256(content.encode()).hexdigest()[:_DIGEST]
        text = next((value for value in row.values() if isinstance(value, str)), "")
        words = re.sub(r"[^0-9a-z]+", "-", text[:200].lower()).strip("-")
        if len(words) > _SLUG:
            words = words[: _SLUG + 1].rpartition("-")[0] or words[:_SLUG]
        name = f"{words}-{digest}" if words else digest
        count = self._repeats[name] = self._repeats.get(name, 0) + 1
        return name if count == 1 else f"{name}-{count}"
