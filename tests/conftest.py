"""Fixtures for the suite: pytester, and the ways in which a session can be run."""

from __future__ import annotations

import gc
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

# Inner sessions forget modules they were the first to import, and parts of NumPy cannot be imported
# twice in one process: they must be there before. So must what this package names lazily, or some
# of its names would be of one copy of it and some of another.
import scipy.stats  # noqa: F401
from hypothesis import settings

import pytest_crucible.experiments.library  # noqa: F401
from tests.slow import is_slow

# A deadline is a timed assertion: it fails on a machine that is busy.
settings.register_profile("suite", settings.default, deadline=None)
settings.load_profile("suite")
settings.register_profile("quick", settings.get_profile("suite"), max_examples=20)

pytest_plugins = ["pytester"]

# The suite's own session loads every neighbour; inner sessions load only what a test asks for.
QUIET = ("-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:anyio", "-p", "no:randomly")


def pytest_collection_finish() -> None:
    """Have the collector leave alone what stays anyway.

    Each inner session ends with five full collections, pytest's way to find what was never awaited
    or closed: of everything in this process they took half of the time of such a test.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make quick` leaves out: the list stands in one place, with the reasons."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if is_slow(item.nodeid, parameters.values()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["local", "-n0", "-n2", "-p no:xdist"])
def mode(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Arguments for one of the ways in which users run sessions."""
    return () if request.param == "local" else tuple(request.param.split())


_moments = count(1_000_000_000)


@pytest.fixture(autouse=True)
def _no_stale_bytecode(request: pytest.FixtureRequest) -> None:
    """A test file that is written anew is compiled anew.

    Bytecode is taken for up to date where second and size of its source are the same, which they
    are for a test that runs two inner sessions with one other digit.
    """
    if "pytester" not in request.fixturenames:
        return
    pytester: pytest.Pytester = request.getfixturevalue("pytester")
    make = pytester.makepyfile

    def makepyfile(*args: Any, **kwargs: Any) -> Path:
        path = make(*args, **kwargs)
        moment = next(_moments)
        for each in pytester.path.rglob("*.py"):
            os.utime(each, (moment, moment))
        return path

    pytester.makepyfile = makepyfile  # type: ignore[method-assign]
