"""``crucible ab``: two revisions on one machine, their tests in turns, compared as pairs."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pytest_crucible._errors import DefinitionError
from pytest_crucible._files import check_writable, new_run_id
from pytest_crucible._text import plural
from pytest_crucible.analysis.run_comparison import ANY, FAIL_ON
from pytest_crucible.analysis.run_drafts import draft_runs, judge_drafts
from pytest_crucible.cli.arguments import path_argument
from pytest_crucible.cli.comparing import (
    add_metrics,
    adjusted,
    check_metrics,
    parse_fail_on,
    read,
    write_comparisons,
)
from pytest_crucible.cli.outputs import NOTHING, add_outputs, check_outputs
from pytest_crucible.cli.printing import Print
from pytest_crucible.stats.comparison_options import PRIMARY
from pytest_crucible.turns.imports import strays
from pytest_crucible.turns.interruption import Interruption, interruptible
from pytest_crucible.turns.lockstep import Collected, collect, end, run_in_turns, started
from pytest_crucible.turns.messages import NO_WORKERS
from pytest_crucible.turns.progress import NAMES, Progress
from pytest_crucible.turns.revisions import WORKING_TREE, Repository, Revision
from pytest_crucible.turns.sides import Place, Side, SideError
from pytest_crucible.turns.worktrees import worktrees

MARGIN = 0.02
ROUNDS = 5
OUTPUT = Path("crucible-results")
LOG = "pytest.log"
_SEPARATOR = "--"
_WORKERS = re.compile(r"(?<!\S)(?:-n *|--numprocesses[= ])(?!0(?!\S))\S+")
_MOST_SHOWN = 3


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``ab`` to the parser."""
    ab = commands.add_parser(
        "ab",
        help="compare two git revisions on this machine, test by test in turns",
        usage="crucible ab [options] BASE [HEAD] -- PYTEST ARGUMENTS",
    )
    ab.add_argument("base", metavar="BASE", help="git revision to compare with")
    ab.add_argument(
        "head", metavar="HEAD", nargs="?", default=WORKING_TREE,
        help="git revision to judge, or . for the working tree as it is (default)",
    )  # fmt: skip
    ab.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N",
        help=f"how often each case runs on each side (default {ROUNDS})",
    )  # fmt: skip
    ab.add_argument(
        "--setup", metavar="COMMAND", help="shell command to run in each worktree first",
    )  # fmt: skip
    ab.add_argument(
        "--python", action="append", default=[], metavar="PATH",
        help="interpreter of both sides, or given twice: of the base and of the head; a relative "
        "path starts at the worktree (default: this one, with the worktree first on its path)",
    )  # fmt: skip
    ab.add_argument(
        "--cpus", metavar="LIST", help="CPUs that both sides are pinned to: 2 or 2,4-7",
    )  # fmt: skip
    ab.add_argument(
        "--output", type=path_argument, default=OUTPUT, metavar="DIR",
        help="folder with the folders base and head, for their runs (default: "
        f"{OUTPUT})",
    )  # fmt: skip
    ab.add_argument("--keep", action="store_true", help="do not remove the worktrees")
    ab.add_argument(
        "--margin", action="append", default=[], metavar="[METRIC=]SHARE",
        help="largest change that does not matter, for all or for one metric (default: that of the "
        f"marker, else {MARGIN})",
    )  # fmt: skip
    add_metrics(ab)
    ab.add_argument(
        "--fail-on", default="regression", metavar="WHAT",
        help=f"comma-separated: {', '.join(FAIL_ON)}, none (default: regression)",
    )  # fmt: skip
    add_outputs(ab)
    ab.set_defaults(run=_ab)


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the command line at ``--``: argparse forgets what came after it.

    Returns:
        The arguments of this program, and those of pytest; of another command all are the former.
    """
    own, passed_on = list(arguments), []
    if own[:1] == ["ab"] and _SEPARATOR in own:
        at = own.index(_SEPARATOR)
        own, passed_on = own[:at], own[at + 1 :]
    return own, passed_on


def _ab(options: argparse.Namespace, show: Print) -> int:
    check_outputs(options, [])
    fail_on = parse_fail_on(options.fail_on)
    # Whoever runs both sides in turns asks about speed, too, whatever the marker claims.
    adjust = adjusted(options, every=ANY in fail_on, otherwise=MARGIN, also=PRIMARY)
    plan = _plan(options)
    progress = Progress(sys.stderr, options.rounds)
    for line in plan.lines():
        progress.say(line)
    try:
        with interruptible():
            folders = _record(plan, progress)
    except Interruption as interruption:
        progress.say(f"crucible: stopped by {interruption}")
        return 128 + interruption.number
    if folders is None:
        return NOTHING
    base, head = map(read, folders)
    drafts = [draft_runs(base, head, adjust)]
    check_metrics(options.metric, drafts)
    return write_comparisons(judge_drafts(drafts), fail_on, options, show)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done, checked.

    Attributes:
        repository: of the working directory.
        sides: base and head.
        pythons: their interpreters.
        setup: the user's command; None: none.
        rounds: how often each case runs.
        cpus: to pin both to; empty: as this process.
        arguments: of pytest.
        output: folder for the folders of both sides.
        keep: whether the worktrees stay.
    """

    repository: Repository
    sides: tuple[Revision, Revision]
    pythons: tuple[str, str]
    setup: str | None
    rounds: int
    cpus: frozenset[int]
    arguments: tuple[str, ...]
    output: Path
    keep: bool

    def lines(self) -> list[str]:
        """Say what is compared."""
        base, head = self.sides
        lines = [f"base: {base}", f"head: {head}"]
        if base.same_as(head):
            lines.append("both sides are the same code (A/A): every difference is noise")
        if not head.working and not base.working and (changed := self.repository.changed()):
            lines.append(
                f"{plural(len(changed), 'file')} of the working tree changed since its commit: "
                "left out; for HEAD give . to compare the tree as it is"
            )
        return lines


