"""What a handle is given: its checks, the next step of every logged name, and the adapters."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
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
    """Check the arguments of ``log``.

    Raises:
        ValueError: the name is not printable text, or ``best`` is neither min nor max.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"log({name!r}, …): the name must be non-empty, printable text")
    if best not in (None, MIN, MAX):
        raise ValueError(f"log({name!r}, …): best={best!r} is neither {MIN!r} nor {MAX!r}")


def check_adapter(adapter: object) -> None:
    """Check an adapter when it is attached, not at the first number.

    Raises:
        TypeError: it lacks a method.
    """
    for method in ("record", "flush"):
        if isinstance(adapter, type) or not callable(getattr(adapter, method, None)):
            raise TypeError(f"log_to({adapter!r}): it takes an object with record, flush and read")


def plain_number(call: str, value: Any) -> float | int:
    """Return ``value`` as a number that the record can hold; booleans become 0 and 1.

    Args:
        call: the beginning of the user's call, for the message: ``record(score=``.
        value: the value.

    Raises:
        TypeError: the value is not a number.
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
    except Exception as error:  # a foreign `__float__` may raise anything: name the number
        raise TypeError(f"{call}…): {error}") from error


def step_number(name: str, step: Any) -> int | None:
    """Return ``step`` as a whole number; None stays None.

    Raises:
        TypeError: the step is not a whole number of 64 bits.
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


def inserted_ns(at: object) -> int:
    """Return the time of an inserted event in ns since the epoch.

    Raises:
        TypeError: it is not a ``datetime``.
        ValueError: it has no time zone, or its ns do not fit the record.
    """
    if not isinstance(at, datetime):
        raise TypeError(f"insert(…, at={at!r:.80}): it takes a datetime with its time zone")
    time_us = _clock.time_us_of(at)
    if not 0 <= time_us < _MOST // 1000:
        raise ValueError(f"insert(…, at={at!r}): not between the years 1970 and 2261")
    return time_us * 1000


class StepLog:
    """The steps that one handle has logged, by name, and its adapters."""

    __slots__ = ("_next", "adapters")

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self.adapters: list[MetricsAdapter] = []

    def place(self, name: str, step: int | None) -> int:
        """Return the step to record; if ``step`` is None, one more than the highest so far."""
        following = self._next.get(name, 0)
        chosen = following if step is None else step
        self._next[name] = max(following, chosen + 1)
        return chosen

    def tell(
        self, run: str, scope: Scope, name: str, value: float, step: int, more: Mapping[str, Any]
    ) -> None:
        """Give one number to every adapter."""
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
        self._call_adapters(lambda adapter: adapter.record(entry))

    def flush(self) -> None:
        """Flush every adapter."""
        self._call_adapters(lambda adapter: adapter.flush())

    def _call_adapters(self, call: Callable[[MetricsAdapter], object]) -> None:
        for adapter in self.adapters[:]:
            try:
                call(adapter)
            except Exception as error:
                # As with a handler that raises: the code that logs must go on.
                self.adapters.remove(adapter)
                _bus.report_failure(type(adapter).__name__, LOG, error)
