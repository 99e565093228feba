"""Waiting for OpenTelemetry: its bridge is made when the code under test first imports it.

Most suites never do, and the SDK is a thirtieth of a second and some thousand objects. Without the
API in ``sys.modules`` there is no tracer, no provider and so no span that could be missed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from copy import copy
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PREFIX = "opentelemetry."
_API = "opentelemetry.trace"


def is_imported() -> bool:
    """Whether anything could make a span by now."""
    return _API in sys.modules


def await_import(told: Callable[[], None]) -> None:
    """Call ``told`` once, right before the first module of OpenTelemetry is imported.

    It may import all of OpenTelemetry itself, in the thread and the context of whoever was about
    to. It must not raise.
    """
    _finder.waiting.append(told)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def forget(told: Callable[[], None]) -> None:
    """Do not call ``told`` any more; one that was called, or never waited, is left alone."""
    if told in _finder.waiting:
        _finder.waiting.remove(told)
    if not _finder.waiting and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


class _Finder(MetaPathFinder):
    """Finds nothing by itself. One for the process: sessions may run within a session."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        waiting, self.waiting = self.waiting, []
        # First, or what they import would come here again.
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for told in waiting:
            told()
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        if module is None or spec is None:
            return None
        # They have imported the very module that is looked for, and it must not be made twice. In
        # such a case the import system takes the module's own spec, whatever we return.
        again: ModuleSpec = copy(spec)
        again.loader = _Loaded(module, spec)  # type: ignore[assignment]
        module.__spec__ = again
        return again


class _Loaded:
    """Loads a module that is there already; all else is left to the loader that made it."""

    def __init__(self, module: ModuleType, spec: ModuleSpec) -> None:
        self._module = module
        self._spec = spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spec.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


_finder = _Finder()