def _plan(options: argparse.Namespace) -> _Plan:
    """Check the options.

    Raises:
        DefinitionError: one of them makes no sense.
    """
    if os.name != "posix":
        raise DefinitionError("ab needs Linux, macOS or another POSIX system")
    if options.rounds < 1:
        raise DefinitionError(f"--rounds: {options.rounds} is not a number from 1 on")
    if len(options.python) > 2:
        raise DefinitionError("--python: one for both sides, or two: of the base and of the head")
    repository = Repository.at(Path.cwd())
    _check_arguments(options.passed_on, repository.top)
    output = options.output.absolute()
    check_writable(output)
    pythons = options.python or [sys.executable]
    return _Plan(
        repository=repository,
        sides=(repository.revision(options.base), repository.revision(options.head)),
        pythons=(pythons[0], pythons[-1]),
        setup=options.setup,
        rounds=options.rounds,
        cpus=_cpus(options.cpus),
        arguments=tuple(options.passed_on),
        output=output,
        keep=options.keep,
    )


def _check_arguments(arguments: Sequence[str], top: Path) -> None:
    """Refuse arguments of pytest that make no sense here, before anything is set up.

    Raises:
        DefinitionError: one does not.
    """
    workers = _WORKERS.search(" ".join(arguments))
    if workers:
        raise DefinitionError(f"{workers[0]}: {NO_WORKERS}")
    for argument in arguments:
        path = Path(argument.partition("::")[0])
        if path.is_absolute() and path.is_relative_to(top):
            raise DefinitionError(
                f"{argument}: both sides would run the tests of your checkout; give a relative path"
            )


def _cpus(text: str | None) -> frozenset[int]:
    """Return the CPUs of ``2,4-7``; none for None.

    Raises:
        DefinitionError: that is no list of CPUs that this process may use.
    """
    if text is None:
        return frozenset()
    if not hasattr(os, "sched_setaffinity"):
        raise DefinitionError("--cpus: this system pins no processes to CPUs")
    chosen: set[int] = set()
    usable = os.sched_getaffinity(0)
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        cpus = {*range(int(match[1]), int(match[2] or match[1]) + 1)} if match else set()
        if not cpus or not cpus <= usable:
            listed = ", ".join(map(str, sorted(usable)))
            raise DefinitionError(f"--cpus: {part!r} is not of the form 2 or 4-7, of {listed}")
        chosen |= cpus
    return frozenset(chosen)


# --- recording --------------------------------------------------------------------------------


