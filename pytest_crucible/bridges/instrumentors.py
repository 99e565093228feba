"""Instrumentors make spans of a client's calls; this turns on at most one for each client."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from pytest_crucible._errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Client:
    """A client library and the instrumentors that can make spans of its calls, the best first.

    Attributes:
        module: of the client.
        instrumentors: pairs of module and class.
        package: what to ``pip install`` if there is no instrumentor.
    """

    module: str
    instrumentors: tuple[tuple[str, str], ...]
    package: str


CLIENTS = {
    "openai": Client(
        "openai",
        (
            ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
            ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
            ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
        ),
        "opentelemetry-instrumentation-genai-openai",
    ),
    "anthropic": Client(
        "anthropic",
        (
            ("opentelemetry.instrumentation.genai.anthropic", "AnthropicInstrumentor"),
            ("openinference.instrumentation.anthropic", "AnthropicInstrumentor"),
            ("opentelemetry.instrumentation.anthropic", "AnthropicInstrumentor"),
        ),
        "'anthropic>=2', which needs none",
    ),
    "litellm": Client(
        "litellm",
        (("openinference.instrumentation.litellm", "LiteLLMInstrumentor"),),
        "openinference-instrumentation-litellm",
    ),
    "google-genai": Client(
        "google.genai",
        (
            ("opentelemetry.instrumentation.google_genai", "GoogleGenAiSdkInstrumentor"),
            ("openinference.instrumentation.google_genai", "GoogleGenAIInstrumentor"),
        ),
        "opentelemetry-instrumentation-google-genai",
    ),
    "pydantic-ai": Client("pydantic_ai", (), "pydantic-ai"),
}
AUTO, NONE = "auto", "none"


def parse_instrument(text: str) -> tuple[str, ...]:
    """Parse and check ``auto``, ``none`` or names of clients, separated by commas.

    Raises:
        DefinitionError: a name is unknown.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if names in ((), (NONE,)):
        return ()
    if names == (AUTO,):
        return names
    for name in names:
        if name in (AUTO, NONE):
            raise DefinitionError(f"{name!r} cannot be combined with other names")
        if name not in CLIENTS:
            valid = ", ".join((AUTO, NONE, *CLIENTS))
            raise DefinitionError(f"unknown client {name!r}; valid: {valid}")
    return names


def instrument(names: Iterable[str]) -> tuple[list[Callable[[], None]], list[str]]:
    """Turn instrumentors on.

    Args:
        names: of clients, or ``auto`` for all that are imported by now. We do not import clients
            that nobody uses: that may be slow, or (litellm) use the network.

    Returns:
        Functions that turn them off again; and what could not be done, a sentence each.
    """
    undo: list[Callable[[], None]] = []
    problems: list[str] = []
    wanted = tuple(names)
    automatic = wanted == (AUTO,)
    for name in CLIENTS if automatic else wanted:
        client = CLIENTS[name]
        if automatic and client.module not in sys.modules:
            continue
        if not _installed(client.module):
            problems.append(f"{name} is not installed")
            continue
        try:
            done = _instrument_one(name, client)
        except Exception as error:  # from the library: it must not end the session
            problems.append(f"{name} could not be instrumented: {type(error).__name__}: {error}")
            continue
        if isinstance(done, str):
            problems.append(done)
        elif done is not None:
            undo.append(done)
    return undo, problems


def _instrument_one(name: str, client: Client) -> Callable[[], None] | str | None:
    if name == "pydantic-ai":
        return _instrument_pydantic_ai()
    if name == "anthropic" and anthropic_is_native():
        return None  # it makes spans itself; an instrumentor would make a second one of each call
    available = [pair for pair in client.instrumentors if _installed(pair[0])]
    if any(_is_on(module, kind) for module, kind in available):
        return None
    if not available:
        return f"{name} has no instrumentor: pip install {client.package}"
    module, kind = available[0]
    instrumentor = getattr(import_module(module), kind)()
    instrumentor.instrument()
    if not getattr(instrumentor, "is_instrumented_by_opentelemetry", True):
        return f"{name}: {module} does not work with the installed {client.module}"
    undo: Callable[[], None] = instrumentor.uninstrument
    return undo


def _instrument_pydantic_ai() -> Callable[[], None] | None:
    agent: Any = import_module("pydantic_ai").Agent
    if getattr(agent, "_instrument_default", False):
        return None
    agent.instrument_all()
    return lambda: agent.instrument_all(False)


def imported_clients() -> set[str]:
    """Return the names of the clients that are imported by now."""
    return {name for name, client in CLIENTS.items() if client.module in sys.modules}


def anthropic_is_native() -> bool:
    """Whether the installed anthropic makes spans of its calls by itself."""
    try:
        major = int(version("anthropic").partition(".")[0])
    except (PackageNotFoundError, ValueError):
        return False
    return major >= 2


def anthropic_is_silent() -> bool:
    """Whether the environment switches off Anthropic's own spans."""
    off = os.environ.get("ANTHROPIC_OPEN_TELEMETRY", "").lower() == "false"
    return off and anthropic_is_native()


def _is_on(module: str, kind: str) -> bool:
    loaded = sys.modules.get(module)
    if loaded is None:
        return False
    return bool(getattr(getattr(loaded, kind)(), "is_instrumented_by_opentelemetry", False))


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
