"""What an exception means for a trial, and where it was raised."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pytest_crucible.experiments.raised import is_library, outcome_of, raised_at

HERE = Path(__file__)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "passed"),
        (AssertionError("no"), "failed"),
        (ValueError(), "errored"),
        (ExceptionGroup("several", [AssertionError()]), "errored"),
        (TimeoutError(), "errored"),
        (SystemExit(3), "errored"),
        (KeyboardInterrupt(), "interrupted"),
        (asyncio.CancelledError(), "interrupted"),
        (GeneratorExit(), "interrupted"),
    ],
)
def test_a_wrong_answer_is_no_broken_harness(error: BaseException | None, outcome: str) -> None:
    """A failed assertion, anything else, and what stops the code from outside."""
    assert outcome_of(error) == outcome


def test_the_place_is_in_the_users_code() -> None:
    """Not in the library that it called, and without the message, which may quote an answer."""
    try:
        json.loads("secret")
    except ValueError as error:
        text = raised_at(error, HERE.parent)
    assert text.startswith(f"JSONDecodeError at {HERE.name}:")
    line = int(text.rpartition(":")[2])
    assert "json.loads" in HERE.read_text(encoding="utf-8").splitlines()[line - 1]


def test_an_error_that_was_never_raised_has_no_place() -> None:
    """Its type is all there is."""
    assert raised_at(ValueError("x")) == "ValueError"


def test_libraries_are_told_from_the_users_code() -> None:
    """By their folders."""
    assert is_library(json.__file__)
    assert is_library(pytest.__file__)
    assert not is_library(__file__)
