"""What one process records: its spool file, its scopes, and its forked children."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_crucible import _clock
from pytest_crucible._files import slug
from pytest_crucible._forks import in_child
from pytest_crucible._layout import NODES, SUFFIX
from pytest_crucible.capture.frames import (
    SCHEMA,
    ExperimentFrame,
    FooterFrame,
    HeaderFrame,
    PlanFrame,
    encode,
)
from pytest_crucible.capture.open_scope import OpenScope
from pytest_crucible.capture.recorder import close_scope, open_scope, scope_frame, stop_listening
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.case_block import Referee
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.record.node_reader import TrialKey
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.runs.experiment_definition import Definition

if TYPE_CHECKING:
    from pytest_crucible.capture.sampler import NodeSampler


class NodeRecording:
    """Writes the record of this process to a spool file of its own.

    A forked child starts a new file: two processes that write to one memory map would overwrite
    each other.

    Args:
        folder: the run folder; must exist.
        run: id of the run.
        node: name of this process in it.
        parent: name of the process that started this one; None for a node of pytest.
        clock: this node's wall clock minus the controller's, and the error of that, in ns.

    Raises:
        OSError: the spool file cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        node: str,
        parent: str | None = None,
        clock: tuple[int, int] = (0, 0),
    ) -> None:
        self.folder = folder
        self.run = run
        self.node = node
        self._parent = parent
        self._clock = clock
        self._numbers = count(1)
        self._open: dict[OpenScope, None] = {}
        self._samplers: dict[tuple[str, str], NodeSampler] = {}
        self.store = SpoolStore(self._path(), self._header())
        _recordings.add(self)

    def _path(self) -> Path:
        return self.folder / NODES / f"{slug(self.node)}{SUFFIX}"

    def _header(self) -> HeaderFrame:
        offset, bound = self._clock
        return HeaderFrame(
            schema=SCHEMA,
            run=self.run,
            node=self.node,
            uid=secrets.token_hex(8),
            pid=os.getpid(),
            host=socket.gethostname(),
            wall_ns=_clock.wall_ns(),
            monotonic_ns=_clock.monotonic_ns(),
            parent=self._parent,
            clock_offset_ns=offset,
            clock_bound_ns=bound,
        )

    def announce(self, definitions: Mapping[str, Definition], plan: Iterable[TrialKey]) -> None:
        """Record the definitions of the experiments, and the trials that are planned."""
        for name, definition in definitions.items():
            self.store.append(encode(ExperimentFrame(name, _plain(definition))))
        self.store.append(encode(PlanFrame(list(plan))))

    def open(self, scope: Scope, sampling: str | None = None) -> OpenScope:
        """Open a scope in this process's spool.

        Args:
            scope: the names of experiment, condition, case and so on.
            sampling: sampling of the experiment; all scopes of one condition share one sampler.
        """
        sampler = None if sampling is None else self._sampler(scope, sampling)
        opened = open_scope(scope, self.store, next(self._numbers), sampler)
        self._open[opened] = None
        return opened

    def _sampler(self, scope: Scope, sampling: str) -> NodeSampler:
        key = scope.experiment, scope.condition
        if key not in self._samplers:
            from pytest_crucible.capture.sampler import NodeSampler

            self._samplers[key] = NodeSampler(*key, sampling, self.store.append)
        return self._samplers[key]

    def handle(
        self,
        definition: Definition,
        opened: OpenScope,
        since: int | None = None,
        referee: Referee | None = None,
    ) -> Experiment:
        """Return a handle for a scope that `open` opened.

        Args:
            definition: definition of the experiment.
            opened: the scope.
            since: position in the store where the handle begins to read; None: the present one.
            referee: says what becomes of cases that raise; None: as outside pytest.
        """
        return Experiment(
            definition, opened, self.store, self.run, self.node, self.folder, since,
            scopes=self, referee=referee,
        )  # fmt: skip

    def close_scope(self, opened: OpenScope) -> None:
        """Close a scope that `open` opened; does nothing if it is closed already."""
        close_scope(opened)
        self._open.pop(opened, None)

    def close(self) -> None:
        """Close all scopes and the spool. May be called twice."""
        for opened in list(self._open):
            self.close_scope(opened)
        stop_listening()
        for sampler in self._samplers.values():
            sampler.flush()  # events that came after their scope closed
        self.store.close()

    def rescue(self) -> Path | None:
        """Write the record to a temporary folder, if its own file could not take all of it.

        Call it after `close`.

        Returns:
            The new file; None if the record is complete, or the new file could not take it either.
        """
        frames = (frame for _, frame in self.store.frames())
        if not self.store.notes() or any(isinstance(frame, FooterFrame) for frame in frames):
            return None
        try:
            folder = Path(tempfile.mkdtemp(prefix="crucible-"))
        except OSError:
            return None
        copy = self._copy(folder / self.store.path.name)
        if copy is None:
            shutil.rmtree(folder, ignore_errors=True)
        return copy

    def _copy(self, path: Path) -> Path | None:
        """Write all frames to a new file; None if it does not take all of them."""
        frames = (frame for _, frame in self.store.frames())
        header = next(frames)
        if not isinstance(header, HeaderFrame):
            return None
        try:
            copy = SpoolStore(path, header)
        except OSError:
            return None
        for frame in frames:
            copy.append(encode(frame))
        copy.close()
        return None if copy.notes() else path

    def continue_in_child(self) -> None:
        """Start a new file; called in a child right after the fork."""
        self._parent, self.node = self.node, f"{self.node}-{os.getpid()}-{secrets.token_hex(2)}"
        self.store.continue_in_child(self._path(), self._header())
        for opened in self._open:
            self.store.append(scope_frame(opened))
        for sampler in self._samplers.values():
            sampler.continue_in_child()


# A hook for forks cannot be removed: so one hook serves all recordings that still exist.
_recordings: weakref.WeakSet[NodeRecording] = weakref.WeakSet()


def _after_fork() -> None:
    for recording in list(_recordings):
        recording.continue_in_child()


in_child(_after_fork)


def _plain(definition: Definition) -> dict[str, object]:
    """Return the definition as a dictionary; metadata that msgpack cannot hold, as ``repr``."""
    data = definition.to_dict()
    data["metadata"] = {
        str(key): value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)
        for key, value in definition.metadata.items()
    }
    return data
