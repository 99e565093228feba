"""Worktrees under a temporary folder: the user's checkout is only read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytest_crucible.turns.revisions import GitError, Repository, Revision, git


@contextmanager
def worktrees(
    repository: Repository, revisions: Sequence[tuple[str, Revision]], keep: bool = False
) -> Iterator[list[Path]]:
    """Check revisions out into worktrees of their own, and remove them in the end.

    Args:
        repository: where they are from.
        revisions: names of the folders, and what to check out.
        keep: leave them where they are.

    Yields:
        The folders.

    Raises:
        GitError: git could not make a worktree.
    """
    above = Path(tempfile.mkdtemp(prefix="crucible-ab-")).resolve()
    folders = [above / name for name, _ in revisions]
    try:
        for folder, (_, revision) in zip(folders, revisions, strict=True):
            git(repository.top, "worktree", "add", "--detach", str(folder), revision.commit)
            _bring(repository.top, folder, revision.changed)
        yield folders
    finally:
        if not keep:
            _remove(repository.top, above, folders)


def _bring(top: Path, folder: Path, changed: Sequence[str]) -> None:
    """Make files of a worktree as they are in the working tree."""
    for name in changed:
        source, target = top / name, folder / name
        if source.is_dir() and not source.is_symlink():
            continue  # a submodule, or a repository inside this one: worktrees are without them
        target.unlink(missing_ok=True)
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def _remove(top: Path, above: Path, folders: Sequence[Path]) -> None:
    for folder in folders:
        try:
            git(top, "worktree", "remove", "--force", "--force", str(folder))
        except GitError:
            pass  # never made, or git cannot: the folder goes below, and git forgets it
    shutil.rmtree(above, ignore_errors=True)
    git(top, "worktree", "prune")
