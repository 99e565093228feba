"""``experiment.measure(func, …)``: check what is asked, time it here or in fresh interpreters."""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median, stdev
from typing import Any

from pytest_crucible._errors import DefinitionError
from pytest_crucible._forks import in_child
from pytest_crucible.experiments import rounds as timing
from pytest_crucible.metrics.catalog import RESERVED_NAMES, Metric

UNIT = "ms"
"""Unit of the metric. Tables show it in the unit that fits: µs, s."""

_NAME = re.compile(r"[^\W\d][\w-]*")  # what expectations can name
_HERE = timing.__file__
_MEASURING = "CRUCIBLE_MEASURING"
"""Environment variable of the interpreters that measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long one call takes, in seconds.

    Attributes:
        name: of the metric.
        values: seconds per call, one tuple of rounds per process.
        loops: calls per round.
    """

    name: str
    values: tuple[tuple[float, ...], ...]
    loops: int

    @property
    def medians(self) -> tuple[float, ...]:
        """The median of the rounds of each process: the observations of the metric."""
        return tuple(map(median, self.values))

    @property
    def median(self) -> float:
        """The median of `medians`, as the metric's ``median``."""
        return median(self.medians)

    @property
    def mean(self) -> float:
        """The mean of `medians`, as the metric's ``mean``."""
        return fmean(self.medians)

    @property
    def min(self) -> float:
        """The fastest round."""
        return min(self._rounds)

    @property
    def sd(self) -> float | None:
        """Standard deviation of all rounds; None for a single one."""
        return stdev(self._rounds) if len(self._rounds) > 1 else None

    @property
    def processes(self) -> int:
        """Number of processes."""
        return len(self.values)

    @property
    def rounds(self) -> int:
        """Number of rounds of all processes together."""
        return len(self._rounds)

    @property
    def _rounds(self) -> tuple[float, ...]:
        return tuple(value for rounds in self.values for value in rounds)

    def __str__(self) -> str:
        spread = "" if self.sd is None else f" ± {_time(self.sd)}"
        return (
            f"{self.name}: {_time(self.median)}{spread} per call ({self.processes} × "
            f"{len(self.values[0])} rounds of {self.loops:,})"
        )


def _time(seconds: float) -> str:
    """``1.23 µs``: seconds in the unit that fits, with three significant digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how; see `Experiment.measure` for the meaning."""

    func: Callable[..., object]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    name: str
    rounds: int | None
    loops: int | None
    gc: bool | None
    affinity: int | None
    processes: int


def planned(
    func: Callable[..., object],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    name: str | None,
    declared: Iterable[Metric],
    **how: Any,
) -> Plan:
    """Check what a user asks for.

    Args:
        func, args, kwargs: the call.
        name: of the metric; None: that of the function.
        declared: the metrics that the experiment declares.
        how: the other fields of `Plan`.

    Raises:
        DefinitionError: one line that names the value and what would be valid.
    """
    if not callable(func):
        raise DefinitionError(f"measure({func!r:.80}): it takes a function and its arguments")
    inner = func
    while isinstance(inner, partial):
        inner = inner.func
    called = getattr(type(inner), "__call__", None)  # noqa: B004 (of the class, not the function)
    name = getattr(func, "__name__", None) if name is None else name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f'measure: {name!r} cannot be the name of a metric; give one: name="parse"'
        )
    if name in RESERVED_NAMES:
        raise DefinitionError(f"measure: {name!r} is a built-in metric; give another: name=…")
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(called):
        raise DefinitionError(
            f"measure({name}): a coroutine function only makes coroutines; measure a plain "
            "function that runs it, such as lambda: asyncio.run(work())"
        )
    for metric in declared:
        if metric.path == name and metric.unit not in ("", UNIT):
            raise DefinitionError(
                f"measure({name}): metrics= declares the unit {metric.unit!r}; measured is {UNIT}"
            )
    plan = Plan(func=func, args=args, kwargs=kwargs, name=name, **how)
    _check_numbers(plan)
    if plan.processes > 1:
        _check_elsewhere(plan)
    return plan


def _check_numbers(plan: Plan) -> None:
    for what in ("rounds", "loops", "processes"):
        number = getattr(plan, what)
        whole = isinstance(number, int) and not isinstance(number, bool) and number >= 1
        if not (whole or (number is None and what != "processes")):
            raise DefinitionError(
                f"measure({plan.name}): {what}={number!r} is no whole number from 1"
            )
    if not (plan.gc is None or isinstance(plan.gc, bool)):
        raise DefinitionError(f"measure({plan.name}): gc={plan.gc!r} is not True, False or None")
    if plan.affinity is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise DefinitionError(f"measure({plan.name}): affinity= is not available on {sys.platform}")
    valid = sorted(os.sched_getaffinity(0))
    if isinstance(plan.affinity, bool) or plan.affinity not in valid:
        raise DefinitionError(
            f"measure({plan.name}): affinity={plan.affinity!r} is no CPU of this process; "
            f"valid: {', '.join(map(str, valid))}"
        )


