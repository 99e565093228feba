"""Scope: where an event belongs."""

from __future__ import annotations

from dataclasses import dataclass

JUDGE = "judge"
SETUP = "SETUP"
"""Condition of events that belong to an experiment, but to none of its arms: what fixtures wider
than a trial spend, and what happens between the trials of several arms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where an event belongs, inside one run and one node.

    ``test`` to ``attempt`` are None for events of an experiment outside its trials (use as a
    library, or code that runs between two tests of a module). ``role`` is ``judge`` for code that
    judges the answers, None for the code under test.
    """

    experiment: str
    condition: str = "default"
    test: str | None = None
    case: str | None = None
    trial: int | None = None
    attempt: int | None = None
    role: str | None = None


def is_warmup(scope: Scope) -> bool:
    """Whether the scope is a warm-up trial (below 0): its cost was spent, nothing else counts."""
    return scope.trial is not None and scope.trial < 0
