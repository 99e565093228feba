"""Names and sizes on disk. Light: xdist's controller imports this module in every session."""

from __future__ import annotations

NODES = "nodes"
"""Subfolder of a run folder that holds the nodes' spools."""

SUFFIX = ".spool"
EVENT_TAG = 0
"""First item of an event's frame; `capture.frames` has the numbers of the other kinds."""

SEGMENT = 1 << 18
"""Bytes of a segment, by which spools grow. Making one stops the thread for 0.1 ms."""
