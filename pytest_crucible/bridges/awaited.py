"""Waits for OpenTelemetry: the bridge is built when the code under test first imports it.

Most suites never import it, and importing the SDK takes 33 ms and makes some thousand objects. As
long as the API is not in ``sys.modules``, there is no tracer and no provider, so no span is missed.
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
    """Whether OpenTelemetry's API is imported, so that code could make spans."""
    return _API in sys.modules


def await_import(callback: Callable[[], None]) -> None:
    """Call ``callback`` once, right before the first module of OpenTelemetry is imported.

    It runs in the thread and the context of the code that imports. It may import any part of
    OpenTelemetry itself. It must not raise.
    """
    _finder.waiting.append(callback)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def forget(callback: Callable[[], None]) -> None:
    """Stop waiting to call ``callback``; if nothing waits to call it, do nothing."""
    if callback in _finder.waiting:
        _finder.waiting.remove(callback)
    if not _finder.waiting and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


class _Finder(MetaPathFinder):
    """Notices imports, and finds no module by itself.

    The process has one, because a session may run inside another session.
    """

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        waiting, self.waiting = self.waiting, []
        # Before the callbacks: their own imports must not come here again.
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for callback in waiting:
            callback()
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        if module is None or spec is None:
            return None
        # The callbacks have imported the very module that we look for, and it must not be made
        # twice. In this case the import system uses the module's own spec, whatever we return.
        loaded: ModuleSpec = copy(spec)
        loaded.loader = _Loaded(module, spec)  # type: ignore[assignment]
        module.__spec__ = loaded
        return loaded


class _Loaded:
    """Returns a module that is imported already; passes all else to the loader that made it."""

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
