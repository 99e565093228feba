"""HTTP: counts calls to model hosts, to notice calls for which there is no span.

It reads only the URL of a request, whose path says whether the call goes to a model. The clients'
``send`` methods are wrapped while a scope is open, and restored afterwards.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

_METHODS = (
    ("httpx", "Client", "send"), ("httpx", "AsyncClient", "send"),
    ("httpx2", "Client", "send"), ("httpx2", "AsyncClient", "send"),
    ("requests", "Session", "send"), ("aiohttp", "ClientSession", "_request"),
)  # fmt: skip
_MODULES = frozenset(module for module, _, _ in _METHODS)
_PATHS = re.compile(
    r"/(chat/completions|completions|responses|embeddings|messages)$"
    r"|:(generateContent|streamGenerateContent|predict|rawPredict)$"
    r"|/model/[^/]+/(invoke|converse)(-with-response-stream|-stream)?$"
)
_NONE: Counter[tuple[str, str]] = Counter()  # shared, because making one is slow
_ANTHROPIC = re.compile(r"/messages$")
_OPENAI = re.compile(r"/(chat/completions|completions|responses|embeddings)$")


def client_of(path: str) -> str:
    """Return whose protocol uses a path: ``openai``, ``anthropic`` or ``other``."""
    if _ANTHROPIC.search(path):
        return "anthropic"
    return "openai" if _OPENAI.search(path) else "other"


class HttpWatch:
    """Counts calls to model hosts while it is open.

    Attributes:
        calls: number of calls by host and protocol.
    """

    def __init__(self) -> None:
        self._wrapped: list[tuple[type, str, Any, Any]] = []
        self.calls: Counter[tuple[str, str]] = Counter()

    def open(self) -> None:
        """Begin to count; calls of clients that are imported later are not counted."""
        if self._wrapped or sys.modules.keys().isdisjoint(_MODULES):
            return
        for module, kind, method in _METHODS:
            owner = getattr(sys.modules.get(module), kind, None)
            original = getattr(owner, "__dict__", {}).get(method)
            if isinstance(owner, type) and callable(original):
                ours = self._counting(original)
                setattr(owner, method, ours)
                self._wrapped.append((owner, method, original, ours))

    def close(self) -> Counter[tuple[str, str]]:
        """Stop counting; return the calls by host and protocol since the last ``close``."""
        for owner, method, original, ours in self._wrapped:
            # If other code has wrapped our wrapper, ours stays inside it: it does no harm.
            if owner.__dict__.get(method) is ours:
                setattr(owner, method, original)
        self._wrapped.clear()
        if not self.calls:  # as in most tests
            return _NONE
        calls, self.calls = self.calls, Counter()
        return calls

    def _counting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def send(client: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                self._count(args, kwargs)
            except Exception:  # noqa: S110  (an unknown version of a client: its call must go on)
                pass
            return original(client, *args, **kwargs)

        return send

    def _count(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = args[0] if args else kwargs.get("request")
        url = args[1] if isinstance(first, str) else getattr(first, "url", None)
        host, path = getattr(url, "host", None), getattr(url, "path", None)
        if host is None or path is None:
            from urllib.parse import urlsplit

            parts = urlsplit(str(url))
            host, path = parts.hostname, parts.path
        if host and _PATHS.search(path):
            self.calls[host, client_of(path)] += 1
