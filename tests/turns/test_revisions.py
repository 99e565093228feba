"""Revisions are named as git names them; the working tree is one, too."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.turns.revisions import GitError, Repository, Revision, environment
from pytest_crucible.turns.revisions import git as run_git
from tests.turns.support import commit, git, repository, write


def test_a_revision_is_its_commit(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repo", shop="")
    first = git(folder, "rev-parse", "HEAD").strip()
    second = commit(folder, shop="x = 1\n")
    (folder / "sub").mkdir()
    found = Repository.at(folder / "sub")
    assert found == Repository(folder, Path("sub"))
    assert found.revision("main") == Revision("main", second)
    assert str(found.revision("HEAD~1")) == f"HEAD~1 ({first[:10]})"
    assert str(found.revision(first)) == first[:10]
    assert found.revision("main").same_as(found.revision("HEAD"))
    assert not found.revision("main").same_as(found.revision("HEAD~1"))


def test_the_working_tree_names_what_changed(tmp_path: Path) -> None:
    """Changed, staged, deleted and new files; no ignored ones."""
    folder = repository(tmp_path / "repo", one="", two="", three="", four="")
    (folder / ".gitignore").write_text("*.log\n", encoding="utf-8")
    commit(folder)
    found = Repository.at(folder)
    clean = found.revision(".")
    assert clean.working
    assert clean.same_as(found.revision("HEAD"))
    assert str(clean).endswith(", clean)")
    write(folder, one="x = 1\n", two="x = 2\n", new__er="")
    git(folder, "add", "two.py")
    (folder / "three.py").unlink()
    (folder / "a.log").write_text("", encoding="utf-8")
    tree = found.revision(".")
    assert tree.changed == ("new/er.py", "one.py", "three.py", "two.py")
    assert str(tree).endswith(", 4 files changed)")
    assert not tree.same_as(found.revision("HEAD"))


@pytest.mark.parametrize("name", ["nonsense", "", "--all", "HEAD:shop.py"])
def test_a_missing_revision_is_named(tmp_path: Path, name: str) -> None:
    folder = repository(tmp_path / "repo", shop="")
    with pytest.raises(DefinitionError, match=r"is no revision of .*fetch-depth: 0"):
        Repository.at(folder).revision(name)


def test_without_a_repository_there_are_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"is in no git repository \(git rev-parse: not a"):
        Repository.at(tmp_path)
    git(tmp_path, "init", "-q", ".")
    with pytest.raises(DefinitionError, match="'HEAD' is no revision"):  # no commit yet
        Repository.at(tmp_path).revision(".")


def test_without_git_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="git is not installed"):
        run_git(tmp_path, "status")


def test_inside_a_hook_of_git_it_is_still_this_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = repository(tmp_path / "repo", shop=""), repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert Repository.at(folder).top == folder
    assert not {"GIT_DIR", "GIT_INDEX_FILE"} & {*environment()}


def test_git_ends_what_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle, it leaves a worktree that is locked for ever."""
    fake = tmp_path / "git"
    fake.write_text(f"#!/bin/sh\nsleep 0.4\ntouch {tmp_path}/ended\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_git(tmp_path, "worktree", "add")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "ended").exists()
