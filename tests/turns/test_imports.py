"""A module that comes from elsewhere than its worktree is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.turns.imports import strays
from tests.turns.support import write

CHECKOUT, SITE = Path("/home/me/shop"), "/usr/lib/python3/site-packages"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path, src__shop__init="", helper="")
    (tmp_path / "src" / "shop" / "init.py").rename(tmp_path / "src" / "shop" / "__init__.py")
    return tmp_path


def test_what_is_of_the_worktree_is_no_stray(tree: Path) -> None:
    imported = {
        "shop": f"{tree}/src/shop/__init__.py",
        "own": f"{tree}/.venv/lib/site-packages/own.py",
        "numpy": f"{SITE}/numpy/__init__.py",
        "pytest": f"{CHECKOUT}/.venv/lib/site-packages/pytest/__init__.py",
        "tool": f"{CHECKOUT}/env/lib/site-packages/tool.py",
    }
    assert list(strays(imported, tree, CHECKOUT)) == []


def test_an_editable_install_of_the_checkout_is_one(tree: Path) -> None:
    """In whatever folder the project has its packages."""
    imported = {"thing": f"{CHECKOUT}/python/thing/__init__.py"}
    assert list(strays(imported, tree, CHECKOUT)) == [f"thing from {imported['thing']}"]


def test_an_installed_copy_is_one(tree: Path) -> None:
    """Of a package, or a module, that the worktree has at its root or in src."""
    imported = {"shop": f"{SITE}/shop/__init__.py", "helper": f"{SITE}/helper.py"}
    assert list(strays(imported, tree, CHECKOUT)) == [
        f"helper from {SITE}/helper.py", f"shop from {SITE}/shop/__init__.py",
    ]  # fmt: skip


def test_the_working_tree_s_own_files_are_none(tree: Path) -> None:
    """Where the checkout is what runs."""
    assert list(strays({"shop": f"{tree}/src/shop/__init__.py"}, tree, tree)) == []
