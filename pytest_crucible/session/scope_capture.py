"""Scope capture: experiments that record over a whole class, module or session."""

from __future__ import annotations

import pytest

from pytest_crucible.capture.open_scope import OpenScope, current_scope
from pytest_crucible.events.scope import SETUP, Scope
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.session.marker import IDENTITY
from pytest_crucible.session.span_capture import Capture

_NODES: dict[str, type[pytest.Collector] | type[pytest.Session]] = {
    "class": pytest.Class,
    "module": pytest.Module,
    "session": pytest.Session,
}


class ScopeCapture:
    """Opens a node's scope before its first test, and closes it after its last test.

    The node is the class, module or session that ``scope=`` of a marker names.
    """

    def __init__(self, recording: NodeRecording, capture: Capture) -> None:
        self._recording = recording
        self._capture = capture
        self._open: dict[tuple[str, str], tuple[pytest.Item | pytest.Collector, OpenScope]] = {}
        self._handles: dict[OpenScope, Experiment] = {}

    def enter(self, item: pytest.Item) -> None:
        """Open the scope that begins with ``item``, if one does; make the innermost one current."""
        identity = item.stash.get(IDENTITY, None)
        if identity is not None and identity.definition.scope != "test":
            node = _node_of_scope(item, identity.definition.scope)
            key = (identity.definition.name, node.nodeid)
            condition = SETUP if identity.definition.conditions else identity.condition
            present = self._open.get(key)
            if present is not None and present[1].scope.condition not in (SETUP, condition):
                # A second arm begins: from now on, events between trials belong to neither arm.
                self._close(present[1])
                present, condition = None, SETUP
            if present is None:
                scope = Scope(experiment=identity.definition.name, condition=condition)
                opened = self._recording.open(scope, identity.definition.sampling)
                self._open[key] = (node, opened)
                self._handles[opened] = self._recording.handle(identity.definition, opened)
                self._capture.enter(opened)
        self.resume()

    def leave(self, nextitem: pytest.Item | None) -> None:
        """Close the scopes of nodes that do not contain ``nextitem``; None: close all."""
        parents = nextitem.listchain() if nextitem is not None and self._open else []
        for key, (node, opened) in list(self._open.items()):
            if node not in parents:
                self._close(opened)
                del self._open[key]
        self.resume()

    def _close(self, opened: OpenScope) -> None:
        self._handles.pop(opened).settle()  # records invalid events, which fail the session
        self._capture.leave(opened)
        self._recording.close_scope(opened)

    def resume(self) -> None:
        """Make the innermost open scope current; none if there are several innermost, or none."""
        if not self._open:  # the common case; this is called three times per test
            current_scope.set(None)
            return
        depths = {opened: len(node.listchain()) for node, opened in self._open.values()}
        deepest = max(depths.values())
        innermost = [opened for opened, depth in depths.items() if depth == deepest]
        current_scope.set(innermost[0] if len(innermost) == 1 else None)


def _node_of_scope(item: pytest.Item, scope: str) -> pytest.Item | pytest.Collector:
    # For a function outside any class, scope="class" means the function itself.
    return item.getparent(_NODES[scope]) or item