def _record(plan: _Plan, progress: Progress) -> tuple[Path, Path] | None:
    """Record both sides; returns their run folders, or None if they have no case in common.

    Raises:
        SideError: one side failed; the other has been stopped.
        Interruption: by a signal; both have been stopped.
    """
    sides: list[Side] = []
    places: list[Place] = []
    try:
        with worktrees(plan.repository, [*zip(NAMES, plan.sides, strict=True)], plan.keep) as trees:
            if plan.keep:
                progress.say(f"worktrees: {', '.join(map(str, trees))}")
            places += [
                Place(name, tree, tree / plan.repository.inside, python, tree.with_suffix(".log"))
                for name, tree, python in zip(NAMES, trees, plan.pythons, strict=True)
            ]
            try:
                folders = _run(plan, places, sides, progress)
            finally:
                for side in sides:
                    _keep_log(side)
        return folders
    except (SideError, Interruption) as problem:
        for line in getattr(problem, "tail", ()):
            progress.say(f"| {line}")
        for side in sides:
            _tell_record(side, progress)
        raise
    finally:
        progress.clear()


def _run(
    plan: _Plan, places: Sequence[Place], sides: list[Side], progress: Progress
) -> tuple[Path, Path] | None:
    if plan.setup is not None:
        for place in places:
            progress.say(f"{place.name}: {plan.setup}")
            place.set_up(plan.setup, plan.repository.top)
    token = new_run_id()
    make = [
        partial(
            Side,
            place,
            [*plan.arguments, f"--crucible-output={plan.output / place.name}"],
            plan.rounds,
            token,
            plan.cpus,
        )
        for place in places
    ]
    with started(make, sides):
        progress.wait("collecting the tests of both sides")
        collected = collect(sides)
        told = _tell_collected(plan, sides, collected, progress)
        if not collected.matched:
            progress.say("crucible: nothing to compare: no case with an experiment on both sides")
            return None
        progress.begin()
        run_in_turns(sides, collected, plan.rounds, progress.tell)
        progress.wait("writing both records")
        imported = end(sides)
        for side, modules in zip(sides, imported, strict=True):
            _tell_strays(plan, side, modules, told, progress)
    base, head = (side.folder for side in sides)
    assert base is not None
    assert head is not None
    return base, head


def _tell_collected(
    plan: _Plan, sides: Sequence[Side], collected: Collected, progress: Progress
) -> set[str]:
    """Say what is going to run; returns the modules that were named as strays."""
    told: set[str] = set()
    rounds = plural(plan.rounds, "round")
    progress.say(f"{plural(collected.matched, 'case')} on both sides, {rounds} in turns")
    for name, alone in zip(NAMES, collected.alone(), strict=True):
        if alone:
            more = f" and {len(alone) - _MOST_SHOWN} more" if len(alone) > _MOST_SHOWN else ""
            progress.say(f"only in {name}: {', '.join(alone[:_MOST_SHOWN])}{more}")
    unmarked = max(ready.unmarked for ready in collected.sides)
    if unmarked:
        progress.say(f"{plural(unmarked, 'test')} without an experiment marker: not run")
    for side, ready in zip(sides, collected.sides, strict=True):
        _tell_strays(plan, side, ready.imported, told, progress)
    return told


def _tell_strays(
    plan: _Plan, side: Side, imported: dict[str, str], told: set[str], progress: Progress
) -> None:
    for stray in strays(imported, side.place.tree, plan.repository.top):
        line = f"warning: {side.name} imports {stray}, not from its worktree"
        if line not in told:
            told.add(line)
            progress.say(f"{line}; give --setup and --python an environment per worktree")


def _keep_log(side: Side) -> None:
    """Move what a session printed to its record; remove a record without any run."""
    if side.folder is None:
        return
    if not side.ran:
        shutil.rmtree(side.folder, ignore_errors=True)
        return
    shutil.move(side.place.log, side.folder / LOG)


def _tell_record(side: Side, progress: Progress) -> None:
    if side.folder is None or not side.ran:
        return
    shown = os.path.relpath(side.folder)
    recover = "" if side.has_manifest else f"; `crucible recover {shown}` completes it"
    progress.say(f"{side.name}: {plural(side.ran, 'run')} on record in {shown}{recover}")
