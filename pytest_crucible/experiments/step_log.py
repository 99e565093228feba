"""What a handle keeps about logged steps: the next step of each name, and who is told."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_crucible import _clock
from pytest_crucible.capture import bus as _bus
from pytest_crucible.events.event import LOG
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.catalog import MAX, MIN

if TYPE_CHECKING:
    from pytest_crucible.experiments.adapters import MetricsAdapter

_MOST = 2**63


def check_log(name: object, best: object) -> None:
    """Check a name and a direction.

    Raises:
        ValueError: the name is no printable text, or ``best`` neither min nor max.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"log({name!r}, …): the name must be non-empty, printable text")
    if best not in (None, MIN, MAX):
        raise ValueError(f"log({name!r}, …): best={best!r} is neither {MIN!r} nor {MAX!r}")


def check_adapter(adapter: object) -> None:
    """Check that ``adapter`` can be told numbers: found out at the first one, it is too late.

    Raises:
        TypeError: it lacks a method.
    """
    for method in ("record", "flush"):
        if isinstance(adapter, type) or not callable(getattr(adapter, method, None)):
            raise TypeError(f"log_to({adapter!r}): it takes an object with record, flush and read")


def plain_number(call: str, value: Any) -> float | int:
    """``value`` as a number that can be recorded; booleans are 0 and 1.

    Args:
        call: how the call begins that gave it, for the message.

    Raises:
        TypeError: it is no number.
    """
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    convert: Callable[[], Any] | None = getattr(value, "__float__", None)
    if convert is None or isinstance(value, str):
        raise TypeError(f"{call}{value!r}): a {type(value).__name__} is not a number")
    try:
        return float(value)
    except Exception as error:  # a conversion of somebody else's: say at least which number
        raise TypeError(f"{call}…): {error}") from error


def step_number(name: str, step: Any) -> int | None:
    """``step`` as a whole number; None stays None.

    Raises:
        TypeError: it is none, or beyond 64 bits.
    """
    if step is None:
        return None
    try:
        number = operator.index(step)
    except TypeError:
        number = _MOST
    if isinstance(step, bool) or not -_MOST <= number < _MOST:
        raise TypeError(f"log({name!r}, …): step={step!r} is not a whole number of 64 bits")
    return number


class StepLog:
    """The steps that one handle has logged, by name, and the adapters that it tells."""

    __slots__ = ("_next", "adapters")

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self.adapters: list[MetricsAdapter] = []

    def place(self, name: str, step: int | None) -> int:
        """The step to log under; without one, the one after the highest."""
        following = self._next.get(name, 0)
        placed = following if step is None else step
        self._next[name] = max(following, placed + 1)
        return placed

    def tell(
        self, run: str, scope: Scope, name: str, value: float, step: int, more: Mapping[str, Any]
    ) -> None:
        """Tell every adapter one number."""
        from pytest_crucible.experiments.adapters import LogEntry

        entry = LogEntry(
            run=run,
            experiment=scope.experiment,
            condition=scope.condition,
            case=scope.case,
            trial=scope.trial,
            attempt=scope.attempt,
            name=name,
            value=value,
            step=step,
            time_us=_clock.wall_ns() // 1000,
            metadata=dict(more),
        )
        self._each(lambda adapter: adapter.record(entry))

    def flush(self) -> None:
        """Flush every adapter."""
        self._each(lambda adapter: adapter.flush())

    def _each(self, call: Callable[[MetricsAdapter], object]) -> None:
        for adapter in self.adapters[:]:
            try:
                call(adapter)
            except Exception as error:
                # Like a handler that raises: whoever logs is not to blame, and must go on.
                self.adapters.remove(adapter)
                _bus.report_failure(type(adapter).__name__, LOG, error)
