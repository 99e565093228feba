"""Installed plugins: packages that register under the entry point group ``pytest_crucible``.

They need no pytest, so they also serve the command line and the library. A session uses them
together with the plugins that pytest has loaded.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pluggy import PluginManager

from pytest_crucible.exports.formats import Format
from pytest_crucible.hooks import specs
from pytest_crucible.hooks.plugins import Plugins

GROUP = "pytest_crucible"
_PREFIX = f"{GROUP}_"


class PluginWarning(UserWarning):
    """A plugin could not be loaded, or one of its hooks failed and is left out."""


class _Manager(PluginManager):
    """Finds implementations of hooks by their names, as pytest does; a marker may add options."""

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        is_hook = name.startswith(_PREFIX)
        return {"firstresult": False, "historic": False} if is_hook else None

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        # The name first: reading an attribute of a foreign object may have side effects.
        if not name.startswith(_PREFIX) or not inspect.isroutine(getattr(plugin, name)):
            return None
        marked = super().parse_hookimpl_opts(plugin, name)
        return marked or dict(getattr(getattr(plugin, name), "pytest_impl", {}))


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The installed plugins.

    Attributes:
        manager: has the plugins that could be loaded.
        problems: one line for every other plugin, and for every unknown hook.
    """

    manager: PluginManager
    problems: tuple[str, ...]


def installed_names() -> list[str]:
    """Return the names of the installed plugins without importing them."""
    return [entry.name for entry in entry_points(group=GROUP)]


@cache
def _load(skipped: frozenset[str] = frozenset()) -> _Loaded:
    manager = _Manager(GROUP)
    manager.add_hookspecs(specs)
    problems: list[str] = []
    for entry in entry_points(group=GROUP):
        if entry.name not in skipped:
            problems += _register(manager, entry)
    return _Loaded(manager, tuple(problems))


def _register(manager: PluginManager, entry: EntryPoint) -> Iterable[str]:
    plugin: object = None
    try:
        plugin = entry.load()
        if not manager.is_registered(plugin):
            manager.register(plugin, _name(manager, entry))
    except (Exception, SystemExit) as error:  # a foreign module may raise anything on import
        if manager.is_registered(plugin):  # half, in pluggy 1.5
            manager.unregister(plugin)
        message = " ".join(str(error).split())
        yield f"plugin {entry.name!r} cannot be loaded: {type(error).__name__}: {message}"
        return
    for caller in manager.get_hookcallers(plugin) or ():
        if not caller.has_spec():
            valid = ", ".join(name for name in vars(specs) if name.startswith(_PREFIX))
            yield f"plugin {entry.name!r}: unknown hook {caller.name!r}; valid: {valid}"


def _name(manager: PluginManager, entry: EntryPoint) -> str:
    """Return the name of an entry point; if it is taken, with the name of its package in front."""
    if not manager.has_plugin(entry.name):
        return entry.name
    return f"{entry.dist.name if entry.dist else entry.value}:{entry.name}"


def _warn(problem: str) -> None:
    warnings.warn(problem, PluginWarning, stacklevel=2)


@cache
def installed() -> Plugins:
    """Return the installed plugins. Every problem becomes a `PluginWarning`."""
    loaded = _load()
    for problem in loaded.problems:
        _warn(problem)
    return Plugins([loaded.manager], _warn)


def with_installed(
    manager: PluginManager, tell: Callable[[str], object], skipped: Iterable[str] = ()
) -> Plugins:
    """Return the plugins of a manager (that of pytest), and the installed ones that it lacks.

    Args:
        manager: a manager that knows the specifications of `specs`.
        tell: called with one line for every problem.
        skipped: names of plugins that the user has switched off.
    """
    loaded = _load(frozenset(skipped))
    for problem in loaded.problems:
        tell(problem)
    return Plugins([manager, loaded.manager], tell)


def known_formats() -> Mapping[str, Format]:
    """Return all formats of exports by name, including those of installed plugins."""
    return installed().formats()
