"""HTTP: how many calls went to model hosts, to notice calls that no span tells of.

Only counted, never read: host and path say whether it is a model's. The clients' ``send`` is
wrapped while a stretch is measured and put back afterwards.
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
_NONE: Counter[tuple[str, str]] = Counter()  # takes long to make
_ANTHROPIC = re.compile(r"/messages$")
_OPENAI = re.compile(r"/(chat/completions|completions|responses|embeddings)$")


def client_of(path: str) -> str:
    """Whose protocol a path belongs to: ``openai``, ``anthropic`` or ``other``."""
    if _ANTHROPIC.search(path):
        return "anthropic"
    return "openai" if _OPENAI.search(path) else "other"


class HttpWatch:
    """Counts calls to model hosts while it is open."""

    def __init__(self) -> None:
        self._wrapped: list[tuple[type, str, Any, Any]] = []
        self.calls: Counter[tuple[str, str]] = Counter()

    def open(self) -> None:
        """Begin to count; clients that are not imported yet are not seen."""
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
        """Stop; returns calls by host and protocol since the last time."""
        for owner, method, original, ours in self._wrapped:
            # Somebody who wrapped it after us keeps us inside; we only count.
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
                self._see(args, kwargs)
            except Exception:  # noqa: S110  (a client of another version: not ours to judge)
                pass
            return original(client, *args, **kwargs)

        return send

    def _see(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = args[0] if args else kwargs.get("request")
        url = args[1] if isinstance(first, str) else getattr(first, "url", None)
        host, path = getattr(url, "host", None), getattr(url, "path", None)
        if host is None or path is None:
            from urllib.parse import urlsplit

            parts = urlsplit(str(url))
            host, path = parts.hostname, parts.path
        if host and _PATHS.search(path):
            self.calls[host, client_of(path)] += 1
