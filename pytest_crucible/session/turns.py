"""A session of ``crucible ab``: it runs a test when it is told to, and each several times.

``--crucible-turns=FD:ROUNDS:TOKEN`` makes a session one of two that take turns. FD is its end of a
pair of sockets. Modules, classes and the session stay set up from run to run.
"""

from __future__ import annotations

import copy
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from pytest_crucible.runs.experiment_definition import Definition
from pytest_crucible.session.marker import IDENTITY, TrialIdentity
from pytest_crucible.turns.messages import (
    NO_WORKERS,
    Began,
    Case,
    Channel,
    Done,
    Over,
    Ready,
    Run,
    ToSession,
)

TURNS = "crucible-turns"


class Turns:
    """Runs the trials of this session one by one, as the command says.

    Attributes:
        rounds: how often each case runs.
        token: the same in both sessions.

    Raises:
        pytest.UsageError: the tests are distributed to workers.
    """

    def __init__(self, config: pytest.Config) -> None:
        if config.getoption("dist", "no") != "no" or config.getoption("tx", None):
            raise pytest.UsageError(f"crucible ab: {NO_WORKERS}")
        descriptor, rounds, self.token = config.getoption("crucible_turns").split(":")
        self.rounds = int(rounds)
        os.set_inheritable(int(descriptor), False)  # a child of a test must not keep it open
        end = socket.socket(fileno=int(descriptor))
        self._channel: Channel[ToSession] = Channel(end, ToSession)  # type: ignore[arg-type]
        self._items: list[pytest.Item] = []
        self._identities: list[TrialIdentity] = []

    def prepare(self, items: Iterable[pytest.Item]) -> None:
        """Note the trials, and count the rounds among the trials of their definitions."""
        widened: dict[int, tuple[Definition, Definition]] = {}  # items share definitions
        for item in items:
            identity = item.stash.get(IDENTITY, None)
            if identity is None:
                continue
            narrow = identity.definition
            if id(narrow) not in widened:
                widened[id(narrow)] = narrow, _widened(narrow, self.rounds)
            item.stash[IDENTITY] = replace(identity, definition=widened[id(narrow)][1])
            self._items.append(item)
        self._identities = [item.stash[IDENTITY] for item in self._items]

    def began(self, folder: Path) -> None:
        """Say where the record is: it must be found, even if the collection fails."""
        self._channel.send(Began(str(folder)))

    def rounds_of(self, identities: Iterable[TrialIdentity]) -> list[TrialIdentity]:
        """Return every round of every trial."""
        numbers = range(1, self.rounds + 1)
        return [each.in_round(number, self.rounds) for each in identities for number in numbers]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            errors = f"{session.testsfailed} error{'s' if session.testsfailed > 1 else ''}"
            raise session.Interrupted(f"{errors} during collection")
        if session.config.option.collectonly:
            return True
        self._channel.send(
            Ready(
                [_case(identity) for identity in self._identities],
                len(session.items) - len(self._items),
                _imported(sys.modules),
            )
        )
        ran: Counter[int] = Counter()
        while isinstance(order := self._next(session), Run):
            ran[order.index] += 1
            self._run(order, ran[order.index])
            stopped = session.shouldfail or session.shouldstop
            self._channel.send(Done(str(stopped) if stopped else None))
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        self._channel.send(Over(_imported(sys.modules)))
        return True

    def pytest_unconfigure(self) -> None:
        self._channel.close()

    def _next(self, session: pytest.Session) -> ToSession:
        try:
            return self._channel.receive()
        except EOFError:
            raise session.Interrupted("crucible ab has ended") from None

    def _run(self, order: Run, number: int) -> None:
        item = self._items[order.index]
        item.stash[IDENTITY] = self._identities[order.index].in_round(number, self.rounds)
        following = None if order.then is None else self._items[order.then]
        if following is item:
            # What a test and the next one have in common stays set up: of the item itself, even its
            # own fixtures. A copy has the same parents, and is another test.
            following = copy.copy(item)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _widened(definition: Definition, rounds: int) -> Definition:
    """Count the rounds among the trials; the same share of them must pass as before.

    Nothing stops early: what one side skipped, the other would have run for nothing.
    """
    needed = definition.pass_if
    if needed is not None:
        passed, _, of = needed.partition("/")
        needed = f"{int(passed) * rounds}/{int(of) * rounds}"
    return replace(definition, trials=definition.trials * rounds, pass_if=needed, stop=None)


def _case(identity: TrialIdentity) -> Case:
    content = identity.facts.get("fingerprint")
    return Case(
        identity.definition.name, identity.condition, identity.case, identity.trial, identity.test,
        None if content is None else str(content),
    )  # fmt: skip


def _imported(modules: Mapping[str, ModuleType]) -> dict[str, str]:
    """Return where modules are, by top-level name; those without a file left out."""
    found = {}
    for name, module in list(modules.items()):
        if "." in name:
            continue
        place = getattr(module, "__file__", None)
        if place is None:  # a namespace package
            place = next(iter(getattr(module, "__path__", ())), None)
        if isinstance(place, str):
            found[name] = os.path.abspath(place)
    return found
