"""Real git repositories, and the sessions that run in them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from pytest_crucible.turns.sides import Place

ARGUMENTS = (
    "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:anyio", "-p", "no:randomly",
    "-p", "no:hypothesispytest", "-p", "no:pytest_cov",
)  # fmt: skip
"""Of pytest: a side that loads nobody else's plugins starts in half the time."""


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout


def write(folder: Path, **files: str) -> None:
    """Write Python files; two underscores stand for a slash."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


def repository(folder: Path, **files: str) -> Path:
    """Make a repository with one commit."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main", ".")
    git(folder, "config", "user.email", "nobody@example.org")
    git(folder, "config", "user.name", "Nobody")
    commit(folder, **files)
    return folder


def commit(folder: Path, **files: str) -> str:
    """Commit files; returns the commit."""
    write(folder, **files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "a change")
    return git(folder, "rev-parse", "HEAD").strip()


def place(folder: Path, name: str = "base", python: str = sys.executable) -> Place:
    """A side in a folder."""
    return Place(name, folder, folder, python, folder.parent / f"{name}.log")
