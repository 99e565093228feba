"""Two sessions, one test at a time."""

from __future__ import annotations

import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.turns.lockstep import collect, end, run_in_turns, started
from pytest_crucible.turns.sides import Side, SideError
from tests.turns.support import ARGUMENTS, place, write

TESTS = """
    import time
    import pytest

    def note(text):
        with open("{log}", "a") as file:
            file.write("{side} " + text + "\\n")

    @pytest.fixture(scope="module")
    def wide():
        note("up")
        yield
        note("down")

    @pytest.fixture
    def narrow():
        note("enter")
        yield
        note("leave")

    @pytest.mark.experiment("e")
    @pytest.mark.parametrize("case", {cases!r})
    def test_it(case, wide, narrow):
        note(case)
"""


def make(folder: Path, name: str, cases: str, body: str = "") -> partial[Side]:
    text = TESTS.format(log=folder / "log", side=name, cases=list(cases))
    write(folder / name, test_it=text + body)
    where = place(folder / name, name, sys.executable)
    arguments = [*ARGUMENTS, f"--crucible-output={folder / 'runs'}"]
    return partial(Side, where, arguments, 2, "token")


def test_they_take_turns(tmp_path: Path) -> None:
    """Only one works at a time, and fixtures of the module stay up on both."""
    sides: list[Side] = []
    told = []
    make_both = [make(tmp_path, "base", "abz"), make(tmp_path, "head", "ab")]
    with started(make_both, sides):
        collected = collect(sides)
        assert collected.matched == 2
        assert collected.alone() == (["test_it.py::test_it[z]"], [])
        run_in_turns(sides, collected, 2, lambda step, *rest: told.append((step.side, *rest)))
        assert ["test_it" in imported for imported in end(sides)] == [True, True]
    assert not any(side.running for side in sides)
    log = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    ran = [line for line in log if line.rpartition(" ")[2] in "abz"]
    assert ran == [
        "base a", "head a", "head a", "base a",
        "head b", "base b", "base b", "head b",
        "base z", "base z",
    ]  # fmt: skip
    for name, runs in (("base", 6), ("head", 4)):
        own = [line.partition(" ")[2] for line in log if line.startswith(name)]
        assert own[0] == "up"
        assert own[-1] == "down"
        assert own.count("up") == own.count("down") == 1
        assert own.count("enter") == own.count("leave") == runs
        for before, after in pairwise(own):
            assert (before == "enter") == (after in "abz")
    assert told[0] == (0, "test_it.py::test_it[a]", 0, 10)
    assert len(told) == 10


def test_if_one_cannot_start_the_other_is_stopped(tmp_path: Path) -> None:
    sides: list[Side] = []
    make_both = [make(tmp_path, "base", "a"), make(tmp_path, "head", "a", "\n    import nothing")]
    with pytest.raises(SideError, match="head: collection failed"), started(make_both, sides):
        collect(sides)
    assert len(sides) == 2
    assert not any(side.running for side in sides)


class Fake:
    """A side without a process."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name, self._log = name, log
        log.append(f"{name} begins")

    def stop(self) -> None:
        self._log.append(f"{self._name} is told")

    def close(self) -> None:
        self._log.append(f"{self._name} is gone")


def test_both_are_told_before_either_is_waited_for() -> None:
    """And one that began before the other could not begin is told, too."""

    def absent() -> Side:
        raise DefinitionError("no interpreter")

    log: list[str] = []
    sides: list[Side] = []
    made = [cast("Any", partial(Fake, name, log)) for name in ("base", "head")]
    with started(made, sides):
        log.append("at work")
    assert log == [
        "base begins", "head begins", "at work",
        "base is told", "head is told", "base is gone", "head is gone",
    ]  # fmt: skip
    log.clear()
    with pytest.raises(DefinitionError, match="no interpreter"), started([made[0], absent], []):
        log.append("never")
    assert log == ["base begins", "base is told", "base is gone"]
