"""Forks: a forked child may inherit locks that threads of its parent held, and must renew them."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_child(do: Callable[[], None]) -> None:
    """Call ``do`` in every child forked from now on; there is no way to stop that."""
    if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
        os.register_at_fork(after_in_child=do)
