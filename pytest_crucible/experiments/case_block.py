"""Cases in a loop: ``with experiment.case("q17", cluster="doc3"):`` makes a trial of a block."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Mapping
from contextvars import Token
from enum import Enum
from numbers import Number
from typing import Any, Generic, Literal, Protocol, TypeVar

from pytest_crucible import _clock
from pytest_crucible._errors import DefinitionError
from pytest_crucible._text import one_line
from pytest_crucible.capture.open_scope import OpenScope, current_scope
from pytest_crucible.capture.recorder import record_into
from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP
from pytest_crucible.events.fingerprint import fingerprint
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.raised import outcome_of, raised_at
from pytest_crucible.metrics.trials import BLOCK
from pytest_crucible.runs.experiment_definition import Definition

OnFailure = Literal["raise", "record"]
RAISE, KEEP = "raise", "record"

TAGS = "tags"
"""Name of the slices by the tags of the marker."""

_LONGEST = 500
_LONGEST_SLICE = 60


class Scopes(Protocol):
    """Opens and closes scopes in a record."""

    def open(self, scope: Scope, sampling: str | None = None) -> OpenScope: ...
    def close_scope(self, opened: OpenScope) -> None: ...


class Referee(Protocol):
    """Says what becomes of a block; pytest has one of its own.

    Attributes:
        on_failure: whether errors are raised or only recorded, unless a block says it.
    """

    on_failure: OnFailure

    def admit(self) -> None:
        """Raise if no further block may begin."""

    def decided(self) -> bool:
        """Return whether no further block is needed (``stop="decided"``)."""

    def judge(self, case: str, error: BaseException | None) -> tuple[str, str | None, bool]:
        """Return the outcome of a block, its error as text, and whether it may go no further.

        Args:
            case: id of the case.
            error: what the block raised; None if it ended normally.
        """


class Library:
    """The referee outside pytest: errors are recorded and raised."""

    on_failure: OnFailure = "raise"

    def admit(self) -> None:
        """Every block may begin."""

    def decided(self) -> bool:
        """Nothing is judged before the end."""
        return False

    def judge(self, case: str, error: BaseException | None) -> tuple[str, str | None, bool]:
        """See `Referee`."""
        text = None if error is None else raised_at(error)
        return outcome_of(error), text, isinstance(error, Exception)


class Inner(Protocol):
    """The handle of a block."""

    opened: OpenScope

    def flush(self) -> None: ...


Handle = TypeVar("Handle", bound=Inner)


class Outer(Protocol[Handle]):
    """The handle whose `Experiment.case` was called."""

    definition: Definition
    referee: Referee

    def enter(self, case: str) -> Handle: ...
    def leave(self, inner: Handle) -> None: ...


class CaseBlock(Generic[Handle]):
    """The context manager that `Experiment.case` returns.

    Args:
        outer: the handle whose method was called.
        case: id of the case.
        cluster: the group that the case belongs to; None: it is on its own.
        on_failure: ``raise`` or ``record``; None: as the referee says.
        metadata: describes the case.
    """

    def __init__(
        self,
        outer: Outer[Handle],
        case: str,
        cluster: str | None,
        on_failure: OnFailure | None,
        metadata: Mapping[str, Any],
    ) -> None:
        self._outer = outer
        self._case = case
        self._cluster = cluster
        self._on_failure = on_failure
        self._metadata = metadata
        self._handle: Handle | None = None
        self._token: Token[OpenScope | None] | None = None
        self._carried: Any = None
        self._began_ns = 0
        self._entered = False

    def __del__(self) -> None:
        if not self._entered:
            text = f"case {self._case!r} was never entered: use it as `with experiment.case(…):`"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def __enter__(self) -> Handle:
        if self._handle is not None:
            raise DefinitionError(f"case {self._case!r}: call case() again for another block")
        self._entered = True
        outer = self._outer
        outer.referee.admit()
        handle = self._handle = outer.enter(self._case)
        opened = handle.opened
        record_into(opened, TRIAL_START, {}, self._facts())
        opened.around = current_scope.get()
        self._token = current_scope.set(opened)
        # If spans are captured, OpenTelemetry's context must hold the same scope.
        bridge = sys.modules.get("pytest_crucible.bridges.opentelemetry")
        self._carried = bridge.carry(opened) if bridge is not None else None
        self._began_ns = _clock.monotonic_ns()
        return handle

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        duration = _clock.monotonic_ns() - self._began_ns
        handle = self._handle
        assert handle is not None
        assert self._token is not None
        bridge = sys.modules.get("pytest_crucible.bridges.opentelemetry")
        if bridge is not None and self._carried is not None:
            bridge.drop(self._carried)
        try:
            current_scope.reset(self._token)
        except ValueError:  # a generator that is closed in another context
            pass
        referee = self._outer.referee
        outcome, text, may_stay = referee.judge(self._case, error)
        swallowed = may_stay and (self._on_failure or referee.on_failure) == KEEP
        metadata = {"outcome": outcome} if text is None else {"outcome": outcome, "error": text}
        handle.flush()
        record_into(handle.opened, TRIAL_STOP, {"duration": duration}, metadata)
        self._outer.leave(handle)
        return swallowed

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {BLOCK: True}
        if self._cluster is not None:
            facts["cluster"] = self._cluster
        content = fingerprint(self._metadata)
        if content is not None:
            facts["fingerprint"] = content
        slices = {}
        definition = self._outer.definition
        for name in definition.slices:
            value = self._metadata.get(name, definition.metadata.get(name))
            texts = slice_texts(list(definition.tags) if name == TAGS else value)
            if texts:
                slices[name] = texts
        if slices:
            facts["slices"] = slices
        return facts


def case_text(what: str, value: object) -> str:
    """Return the id of a case, or of a cluster, as text.

    Args:
        what: ``case`` or ``cluster``, for the message.
        value: a text, a number or another plain value.

    Raises:
        DefinitionError: it is None, empty, too long, not printable, or no plain value.
    """
    if isinstance(value, Enum):
        value = value.value
    plain = isinstance(value, Number) or type(value).__str__ is not object.__str__
    plain = plain and getattr(value, "shape", ()) == ()  # no array
    empty = value is None or (isinstance(value, Number) and value != value)  # NaN, as in pandas
    if empty or not plain or isinstance(value, (Mapping, list, tuple, set, frozenset, bytes)):
        raise DefinitionError(f"{what} must be a text or a number, not {value!r:.80}")
    text = str(value)
    if not text.strip() or not text.isprintable() or len(text) > _LONGEST:
        raise DefinitionError(
            f"{what} must be printable text of up to {_LONGEST} characters, not {text!r:.80}"
        )
    return text


def slice_texts(value: object) -> list[str]:
    """Return the slices that a value puts a case into: none for None, several for a list."""
    if value is None:
        return []
    several = isinstance(value, (list, tuple, set, frozenset))
    values = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
    if several:
        values = sorted(values, key=str)
    return [_slice_text(each.value if isinstance(each, Enum) else each) for each in values]


def _slice_text(value: object) -> str:
    """Return a short text; long ones that begin alike keep different ends."""
    text = str(value)
    line = one_line(text).strip() or "(empty)"
    if len(line) <= _LONGEST_SLICE:
        return line
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"{line[: _LONGEST_SLICE - 7]}…{digest[:6]}"


def check_block(case: object, cluster: object, on_failure: object) -> tuple[str, str | None]:
    """Return case and cluster as texts.

    Raises:
        DefinitionError: one of them is no plain value, or ``on_failure`` is neither of its values.
    """
    if on_failure not in (None, RAISE, KEEP):
        raise DefinitionError(f"on_failure={on_failure!r} is not one of {RAISE}, {KEEP}")
    return case_text("case", case), None if cluster is None else case_text("cluster", cluster)
