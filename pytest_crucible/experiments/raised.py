"""What an exception means for a trial: its outcome, and where it was raised."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

PASSED, FAILED, ERRORED, INTERRUPTED = "passed", "failed", "errored", "interrupted"

_OURS = str(Path(__file__).parent.parent) + os.sep
_STDLIB = sysconfig.get_path("stdlib") + os.sep


def outcome_of(error: BaseException | None) -> str:
    """Return the outcome of code that raised: a wrong answer is not a broken harness.

    ``failed`` for a failed assertion, ``errored`` for other exceptions and ``sys.exit``,
    ``interrupted`` for what stops the code from outside (KeyboardInterrupt, a cancelled task).
    """
    if error is None:
        return PASSED
    if isinstance(error, AssertionError):
        return FAILED
    return ERRORED if isinstance(error, (Exception, SystemExit)) else INTERRUPTED


def raised_at(error: BaseException, root: Path | None = None) -> str:
    """Return the type of an error, and file and line of the user's code where it was raised.

    Without its message, because messages of assertions quote the model's answers.

    Args:
        error: the error.
        root: paths are shown relative to this folder; None: to the working directory.
    """
    kind = type(error).__name__
    steps = traceback.walk_tb(error.__traceback__)
    frames = [(frame.f_code.co_filename, line) for frame, line in steps]
    if not frames:
        return kind
    own = [frame for frame in frames if not is_library(frame[0])]
    path, line = (own or frames)[-1]
    try:
        path = os.path.relpath(path, root)
    except (ValueError, OSError):  # another drive, or no working directory
        pass
    return f"{kind} at {path}:{line}"


def is_library(path: str) -> bool:
    """Whether a file belongs to an installed library, to Python or to this package."""
    installed = "site-packages" in path or f"{os.sep}_pytest{os.sep}" in path
    return installed or path.startswith((_STDLIB, _OURS, "<"))
