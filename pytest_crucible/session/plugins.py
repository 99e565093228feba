"""The plugins of a session: those that pytest has loaded, and other installed packages."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_crucible.exports.formats import Format, find_format, to_install

if TYPE_CHECKING:
    from pytest_crucible.hooks.plugins import Plugins


def loaded_plugins(config: pytest.Config, tell: Callable[[str], object]) -> Plugins:
    """Return the conftests and plugins that pytest has loaded. Imports no plugin."""
    from pytest_crucible.hooks.plugins import Plugins

    return Plugins([config.pluginmanager], tell)


def session_plugins(config: pytest.Config, tell: Callable[[str], object]) -> Plugins:
    """Return loaded plugins and installed packages; for sessions that have experiments.

    ``-p no:NAME`` blocks an installed package, too, and without autoload there are none.
    """
    from pytest_crucible.hooks.installed import installed_names, with_installed

    if _switched_off(config):
        return loaded_plugins(config, tell)
    blocked = filter(config.pluginmanager.is_blocked, installed_names())
    return with_installed(config.pluginmanager, tell, blocked)


def more_installed(config: pytest.Config) -> bool:
    """Return whether `session_plugins` may find more than `loaded_plugins`. Imports no plugin."""
    from pytest_crucible.hooks.installed import installed_names

    return bool(installed_names()) and not _switched_off(config)


def _switched_off(config: pytest.Config) -> bool:
    option: object = config.getoption("disable_plugin_autoload", False)
    return bool(option or os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"))


def wrong_format(wanted: str, known: Mapping[str, Format]) -> str | None:
    """Return why a session cannot write a format; None if it can."""
    format_and_compression = find_format(wanted, known)
    if format_and_compression is None:
        return f"unknown export format {wanted!r}; valid: {', '.join(sorted(known))}"
    missing = to_install(*format_and_compression)
    return f"{wanted} needs: pip install '{missing}'" if missing else None
