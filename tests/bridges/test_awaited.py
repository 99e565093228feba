"""OpenTelemetry is bridged when it is first imported, by whom and as what it may be."""

from __future__ import annotations

import subprocess
import sys

import pytest

PREPARE = """
import sys
from pytest_crucible.bridges import awaited

told = []

def wake():
    told.append(awaited.is_imported())
    import opentelemetry.sdk.trace

awaited.await_import(wake)
"""
CHECK = """
import importlib, pickle
from opentelemetry import trace
import opentelemetry.sdk.trace as sdk

assert told == [False], told  # once, and before any of it ran
assert awaited.is_imported()
assert not [finder for finder in sys.meta_path if type(finder).__module__ == awaited.__name__]
for name in ("opentelemetry.trace", "opentelemetry.sdk.trace"):
    module = sys.modules[name]
    assert importlib.import_module(name) is module
    assert module.__spec__.loader is module.__loader__, module.__spec__
    assert module.__spec__.name == name and module.__spec__._initializing is False
assert sdk.trace_api is trace
assert issubclass(sdk.TracerProvider, trace.TracerProvider)
"""


def script(*parts: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(parts)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "first",
    [
        "import opentelemetry.trace",
        "from opentelemetry import trace",
        "from opentelemetry import context",
        "from opentelemetry.sdk.trace import TracerProvider",
        "from opentelemetry.sdk.resources import Resource",
        "from opentelemetry.trace.status import StatusCode",
        "import opentelemetry.sdk.trace.export as export",
        "import threading as t; x = t.Thread(target=__import__, args=('opentelemetry.trace',)); "
        "x.start(); x.join()",
        "try:\n    import opentelemetry.instrumentation.nothing_like_this\n"
        "except ImportError: pass",
    ],
)
def test_whatever_is_imported_first(first: str) -> None:
    """The one who waits is told once, before; every module is made once and is whole."""
    script(PREPARE, first, CHECK)


def test_looking_for_it_is_no_harm() -> None:
    """Whoever only asks whether it is there gets a spec that is as good as its own."""
    script(
        PREPARE,
        """
import importlib, importlib.util, inspect
spec = importlib.util.find_spec("opentelemetry.trace")
assert spec.origin.endswith("__init__.py") and told == [False]
from opentelemetry import trace
import opentelemetry.sdk.trace as sdk
assert sdk.trace_api is trace
assert spec.loader.get_source("opentelemetry.trace") == inspect.getsource(trace)
importlib.reload(trace)
assert importlib.util.find_spec("opentelemetry.trace").loader is trace.__loader__
""",
    )


def test_others_are_left_alone() -> None:
    """Other imports, and those of modules that do not exist, go their way."""
    script(
        PREPARE,
        """
import json.tool, opentelemetry
try:
    import opentelemetry_of_another
except ImportError:
    pass
assert told == []
""",
    )


def test_one_finder_for_several() -> None:
    """Sessions within a session wait side by side; one that is over is not told."""
    script(
        PREPARE,
        """
def also():
    told.append("also")

def gone():
    raise AssertionError

awaited.await_import(also)
awaited.await_import(gone)
awaited.forget(gone)
awaited.forget(gone)
assert len([f for f in sys.meta_path if type(f).__module__ == awaited.__name__]) == 1
import opentelemetry.trace
assert told == [False, "also"]
awaited.await_import(gone)
awaited.forget(gone)
assert not [f for f in sys.meta_path if type(f).__module__ == awaited.__name__]
""",
    )
