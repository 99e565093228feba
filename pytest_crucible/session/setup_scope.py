"""Set-up: what fixtures wider than a trial spend belongs to no arm.

Such a fixture is set up while the first trial that needs it runs, and torn down after the last one.
Charged to these trials it would make their arms dearer and slower than the others. Its events get
the condition `SETUP` of the experiment whose trial asked for it first.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest

from pytest_crucible.capture.open_scope import OpenScope, current_scope
from pytest_crucible.events.scope import SETUP, Scope
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.session.marker import IDENTITY, TrialIdentity
from pytest_crucible.session.span_capture import Capture


class SetupScopes:
    """Switches the scope while a class, module, package or session fixture begins and ends.

    Registered if a trial uses such a fixture of the user's.

    Args:
        recording: of this process.
        capture: captures the spans of every scope that is opened here.
    """

    def __init__(self, recording: NodeRecording, capture: Capture) -> None:
        self._recording = recording
        self._capture = capture
        self._ending: dict[int, tuple[OpenScope, OpenScope | None]] = {}  # by id of the fixture

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        item = getattr(request, "_pyfuncitem", None)
        identity = None if item is None else item.stash.get(IDENTITY, None)
        if fixturedef.scope == "function" or identity is None:
            return (yield)
        original = fixturedef.func
        try:
            with self._open(identity) as opened:
                _replace(fixturedef, _in_scope(original, opened))
                return (yield)
        finally:
            _replace(fixturedef, original)
            # The last finalizer to be added is the first to run.
            fixturedef.addfinalizer(lambda: self._begin_end(fixturedef, identity))

    # Called by the first finalizer of the fixture, which runs last, whatever the others raise.
    @pytest.hookimpl(trylast=True)
    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        ending = self._ending.pop(id(fixturedef), None)
        if ending is not None:
            self._leave(*ending)

    def _begin_end(self, fixturedef: pytest.FixtureDef[Any], identity: TrialIdentity) -> None:
        self._ending[id(fixturedef)] = self._enter(identity)

    @contextmanager
    def _open(self, identity: TrialIdentity) -> Generator[OpenScope, None, None]:
        opened, before = self._enter(identity)
        try:
            yield opened
        finally:
            self._leave(opened, before)

    def _enter(self, identity: TrialIdentity) -> tuple[OpenScope, OpenScope | None]:
        definition, before = identity.definition, current_scope.get()
        scope = Scope(experiment=definition.name, condition=SETUP)
        opened = self._recording.open(scope, definition.sampling)
        if definition.validate is not None:
            self._recording.handle(definition, opened)
        current_scope.set(opened)
        self._capture.enter(opened)
        return opened, before

    def _leave(self, opened: OpenScope, before: OpenScope | None) -> None:
        if opened.handle is not None:
            opened.handle().settle()  # records invalid events, which fail the session
        self._capture.leave(opened)
        self._recording.close_scope(opened)
        current_scope.set(before)


def _replace(fixturedef: pytest.FixtureDef[Any], function: Callable[..., Any]) -> None:
    if fixturedef.func is not function:
        object.__setattr__(fixturedef, "func", function)


def _in_scope(function: Callable[..., Any], opened: OpenScope) -> Callable[..., Any]:
    """Return an async fixture function that sets the scope itself; others as they are.

    An async plugin may run it in a task that is older than the scope.
    """
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            token = current_scope.set(opened)
            try:
                return await function(*args, **kwargs)
            finally:
                current_scope.reset(token)

        return awaited
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def generated(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            before = current_scope.get()
            current_scope.set(opened)
            async for value in function(*args, **kwargs):
                current_scope.set(before)
                yield value
                current_scope.set(opened)
            current_scope.set(before)

        return generated
    return function


def any_wide_fixture(items: list[pytest.Item]) -> bool:
    """Whether any of the tests uses a fixture of the user's that is wider than a test."""
    infos = {id(info): info for item in items if (info := getattr(item, "_fixtureinfo", None))}
    return any(
        definition.scope != "function" and not _is_of_pytest(definition)
        for info in infos.values()
        for definitions in info.name2fixturedefs.values()
        for definition in definitions
    )


def _is_of_pytest(definition: pytest.FixtureDef[Any]) -> bool:
    module = getattr(definition.func, "__module__", "") or ""
    return module.startswith(("_pytest.", "pytest_crucible."))
