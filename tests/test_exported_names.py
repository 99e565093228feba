"""The public names: all there, in order, and nothing heavy comes with them."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from typing import Any

import pytest

import pytest_crucible


def in_fresh_process(code: str) -> Any:
    """What ``code`` prints as JSON in a Python that has imported nothing yet."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_names_are_sorted_and_told_by_dir() -> None:
    """``dir()``, and so every editor, shows the public names and nothing else."""
    assert sorted(set(pytest_crucible.__all__)) == pytest_crucible.__all__
    assert dir(pytest_crucible) == pytest_crucible.__all__


@pytest.mark.parametrize("name", pytest_crucible.__all__)
def test_name_can_be_imported(name: str) -> None:
    """Every public name is what it says: a class, a function, or the bus."""
    value = getattr(pytest_crucible, name)
    if name == "telemetry":
        assert isinstance(value, types.ModuleType)
    else:
        assert value.__name__ == name
        assert value.__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    """A typo reads as it does for any module."""
    with pytest.raises(AttributeError, match="'pytest_crucible' has no attribute 'experimnt'"):
        pytest_crucible.experimnt  # type: ignore[attr-defined]  # noqa: B018


def test_every_error_is_public() -> None:
    """Whoever catches errors finds each of them by name."""
    errors = vars(sys.modules["pytest_crucible._errors"])
    names = {name for name, value in errors.items() if isinstance(value, type)}
    assert names <= set(pytest_crucible.__all__)


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Installed and unused it costs no import of numbers, of the codec, or of its own parts."""
    loaded = in_fresh_process(
        "import json, sys, pytest_crucible; dir(pytest_crucible);"
        "print(json.dumps(list(sys.modules)))"
    )
    heavy = {"numpy", "scipy", "msgspec", "tabulate", "jsonlines", "pyarrow", "pytest"}
    assert heavy.isdisjoint(loaded)
    assert [name for name in loaded if name.startswith("pytest_crucible.")] == []


def test_telemetry_alone_needs_no_codec() -> None:
    """Code under test may import the bus in production, where it is nearly free."""
    loaded = in_fresh_process(
        "import json, sys; from pytest_crucible import telemetry; telemetry.execute('x');"
        "print(json.dumps(list(sys.modules)))"
    )
    assert {"numpy", "scipy", "msgspec", "pytest"}.isdisjoint(loaded)
