"""Every error this package raises on purpose.

::

    CrucibleError
    ├── DefinitionError (ValueError)    an experiment, marker or option that makes no sense
    │   └── ExpectationError            an expectation that cannot be parsed; knows the column
    ├── LifecycleError (RuntimeError)   stop after stop, resume without pause, …
    ├── ValidationError (ValueError)    events that break the rules of the catalog
    ├── ArtifactError (ValueError)      a file that is torn, empty, foreign or of another schema
    ├── OutputError (OSError)           a folder that cannot be written
    └── MissingExtraError (ImportError) an optional dependency; names the pip install

and one warning, `AttributionWarning`.

A message is one line for the user: what is wrong, where, and what to do.
"""

from __future__ import annotations


def came_between(error: Exception) -> bool:
    """Whether a signal handler raised an exception that was caught around a call of a C function.

    Signal handlers run when such a call returns, so their exceptions seem to come from the call.
    But a handler is Python code: its frame is in the traceback, and a C function has no frame.
    """
    traceback = error.__traceback__
    return traceback is not None and traceback.tb_next is not None


class CrucibleError(Exception):
    """Base class: catch this to catch everything above."""


class DefinitionError(CrucibleError, ValueError):
    """An experiment, marker or option that makes no sense."""


class ExpectationError(DefinitionError):
    """An expectation that cannot be parsed.

    Attributes:
        text: the expectation.
        column: 1-based column of the first character that cannot be parsed.
    """

    def __init__(self, problem: str, text: str, column: int) -> None:
        self.text = text
        self.column = column
        super().__init__(f"{problem} at column {column} of {text!r}")


class LifecycleError(CrucibleError, RuntimeError):
    """An experiment was asked for a step that its state does not allow."""


class AttributionWarning(UserWarning):
    """Several experiments are open, and events without context belong to none of them."""


class ValidationError(CrucibleError, ValueError):
    """Events that break the rules of the catalog, in an experiment with ``validate="error"``.

    Attributes:
        problems: number of events by problem.
    """

    def __init__(self, experiment: str, problems: dict[str, int]) -> None:
        self.problems = problems
        first, count = next(iter(problems.items()))
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        super().__init__(f"experiment {experiment!r}: {first} ({count} ×){more}")


class ArtifactError(CrucibleError, ValueError):
    """A file that is torn, empty, foreign or of another schema."""


class OutputError(CrucibleError, OSError):
    """A folder that cannot be written."""


class MissingExtraError(CrucibleError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str = "", *, package: str = "") -> None:
        install = package or f"'pytest-crucible[{extra}]'"
        super().__init__(f"{feature} needs: pip install {install}")
