"""Spans that know which experiment they belong to, whatever the context they run in."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import Any

from pytest_crucible._scope import OpenScope, current_scope
from pytest_crucible._span import Span


class BoundSpan(Span):
    """A span that carries its scope into the block."""

    _scope_token: Token[OpenScope | None] | None = None

    def __init__(self, opened: OpenScope, name: str, metadata: dict[str, Any]) -> None:
        super().__init__(name, metadata)
        self._opened = opened

    def __enter__(self) -> Span:
        self._enter_scope()
        span = super().__enter__()
        if self._childless:  # around a generator, which shares its caller's context
            self._leave_scope()
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._childless:
            self._enter_scope()
        super().__exit__(kind, error, traceback)
        self._leave_scope()

    def _enter_scope(self) -> None:
        self._scope_token = current_scope.set(self._opened)

    def _leave_scope(self) -> None:
        token, self._scope_token = self._scope_token, None
        if token is not None:
            try:
                current_scope.reset(token)
            except ValueError:
                pass  # left in another context than entered; see Span.__exit__

    def _like(self) -> Span:
        return BoundSpan(self._opened, self.name, dict(self._metadata))
