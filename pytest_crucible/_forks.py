"""What a process does that was forked while others of its threads were at work."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_child(do: Callable[[], None]) -> None:
    """Call ``do`` in every forked child from here on; it cannot be taken back."""
    if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
        os.register_at_fork(after_in_child=do)
