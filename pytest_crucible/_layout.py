"""Where things stand on disk. Light: the controller of xdist needs these names in every session."""

from __future__ import annotations

NODES = "nodes"
"""Folder of a run folder that holds the nodes' spools."""

SUFFIX = ".spool"
EVENT_TAG = 0
"""First item of a frame that is an event; `pytest_crucible.capture.frames` has the other kinds."""

SEGMENT = 1 << 18
"""Spools grow by whole segments of this many bytes: making one stops its thread for 0.1 ms."""
