"""Captures OpenTelemetry's spans in a pytest session, and reports what hides them."""

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
    """Return which environment variables suppress spans, a sentence each.

    The controller of xdist calls this, too; it runs no tests.
    """
    problems = []
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        problems.append(
            "OTEL_SDK_DISABLED is set: no spans, so calls of unchanged code are not seen"
        )
    if anthropic_is_silent():
        problems.append(
            "ANTHROPIC_OPEN_TELEMETRY=false: calls of the anthropic client are not seen"
        )
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    share = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if sampler.endswith("always_off") or (sampler.endswith("traceidratio") and share not in _ALL):
        problems.append(
            f"OTEL_TRACES_SAMPLER={sampler}: a tracer provider that your code sets up will drop "
            "spans, and calls, tokens and cost will be too low"
        )
    return problems


_BRIDGED = ("opentelemetry", "pytest_crucible.bridges.")
_ALL = ("", "1", "1.0")  # values of OTEL_TRACES_SAMPLER_ARG that let every span through


class Capture:
    """Captures spans in one process that runs tests.

    Args:
        config: of this process.
        store: of this process; it gets the problems, which belong to no experiment.
    """

    def __init__(self, config: pytest.Config, store: Sink) -> None:
        self._store = store
        self._http = HttpWatch()
        self._bridge: Any = None
        self._modules: dict[str, ModuleType] = {}  # the bridge's own and OpenTelemetry's
        self._spans = False  # whether spans can be captured: the bridge is built, or waits
        self._entered: dict[OpenScope, None] = {}
        self._carry: Callable[[OpenScope], Any]
        self._drop: Callable[[Any], None]
        self._undo: list[Callable[[], None]] = []
        self._tokens: dict[OpenScope, Any] = {}
        self._wanted = config.stash[SETTINGS].instrument
        self._imported: set[str] = set()
        self._reported: set[str] = set()

    def preflight(self) -> list[str]:
        """Get ready before any test runs; return what will not be captured, a sentence each."""
        if not sdk_installed():
            return []
        self._spans = True
        problems = environment_problems()
        if awaited.is_imported():
            self._build_bridge()
            from pytest_crucible.bridges.providers import current_provider

            disabled = any(problem.startswith("OTEL_SDK_DISABLED") for problem in problems)
            if not disabled and current_provider() is not None:
                self._check_sampler(current_provider())
        else:
            awaited.await_import(self._on_import)
        for problem in problems:
            self._report(problem)
        self._instrument()
        return sorted(self._reported)

    def _build_bridge(self) -> None:
        from pytest_crucible.bridges import opentelemetry

        self._carry, self._drop = opentelemetry.carry, opentelemetry.drop
        bridge = opentelemetry.Bridge(self._report)
        bridge.on_provider = self._check_sampler
        self._bridge = bridge
        self._modules = {
            name: module for name, module in sys.modules.items() if name.startswith(_BRIDGED)
        }

    def _on_import(self) -> None:
        """Build the bridge; called right before OpenTelemetry is imported, in any thread.

        Most likely a trial is running.
        """
        try:
            self._build_bridge()
        except Exception as error:  # a broken installation: the importing code will fail, too
            self._report(f"spans are not captured ({type(error).__name__}: {error})")
            return
        for opened in list(self._entered):
            self._enter_bridge(opened)
            if opened not in self._entered:  # the main thread has closed it meanwhile
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
        for problem in problems:
            self._report(problem)

    def _check_sampler(self, provider: Any) -> None:
        from pytest_crucible.bridges.providers import canary, unwrapped

        real = unwrapped(provider)
        if real is not None and not hasattr(real, "add_span_processor"):
            self._report(
                f"the tracer provider ({type(real).__name__}) takes no span processor: its spans "
                "are not seen; set one of opentelemetry.sdk"
            )
            return
        try:
            share, sampler = canary(provider)
        except Exception as error:  # a sampler that cannot be copied, invalid limits, …
            self._report(f"the sampler could not be tried ({type(error).__name__}: {error})")
            return
        if share == 0:
            self._report(f"the sampler ({sampler}) drops every span: calls are not seen")
        elif share < 1:
            self._report(
                f"the sampler ({sampler}) lets about {share:.0%} of spans through: calls, tokens "
                "and cost will be too low"
            )

    def enter(self, opened: OpenScope) -> None:
        """Start to capture: the scope of a trial, or of a class or module, was opened here."""
        self._http.open()
        self._entered[opened] = None
        if self._spans and self._wanted == (AUTO,):
            self._instrument()  # clients that were imported since the last call
            self._imported = imported_clients()
        if self._bridge is not None:
            if not awaited.is_imported():
                # A test restored `sys.modules` to before the import (`mock.patch.dict`, pytester).
                # If OpenTelemetry were imported again, it would be another copy than ours.
                sys.modules.update(self._modules)
            if opened not in self._tokens:  # else `_instrument` has just built the bridge
                self._enter_bridge(opened)
        elif self._spans and awaited.is_imported():  # imported without our finder
            awaited.forget(self._on_import)
            self._on_import()

    def leave(self, opened: OpenScope) -> None:
        """Stop capturing for a scope that was closed; record its HTTP calls to model hosts."""
        for (host, client), calls in self._http.close().items():
            _recorder.record_into(
                opened, CAPTURE, {"http_calls": calls}, {"host": host, "client": client}
            )
        if self._spans and self._wanted == (AUTO,):
            self._report_missed(imported_clients() - self._imported)
        self._entered.pop(opened, None)
        if self._bridge is not None:
            self._leave_bridge(opened)

    def _report_missed(self, clients: set[str]) -> None:
        self._imported |= clients
        for name in sorted(clients - {"anthropic"} if anthropic_is_native() else clients):
            self._report(
                f"{name} was imported within a trial, and that trial's calls of it were not seen; "
                f"import it at the top of the file, or use --crucible-instrument={name}"
            )

    def close(self) -> None:
        """End with the session: turn off the instrumentors, and leave OpenTelemetry."""
        for undo in self._undo:
            try:
                undo()
            except Exception as error:  # from the library; the session is over anyway
                self._report(f"an instrumentor could not be turned off ({error!r:.200})")
        self._undo.clear()
        self._http.close()
        awaited.forget(self._on_import)
        self._spans = False
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None

    def _report(self, problem: str) -> None:
        if problem not in self._reported:
            self._reported.add(problem)
            _recorder.record_aside(self._store, CAPTURE, {"problem": problem})
