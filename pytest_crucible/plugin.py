"""The pytest plugin: hooks only.

Pytest loads this module in every session, so it imports next to nothing. The code that records and
reports is imported and registered only in a session that has experiments.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_crucible.hooks import specs
from pytest_crucible.session.fixture import _condition, _trial, check_markers, experiment
from pytest_crucible.session.settings import SETTINGS, add_options, settle

__all__ = ["_condition", "_trial", "experiment"]

RECORDER = "crucible-recorder"
CONTROLLER = "crucible-controller"


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(specs)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _marker(config))
    config.stash[SETTINGS] = settle(config)
    if config.getoption("crucible_turns"):
        from pytest_crucible.session.turns import TURNS, Turns

        config.pluginmanager.register(Turns(config), TURNS)


# After the user's own parametrization, so that our parameters vary fastest.
@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("experiment") is not None:
        _import_plainly()
        from pytest_crucible.session.expand import expand

        expand(metafunc)


@pytest.hookimpl(tryfirst=True)  # before loadgroup appends "@group" to node ids
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _any_marked(items):
        _import_plainly()
        # Not `import roles`: pytester removes modules from `sys.modules`, but their package keeps
        # them as attributes. A session inside another session's process would get some modules
        # twice.
        from pytest_crucible.session.roles import gather

        gather(items, config)


# Once more, when all hooks have added their markers, but before a worker sends its node ids.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    if _any_marked(session.items):
        _import_plainly()
        from pytest_crucible.session.roles import Local, Worker, gather_late

        if gather_late(session.items, session.config) and not session.config.option.collectonly:
            config = session.config
            recorder = Worker(config) if hasattr(config, "workerinput") else Local(config)
            config.pluginmanager.register(recorder, RECORDER)
            recorder.begin(session)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    check_markers(item)  # before the test spends anything
    result = yield
    check_markers(item)
    return result


def _marker(config: pytest.Config) -> str:
    """The line that registers the marker; whole only where it is shown, for it takes imports."""
    if not config.getoption("markers", False):
        return "experiment(name, …): run this test as an experiment (pytest-crucible)"
    _import_plainly()
    from pytest_crucible.session.marker import marker_line

    return marker_line()


def _import_plainly() -> None:
    from pytest_crucible.session.unrewritten import import_plainly

    import_plainly()


def _any_marked(items: list[pytest.Item]) -> bool:
    """Whether any test has our marker; looks at each parent once, because suites are large."""
    seen_parents: set[object] = set()
    for item in items:
        for mark in item.own_markers:
            if mark.name == "experiment":
                return True
        parent = item.parent
        if parent is not None and parent not in seen_parents:
            seen_parents.add(parent)
            if parent.get_closest_marker("experiment") is not None:
                return True
    return False


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    from pytest_crucible.session.controller import Controller

    config = node.config
    controller = config.pluginmanager.getplugin(CONTROLLER)
    if controller is None:
        controller = Controller(config)
        config.pluginmanager.register(controller, CONTROLLER)
    controller.greet(node)
