"""The recording side of one node: its spool and its scopes."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from pytest_crucible import _clock
from pytest_crucible._experiment import Definition
from pytest_crucible._frames import SCHEMA, ExperimentFrame, HeaderFrame, PlanFrame, encode
from pytest_crucible._recorder import close_scope, open_scope, stop_listening
from pytest_crucible._scope import OpenScope, Scope
from pytest_crucible.artifact.files import slug
from pytest_crucible.artifact.run import NODES
from pytest_crucible.session.marker import TrialIdentity
from pytest_crucible.stores.spool import SUFFIX, SpoolStore


class NodeRecording:
    """Keeps what this process records, in a spool file of its own.

    Args:
        folder: the run folder; must exist.
        run: id of the run.
        node: name of this process in it.

    Raises:
        OSError: the spool cannot be made.
    """

    def __init__(self, folder: Path, run: str, node: str) -> None:
        self.folder = folder
        self.run = run
        self.node = node
        self.store = SpoolStore(self._path(), self._header())
        self._numbers = count(1)
        self._open: list[OpenScope] = []

    def _path(self) -> Path:
        return self.folder / NODES / f"{slug(self.node)}{SUFFIX}"

    def _header(self) -> HeaderFrame:
        return HeaderFrame(
            schema=SCHEMA,
            run=self.run,
            node=self.node,
            uid=secrets.token_hex(8),
            pid=os.getpid(),
            host=socket.gethostname(),
            wall_ns=_clock.wall_ns(),
            monotonic_ns=_clock.monotonic_ns(),
        )

    def announce(
        self, definitions: Mapping[str, Definition], plan: Sequence[TrialIdentity]
    ) -> None:
        """Write down which experiments there are, and which trials are going to run."""
        for name, definition in definitions.items():
            self.store.append(encode(ExperimentFrame(name, _plain(definition))))
        trials = [
            (each.definition.name, each.condition, each.test, each.case, each.trial)
            for each in plan
        ]
        self.store.append(encode(PlanFrame(trials)))

    def open(self, scope: Scope) -> OpenScope:
        opened = open_scope(scope, self.store.append, next(self._numbers))
        self._open.append(opened)
        return opened

    def close_scope(self, opened: OpenScope) -> None:
        close_scope(opened)
        with suppress(ValueError):
            self._open.remove(opened)

    def close(self) -> None:
        """End the record in good order. May be called twice."""
        for opened in self._open[:]:
            self.close_scope(opened)
        stop_listening()
        self.store.close()


def _plain(definition: Definition) -> dict[str, object]:
    """The definition with metadata that msgpack can hold; anything else as its ``repr``."""
    data = definition.to_dict()
    data["metadata"] = {
        str(key): value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)
        for key, value in definition.metadata.items()
    }
    return data
