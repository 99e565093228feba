"""Errors: each is caught by what it is, and says in one line what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_crucible._errors import (
    ArtifactError,
    CrucibleError,
    DefinitionError,
    ExpectationError,
    LifecycleError,
    MissingExtraError,
    OutputError,
    ValidationError,
    came_between,
)

KINDS = {
    DefinitionError: ValueError, ExpectationError: DefinitionError, LifecycleError: RuntimeError,
    ValidationError: ValueError, ArtifactError: ValueError, OutputError: OSError,
    MissingExtraError: ImportError,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "builtin"), KINDS.items())
def test_each_is_ours_and_what_python_would_raise(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    """Who catches `CrucibleError` catches all, and so does who catches the usual one."""
    assert issubclass(kind, (CrucibleError,))
    assert issubclass(kind, builtin)


def test_an_expectation_points_at_the_character() -> None:
    """By column, from 1, in the text as it was written."""
    error = ExpectationError("expected a number", "cost <", 7)
    assert str(error) == "expected a number at column 7 of 'cost <'"
    assert (error.text, error.column) == ("cost <", 7)


@pytest.mark.parametrize(
    ("problems", "said"),
    [
        ({"a without x": 2}, "experiment 'e': a without x (2 ×)"),
        ({"a": 1, "b": 5}, "experiment 'e': a (1 ×), and 1 more"),
        ({"a": 1, "b": 5, "c": 1}, "experiment 'e': a (1 ×), and 2 more"),
    ],
)
def test_many_problems_are_one_line(problems: dict[str, int], said: str) -> None:
    """The first with its count, of the others how many; the error has them all."""
    error = ValidationError("e", problems)
    assert str(error) == said
    assert error.problems == problems


def test_what_is_missing_names_the_install() -> None:
    """By our extra where there is one, else by the package."""
    assert str(MissingExtraError("spans", "otel")) == (
        "spans needs: pip install 'pytest-crucible[otel]'"
    )
    assert str(MissingExtraError("tables", package="pandas")) == "tables needs: pip install pandas"


def test_what_came_between_is_told_from_what_the_call_raised() -> None:
    """A C function has no frame of its own; a signal handler that ran as it returned has one."""

    def handler() -> None:
        raise ValueError

    assert not came_between(_caught(int, "x"))
    assert came_between(_caught(handler))
    assert not came_between(ValueError())


def _caught(call: Callable[..., object], *arguments: object) -> Exception:
    try:
        call(*arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")
