"""Worktrees come and go; the checkout stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_crucible.turns.revisions import GitError, Repository, Revision
from pytest_crucible.turns.worktrees import worktrees
from tests.turns.support import commit, git, repository, write


def status(folder: Path) -> tuple[str, str]:
    return git(folder, "status", "--porcelain"), git(folder, "worktree", "list")


def test_each_side_has_its_own_files(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repo", shop="x = 1\n")
    commit(folder, shop="x = 2\n")
    write(folder, shop="x = 3\n")
    before = status(folder)
    found = Repository.at(folder)
    revisions = [("base", found.revision("HEAD~1")), ("head", found.revision("."))]
    with worktrees(found, revisions) as (base, head):
        assert (base / "shop.py").read_text(encoding="utf-8") == "x = 1\n"
        assert (head / "shop.py").read_text(encoding="utf-8") == "x = 3\n"
        assert base.parent == head.parent
        assert not base.is_relative_to(folder)
        (base / "made.txt").write_text("by a test", encoding="utf-8")
        (base / "shop.py").unlink()
    assert not base.parent.exists()
    assert status(folder) == before


def test_the_working_tree_is_copied_as_it_is(tmp_path: Path) -> None:
    """New, deleted and executable files, and links; a repository inside is none of its files."""
    folder = repository(tmp_path / "repo", gone="", shop="")
    (folder / "gone.py").unlink()
    write(folder, new__er="y = 1\n")
    (folder / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("nowhere")
    repository(folder / "inner", other="")
    found = Repository.at(folder)
    with worktrees(found, [("head", found.revision("."))]) as (head,):
        assert sorted(path.name for path in head.iterdir()) == [
            ".git", "link", "new", "run.sh", "shop.py",
        ]  # fmt: skip
        assert (head / "new" / "er.py").read_text(encoding="utf-8") == "y = 1\n"
        assert os.access(head / "run.sh", os.X_OK)
        assert (head / "link").readlink() == Path("nowhere")


def test_hooks_of_the_repository_do_not_run(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repo", shop="")
    hook = folder / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n", encoding="utf-8")
    hook.chmod(0o755)
    found = Repository.at(folder)
    with worktrees(found, [("head", found.revision("HEAD"))]):
        pass
    assert not (tmp_path / "ran").exists()


def test_whatever_happens_they_are_removed(tmp_path: Path) -> None:
    """Also those that somebody has removed already, or that could not be made."""
    folder = repository(tmp_path / "repo", shop="")
    before = status(folder)
    found = Repository.at(folder)
    head = found.revision("HEAD")
    trees = []

    def work(*revisions: tuple[str, Revision]) -> None:
        with worktrees(found, revisions) as folders:
            trees.extend(folders)
            folders[0].rename(folders[0].with_name("moved"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(("head", head))
    assert len(trees) == 1
    assert not trees[0].parent.exists()
    with pytest.raises(GitError, match="git worktree: "):
        work(("base", head), ("head", Revision("x", "0" * 40)))
    assert status(folder) == before


def test_they_can_be_kept(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repo", shop="")
    found = Repository.at(folder)
    with worktrees(found, [("head", found.revision("HEAD"))], keep=True) as (tree,):
        pass
    assert (tree / "shop.py").exists()
    git(folder, "worktree", "remove", "--force", str(tree))
    tree.parent.rmdir()