def _check_elsewhere(plan: Plan) -> None:
    """Refuse what a fresh interpreter could not call."""
    func, several = plan.func, f"processes={plan.processes}"
    if _MEASURING in os.environ:
        # Each process would start the next ones, without end.
        raise DefinitionError(
            f"measure({plan.name}): the module of a measured function measures when it is "
            'imported, which the fresh interpreters do; put that below if __name__ == "__main__":'
        )
    module, qualname = (getattr(func, name, None) for name in ("__module__", "__qualname__"))
    place = f"{module}.{qualname}"
    try:
        importable = module != "__main__" and timing.found(str(module), str(qualname)) is func
    except (ImportError, AttributeError):
        importable = False
    if not importable:
        raise DefinitionError(
            f"measure({plan.name}): {several} needs a function that a fresh interpreter can "
            f"import by name, at the top of a module; {place} is none (a lambda, a closure, a "
            "method of an object and what stands in __main__ are not)"
        )
    for label, value in (*enumerate(plan.args, 1), *plan.kwargs.items()):
        if not _is_json(value):
            raise DefinitionError(
                f"measure({plan.name}): {several} takes arguments that are JSON values (None, "
                f"bool, int, float, str, list, dict); argument {label} is {value!r:.60}"
            )


def _is_json(value: object) -> bool:
    """Whether JSON gives the value back as it is: no tuples, no subclasses, no other keys."""
    if type(value) is list:
        return all(map(_is_json, value))
    if type(value) is dict:
        return all(type(key) is str and _is_json(each) for key, each in value.items())
    return value is None or type(value) in (bool, int, float, str)


def measured(plan: Plan) -> tuple[Timing, tuple[str, ...]]:
    """Measure; return the timing, and a name for every process, unlike that of any other.

    Raises:
        DefinitionError: the function returns an awaitable, or cannot be imported elsewhere.
        RuntimeError: it raised in a fresh process, or ended it. What it raises here goes on.
    """
    if plan.processes > 1:
        return _elsewhere(plan)
    call = timing.bound(plan.func, plan.args, plan.kwargs)
    how = plan.loops, plan.rounds, timing.BUDGET_NS, timing.FEWEST
    with timing.pinned(plan.affinity), timing.collecting(plan.gc), timing.untraced():
        try:
            loops, ns = timing.timed(call, *how)
        except timing.NotTimedError as error:
            raise DefinitionError(f"measure({plan.name}): {error}") from error
    return Timing(name=plan.name, values=(_seconds(ns),), loops=loops), (_own,)


def _seconds(ns: Iterable[float]) -> tuple[float, ...]:
    return tuple(each / 1e9 for each in ns)


def _elsewhere(plan: Plan) -> tuple[Timing, tuple[str, ...]]:
    """Measure in fresh interpreters, one after the other. The first one says how many loops."""
    request: dict[str, Any] = {
        "path": [os.fspath(path) for path in sys.path],
        "module": plan.func.__module__,
        "qualname": plan.func.__qualname__,
        "args": plan.args,
        "kwargs": plan.kwargs,
        "loops": plan.loops,
        "rounds": plan.rounds,
        "budget_ns": timing.BUDGET_NS / plan.processes,
        "fewest": math.ceil(timing.FEWEST / plan.processes),
        "gc": plan.gc,
        "affinity": plan.affinity,
    }
    values = []
    for _ in range(plan.processes):
        answer = _asked(plan.name, request)
        request |= {"loops": answer["loops"], "rounds": len(answer["ns"])}
        values.append(_seconds(answer["ns"]))
    made = Timing(name=plan.name, values=tuple(values), loops=request["loops"])
    return made, tuple(secrets.token_hex(8) for _ in values)


def _asked(name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Start an interpreter, and return its answer."""
    import subprocess

    # Every process draws its own hash seed, as those of pyperf do: a fixed one would measure one
    # of many layouts of sets and dicts again and again.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONHASHSEED"}
    environment[_MEASURING] = "1"
    optimized = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    ended = subprocess.run(
        [sys.executable, "-P", *optimized, _HERE],
        input=json.dumps(request).encode(),
        stdout=subprocess.PIPE,
        env=environment,
        check=False,
    )
    where = f"{request['module']}.{request['qualname']}"
    if not ended.stdout:
        raise RuntimeError(
            f"measure({name}): the process that called {where} ended with exit code "
            f"{ended.returncode}"
        )
    answer: dict[str, Any] = json.loads(ended.stdout)
    if "unknown" in answer:
        raise DefinitionError(
            f"measure({name}): a fresh interpreter cannot import {where}: {answer['unknown']}"
        )
    if "error" in answer:
        raise RuntimeError(f"measure({name}): {where} in a fresh process {answer['error']}")
    return answer


_own = secrets.token_hex(8)
"""Name of this process, which no other one has."""


def _renew() -> None:
    global _own
    _own = secrets.token_hex(8)


in_child(_renew)
