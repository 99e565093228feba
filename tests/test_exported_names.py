"""The public names: all there, in order, and nothing heavy comes with them."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
import types
from pathlib import Path
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
    """Every public name is what it says: a class, a function, or a module of functions."""
    value = getattr(pytest_crucible, name)
    if name in pytest_crucible._MODULES:
        assert isinstance(value, types.ModuleType)
    else:
        assert value.__name__ == name
        assert value.__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    """A typo reads as it does for any module."""
    with pytest.raises(AttributeError, match="'pytest_crucible' has no attribute 'experimnt'"):
        pytest_crucible.experimnt  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_see_what_is_there() -> None:
    """Where a name is imported from for them, and where it is loaded from, is written twice."""
    assert pytest_crucible.__file__ is not None
    tree = ast.parse(Path(pytest_crucible.__file__).read_text("utf-8"))
    told = {
        name.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if name.asname
    }
    loaded = {name: f"pytest_crucible.{home}" for name, home in pytest_crucible._HOMES.items()}
    assert told == {**loaded, **dict.fromkeys(pytest_crucible._MODULES, "pytest_crucible")}


def test_the_handle_has_one_public_name() -> None:
    """The fixture's type is `Experiment`; there is no second name for it."""
    handle = pytest_crucible.Experiment
    names = [each for each in pytest_crucible.__all__ if getattr(pytest_crucible, each) is handle]
    assert names == ["Experiment"]


def test_version_is_that_of_the_distribution() -> None:
    """From the installed metadata, which is not looked for before somebody asks."""
    assert pytest_crucible.__version__ == importlib.metadata.version("pytest-crucible")
    loaded = in_fresh_process(
        "import json, sys, pytest_crucible; told = 'importlib.metadata' in sys.modules;"
        "print(json.dumps([told, pytest_crucible.__version__]))"
    )
    assert loaded == [False, pytest_crucible.__version__]


@pytest.mark.parametrize("name", pytest_crucible.__all__)
def test_public_methods_say_what_they_do(name: str) -> None:
    """Every public function, class, method and property has a docstring."""
    value = getattr(pytest_crucible, name)
    kinds = (types.FunctionType, property, classmethod)
    mute = [
        member
        for member, each in vars(value).items()
        if not member.startswith("_") and isinstance(each, kinds) and not each.__doc__
    ]
    assert mute == []


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
