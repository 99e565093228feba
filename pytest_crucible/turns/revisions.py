"""The two states of the code that are compared: commits, or the working tree as it is."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pytest_crucible._errors import CrucibleError, DefinitionError
from pytest_crucible._text import plural

WORKING_TREE = "."
_FROM_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
"""Set while git runs a hook; they would send our commands to the wrong folder."""


class GitError(CrucibleError):
    """Git refused a command; the last line of what it said."""


def environment() -> dict[str, str]:
    """Return the environment without what git's hooks are told."""
    return {name: value for name, value in os.environ.items() if name not in _FROM_HOOKS}


def git(folder: Path, *arguments: str) -> str:
    """Run git and return what it prints.

    Raises:
        GitError: it failed, or there is no git.
    """
    try:
        process = subprocess.Popen(
            ["git", "-c", f"core.hooksPath={os.devnull}", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="surrogateescape", env=environment(), start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise GitError("git is not installed") from None
    try:
        printed, said = process.communicate()
    except BaseException:
        process.communicate()  # a half-made worktree would stay for ever: git locks it meanwhile
        raise
    if process.returncode:
        last = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise GitError(f"git {arguments[0]}: {last.removeprefix('fatal: ')}")
    return printed


@dataclass(frozen=True, slots=True)
class Revision:
    """A state of the code.

    Attributes:
        name: as the user wrote it.
        commit: its commit; of the working tree, the commit that is checked out.
        changed: files of the working tree that differ from the commit, deleted and new ones
            included, relative to the repository; empty for a commit.
        working: whether it is the working tree.
    """

    name: str
    commit: str
    changed: tuple[str, ...] = ()
    working: bool = False

    def __str__(self) -> str:
        short = self.commit[:10]
        if not self.working:
            return short if self.name.startswith(short[:7]) else f"{self.name} ({short})"
        if not self.changed:
            return f"the working tree ({short}, clean)"
        files = plural(len(self.changed), "file")
        return f"the working tree ({short}, {files} changed)"

    def same_as(self, other: Revision) -> bool:
        """Whether both are the same code."""
        return (self.commit, self.changed) == (other.commit, other.changed)


@dataclass(frozen=True, slots=True)
class Repository:
    """The repository that the command runs in.

    Attributes:
        top: its working tree.
        inside: the working directory, relative to it.
    """

    top: Path
    inside: Path

    @classmethod
    def at(cls, folder: Path) -> Repository:
        """Return the repository around a folder.

        Raises:
            DefinitionError: there is none.
        """
        try:
            top = Path(git(folder, "rev-parse", "--show-toplevel").removesuffix("\n")).resolve()
        except GitError as error:
            raise DefinitionError(f"{folder} is in no git repository ({error})") from None
        return cls(top, folder.resolve().relative_to(top))

    def revision(self, name: str) -> Revision:
        """Return the state that a name stands for: ``main``, ``HEAD~2``, a hash; ``.`` is the tree.

        Raises:
            DefinitionError: there is none of that name.
        """
        working = name == WORKING_TREE
        given = "HEAD" if working else name
        try:
            commit = git(
                self.top, "rev-parse", "--verify", "--end-of-options", f"{given}^{{commit}}"
            ).strip()
        except GitError:
            raise DefinitionError(
                f"{given!r} is no revision of {self.top}; a shallow clone has only some: "
                "git fetch --unshallow (in CI: fetch-depth: 0)"
            ) from None
        return Revision(name, commit, self.changed() if working else (), working)

    def changed(self) -> tuple[str, ...]:
        """Return the files that differ from the commit that is checked out, ignored ones apart."""
        changed = git(self.top, "diff", "--name-only", "--no-ext-diff", "-z", "HEAD")
        added = git(self.top, "ls-files", "--others", "--exclude-standard", "-z")
        return tuple(sorted({name for name in (changed + added).split("\0") if name}))
