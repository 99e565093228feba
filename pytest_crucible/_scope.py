"""Scope: where an event belongs, and the context variable that carries it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where an event belongs, inside one run and one node.

    ``test`` to ``attempt`` are None for events of an experiment outside its trials
    (library use, or a module-wide stretch between two tests).
    """

    experiment: str
    condition: str = "default"
    test: str | None = None
    case: str | None = None
    trial: int | None = None
    attempt: int | None = None


OPEN, PAUSED, CLOSED = 0, 1, 2


class OpenScope:
    """A scope that events are being recorded into.

    Attributes:
        id: number of the scope in its store, written into every event instead of its names.
        scope: the names.
        write: appends one encoded frame to the store that the scope belongs to.
        state: OPEN, PAUSED or CLOSED. Zero is the common case: one truth test on the emit path.
    """

    __slots__ = ("id", "scope", "state", "write")

    def __init__(self, id: int, scope: Scope, write: Callable[[bytes], None]) -> None:
        self.id = id
        self.scope = scope
        self.write = write
        self.state = OPEN


current_scope: ContextVar[OpenScope | None] = ContextVar("crucible_scope", default=None)
"""The scope of the running code. Follows tasks, ``to_thread`` and ``copy_context().run``."""
