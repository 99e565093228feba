"""What the tests of the commands share: running one, and the one line of its failure."""

from __future__ import annotations

import sys

import pytest

from pytest_crucible.cli.main import main

CRUCIBLE = [sys.executable, "-m", "pytest_crucible"]
MANY = range(200)


def run(*arguments: object) -> int:
    return main([str(each) for each in arguments])


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that exits with 2."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("crucible: ")
    assert err.count("\n") == 1
    return err.removeprefix("crucible: ").rstrip()
