"""Why a trial did not pass: a wrong answer, or something that broke; in one line.

Messages of assertions quote the model's answers, so the record names only type and place. Where the
harness is at fault, the reason is said in words.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

import pytest

from pytest_crucible._errors import ValidationError
from pytest_crucible._text import one_line
from pytest_crucible.experiments.raised import is_library
from pytest_crucible.session.fixture import LateMarkerError

_MAX_MESSAGE = 200  # characters

_TIMEOUT = re.compile(r"Timeout \(?>?[\d.]+s\)? from pytest-timeout")
_ASYNC = "async def functions are not natively supported"


def is_failure(error: BaseException, item: pytest.Item) -> bool:
    """Whether an exception in the call phase means a wrong answer; else something broke.

    A failed assertion, ``pytest.fail``, and their like in unittest and doctest. A group of
    exceptions is a failure if it holds nothing else. A timeout is none, although pytest-timeout
    calls ``pytest.fail``, and neither is an async test that no plugin runs.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_failure(each, item) for each in error.exceptions)
    if isinstance(error, LateMarkerError):
        return False
    if isinstance(error, pytest.fail.Exception):
        text = str(error)
        return not _TIMEOUT.match(text) and not text.startswith(_ASYNC)
    return isinstance(error, tuple(_failures(item)))


def _failures(item: pytest.Item) -> Iterator[type[BaseException]]:
    yield AssertionError
    of_unittest = getattr(getattr(item, "cls", None), "failureException", None)
    if isinstance(of_unittest, type):
        yield of_unittest
    for module, name in (
        ("doctest", "DocTestFailure"), ("_pytest.doctest", "MultipleDoctestFailures"),
    ):  # fmt: skip
        if module in sys.modules:
            yield getattr(sys.modules[module], name)


def error_of(excinfo: pytest.ExceptionInfo[BaseException], item: pytest.Item, phase: str) -> str:
    """Return in one line what was raised, and where in the user's code.

    Args:
        excinfo: what was raised.
        item: the test.
        phase: setup, call or teardown.
    """
    error = excinfo.value
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error.__cause__, ValidationError):
        return str(error.__cause__)
    if isinstance(error, LateMarkerError):
        return "an experiment marker came too late"
    if isinstance(error, pytest.FixtureLookupError):
        return f"fixture {error.argname!r} not found"
    if isinstance(error, pytest.fail.Exception) and str(error).startswith(_ASYNC):
        return f"{_ASYNC}: {_advice(item.config)}"
    if error is not excinfo.value and error.__traceback__ is not None:
        excinfo = pytest.ExceptionInfo.from_exception(error)
    text = f"{_what(error)}{_place(excinfo, item)}"
    if phase == "call":
        return text
    fixture = _fixture(excinfo) if phase == "setup" else None
    return f"{phase if fixture is None else f'fixture {fixture!r}'} raised {text}"


def _advice(config: pytest.Config) -> str:
    """Say how an async test can run, with the plugins that are there."""
    loaded = config.pluginmanager.hasplugin
    if loaded("asyncio"):
        return "mark it with @pytest.mark.asyncio, or set asyncio_mode = auto"
    if loaded("anyio"):
        return "mark it with @pytest.mark.anyio, or install pytest-asyncio"
    return "install pytest-asyncio, anyio or another plugin for async tests"


def _what(error: BaseException) -> str:
    """Return the type of an error, with the message if that quotes no answer."""
    name = type(error).__name__
    if isinstance(error, ImportError):
        return f"{name}: {one_line(str(error)[:_MAX_MESSAGE])}"
    if isinstance(error, pytest.fail.Exception) and _TIMEOUT.match(str(error)):
        return str(error).partition(" from ")[0]
    return name


def _place(excinfo: pytest.ExceptionInfo[BaseException], item: pytest.Item) -> str:
    """`` at app.py:7``: the innermost line of the user's code; else the line of the test."""
    for entry in reversed(excinfo.traceback):
        if not is_library(str(entry.path)):
            path = os.path.relpath(entry.path, item.config.rootpath)
            return f" at {path}:{entry.lineno + 1}"
    file, line, _ = item.location
    return f" at {file}:{(line or 0) + 1}"


def _fixture(excinfo: pytest.ExceptionInfo[BaseException]) -> str | None:
    """Return the name of the fixture that raised; None if it is no fixture with a name.

    Pytest keeps the exception of a wider fixture and raises it again, with its traceback, for every
    later test. So its frames are asked, and no hook.
    """
    for entry in reversed(excinfo.traceback):
        if entry.frame.code.name == "pytest_fixture_setup":
            name = getattr(entry.frame.f_locals.get("fixturedef"), "argname", None)
            # ``setup_method`` and its like have names such as "_xunit_setup_method_fixture_TestA".
            return name if isinstance(name, str) and "_fixture_" not in name else None
    return None
