"""Capture: OpenTelemetry's spans, as far as pytest's session is concerned."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from pytest_crucible.bridges import awaited
from pytest_crucible.bridges.http_calls import HttpWatch
from pytest_crucible.bridges.instrumentors import (
    AUTO,
    anthropic_is_native,
    anthropic_is_silent,
    imported_clients,
    instrument,
)
from pytest_crucible.capture import recorder as _recorder
from pytest_crucible.capture.open_scope import OpenScope, Sink
from pytest_crucible.events.event import CAPTURE
from pytest_crucible.session.settings import SETTINGS, sdk_installed


def environment_problems() -> list[str]:
    """What in the environment silences spans; also asked by a controller, which runs no test."""
    found = []
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        found.append("OTEL_SDK_DISABLED is set: no spans, so calls of unchanged code are not seen")
    if anthropic_is_silent():
        found.append("ANTHROPIC_OPEN_TELEMETRY=false: calls of the anthropic client are not seen")
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    share = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if sampler.endswith("always_off") or (sampler.endswith("traceidratio") and share not in _ALL):
        found.append(
            f"OTEL_TRACES_SAMPLER={sampler}: a tracer provider that your code sets up will drop "
            "spans, and calls, tokens and cost will be too low"
        )
    return found


_BRIDGED = ("opentelemetry", "pytest_crucible.bridges.")
_ALL = ("", "1", "1.0")  # shares of spans that mean: every one


class Capture:
    """Captures spans in one process that runs tests.

    Args:
        config: of this process.
        store: of this process; for what belongs to no experiment.
    """

    def __init__(self, config: pytest.Config, store: Sink) -> None:
        self._store = store
        self._http = HttpWatch()
        self._bridge: Any = None
        self._modules: dict[str, ModuleType] = {}  # those that the bridge is made of
        self._spans = False  # whether spans can be captured: the bridge is there, or waits
        self._entered: dict[OpenScope, None] = {}
        self._carry: Callable[[OpenScope], Any]
        self._drop: Callable[[Any], None]
        self._undo: list[Callable[[], None]] = []
        self._tokens: dict[OpenScope, Any] = {}
        self._wanted = config.stash[SETTINGS].instrument
        self._imported: set[str] = set()
        self._said: set[str] = set()

    def preflight(self) -> list[str]:
        """Get ready before any test runs; says what will not be seen, a sentence each."""
        if not sdk_installed():
            return []
        self._spans = True
        before = environment_problems()
        if awaited.is_imported():
            self._build_bridge()
            from pytest_crucible.bridges.providers import current_provider

            disabled = any(each.startswith("OTEL_SDK_DISABLED") for each in before)
            if not disabled and current_provider() is not None:
                self._check_sampler(current_provider())
        else:
            awaited.await_import(self._on_import)
        for text in before:
            self._problem(text)
        self._instrument()
        return sorted(self._said)

    def _build_bridge(self) -> None:
        from pytest_crucible.bridges import opentelemetry

        self._carry, self._drop = opentelemetry.carry, opentelemetry.drop
        bridge = opentelemetry.Bridge(self._problem)
        bridge.on_provider = self._check_sampler
        self._bridge = bridge
        self._modules = {
            name: module for name, module in sys.modules.items() if name.startswith(_BRIDGED)
        }

    def _on_import(self) -> None:
        """OpenTelemetry is about to be imported, most likely within a trial, in any thread."""
        try:
            self._build_bridge()
        except Exception as error:  # of a broken installation: its importer will see it, too
            self._problem(f"spans are not captured ({type(error).__name__}: {error})")
            return
        for opened in list(self._entered):
            self._enter_bridge(opened)
            if opened not in self._entered:  # it ended meanwhile, in the main thread
                self._leave_bridge(opened)

    def _enter_bridge(self, opened: OpenScope) -> None:
        self._bridge.enter(opened)
        self._tokens[opened] = self._carry(opened)

    def _leave_bridge(self, opened: OpenScope) -> None:
        token = self._tokens.pop(opened, None)
        if token is not None:
            self._drop(token)
        self._bridge.leave(opened)

    def _instrument(self) -> None:
        undo, problems = instrument(self._wanted)
        self._undo += undo
        for text in problems:
            self._problem(text)

    def _check_sampler(self, provider: Any) -> None:
        from pytest_crucible.bridges.providers import canary, unwrapped

        real = unwrapped(provider)
        if real is not None and not hasattr(real, "add_span_processor"):
            self._problem(
                f"the tracer provider ({type(real).__name__}) takes no span processor: its spans "
                "are not seen; set one of opentelemetry.sdk"
            )
            return
        try:
            share, sampler = canary(provider)
        except Exception as error:  # a sampler that nobody can copy, limits that make no sense, …
            self._problem(f"the sampler could not be tried ({type(error).__name__}: {error})")
            return
        if share == 0:
            self._problem(f"the sampler ({sampler}) drops every span: calls are not seen")
        elif share < 1:
            self._problem(
                f"the sampler ({sampler}) lets about {share:.0%} of spans through: calls, tokens "
                "and cost will be too low"
            )

    def enter(self, opened: OpenScope) -> None:
        """A stretch or a trial begins, in this thread."""
        self._http.open()
        self._entered[opened] = None
        if self._spans and self._wanted == (AUTO,):
            self._instrument()  # for clients that were imported since
            self._imported = imported_clients()
        if self._bridge is not None:
            if not awaited.is_imported():
                # A test put `sys.modules` back to before the import (`mock.patch.dict`, pytester).
                # Imported anew, it would be another OpenTelemetry than the one we listen to.
                sys.modules.update(self._modules)
            if opened not in self._tokens:  # else instrumenting has just woken the bridge
                self._enter_bridge(opened)
        elif self._spans and awaited.is_imported():  # by a way that our finder does not see
            awaited.forget(self._on_import)
            self._on_import()

    def leave(self, opened: OpenScope) -> None:
        """It has ended."""
        for (host, client), calls in self._http.close().items():
            _recorder.record_into(
                opened, CAPTURE, {"http_calls": calls}, {"host": host, "client": client}
            )
        if self._spans and self._wanted == (AUTO,):
            self._missed(imported_clients() - self._imported)
        self._entered.pop(opened, None)
        if self._bridge is not None:
            self._leave_bridge(opened)

    def _missed(self, clients: set[str]) -> None:
        self._imported |= clients
        for name in sorted(clients - {"anthropic"} if anthropic_is_native() else clients):
            self._problem(
                f"{name} was imported within a trial, and that trial's calls of it were not seen; "
                f"import it at the top of the file, or --crucible-instrument={name}"
            )

    def close(self) -> None:
        """The session is over."""
        for undo in self._undo:
            try:
                undo()
            except Exception as error:  # of a library, with the session over
                self._problem(f"an instrumentor could not be turned off ({error!r:.200})")
        self._undo.clear()
        self._http.close()
        awaited.forget(self._on_import)
        self._spans = False
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None

    def _problem(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _recorder.record_aside(self._store, CAPTURE, {"problem": text})
