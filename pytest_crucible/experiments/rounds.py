"""Time a function in rounds: warm-up, calibration of the inner loop, rounds.

It imports only the standard library, because it is also the program that a fresh interpreter runs
for ``processes=5``: a request comes as JSON on standard input, the answer goes to standard output.
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from time import perf_counter_ns
from typing import Any

Call = Callable[[], object]

SHORTEST_NS = 1_000_000
"""A round takes at least 1 ms. Shorter rounds lose to the clock; longer ones are more often
interrupted by other processes, which the median over the rounds leaves out only if most are not."""
BUDGET_NS = 1_000_000_000
"""What all rounds of a measurement take together, unless ``rounds`` says how many."""
FEWEST, MOST = 5, 200
"""The fewest rounds of a measurement, all processes together, and the most of one process."""
_WARM_UP_NS = 20_000_000
_WARM_UP_CALLS = 10_000
_TRIES = 3


class NotTimedError(TypeError):
    """The function returns something to await: its call does no work."""


def resolution_ns() -> int:
    """Return the smallest step of the clock that two readings in a row show, in ns."""
    steps: list[int] = []
    while len(steps) < 50:
        began = perf_counter_ns()
        step = perf_counter_ns() - began
        if step:
            steps.append(step)
    return min(steps)


def spent_ns(call: Call, loops: int) -> int:
    """Return how long ``loops`` calls take, the inner loop included, in ns."""
    count = range(loops)
    began = perf_counter_ns()
    for _ in count:
        call()
    return perf_counter_ns() - began


def warmed_up(call: Call) -> int:
    """Call until 20 ms or 10,000 calls are over; return the fastest call's ns.

    Not the last one's: where other processes interrupt, the time is up in an interrupted call. Nor
    the first one's, which may import modules and fill caches: so three calls, unless they take a
    second.

    Raises:
        NotTimedError: the call returns an awaitable.
    """
    began = before = perf_counter_ns()
    fastest: float = math.inf
    for calls in range(1, _WARM_UP_CALLS + 1):
        result = call()
        now = perf_counter_ns()
        if calls == 1 and hasattr(result, "__await__"):
            if hasattr(result, "close"):
                result.close()
            raise NotTimedError("it returns an awaitable; measure a plain function")
        fastest, before = min(fastest, now - before), now
        enough = _WARM_UP_NS if calls >= _TRIES else BUDGET_NS
        if now - began >= enough:
            break
    return int(fastest)


def calibrated(call: Call, shortest_ns: float) -> tuple[int, int]:
    """Double the number of loops until a round is long enough, also where nothing interrupts it.

    Returns:
        The loops, and how long such a round took, in ns.
    """
    loops = 1
    while (spent := min(spent_ns(call, loops) for _ in range(_TRIES))) < shortest_ns:
        loops *= 2
    return loops, spent


def timed(
    call: Call, loops: int | None, rounds: int | None, budget_ns: float, fewest: int
) -> tuple[int, list[float]]:
    """Time a call.

    The time of the inner loop (about 10 ns per call) is not subtracted, as in pyperf.

    Args:
        call: takes no arguments.
        loops: calls per round; None: so many that a round takes 1 ms, and 100 times the clock's
            resolution.
        rounds: how many; None: as many as the budget allows.
        budget_ns: what the rounds take together.
        fewest: the fewest rounds if ``rounds`` is None.

    Returns:
        The loops, and ns per call of every round.

    Raises:
        NotTimedError: the call returns an awaitable.
    """
    shortest = max(SHORTEST_NS, 100 * resolution_ns())
    fastest = warmed_up(call)
    if loops is None:
        loops, spent = (1, fastest) if fastest >= shortest else calibrated(call, shortest)
    else:
        spent = fastest * loops
    if rounds is None:
        rounds = min(max(math.ceil(budget_ns / max(spent, 1)), fewest), MOST)
    return loops, [spent_ns(call, loops) / loops for _ in range(rounds)]


# --- the state of the process -----------------------------------------------------------------

_lock = threading.Lock()
_depth = 0
_collects = True


@contextmanager
def collecting(wanted: bool | None) -> Iterator[None]:
    """Switch the garbage collector on or off in a block, and restore it; None leaves it alone.

    Where blocks of several threads overlap, the last one that ends restores it.
    """
    global _depth, _collects
    if wanted is None:
        yield
        return
    with _lock:
        if not _depth:
            _collects = gc.isenabled()
        _depth += 1
    _switch(wanted)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if not _depth:
                _switch(_collects)


def _switch(on: bool) -> None:
    (gc.enable if on else gc.disable)()


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """Run this thread on one CPU in a block; None leaves it alone. Only where the system can."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def untraced() -> Iterator[None]:
    """Switch tracing (coverage, a debugger) off in a block: it would be what is measured."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


def bound(func: Callable[..., object], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    """Return a call without arguments; without a wrapper if there are none to bind."""
    return partial(func, *args, **kwargs) if args or kwargs else func


# --- in a fresh interpreter -------------------------------------------------------------------


def found(module: str, qualname: str) -> Any:
    """Import what a qualified name names.

    Raises:
        ImportError, AttributeError: there is no such thing.
    """
    thing: Any = import_module(module)
    for name in qualname.split("."):
        thing = getattr(thing, name)
    return thing


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measure what a request names.

    Returns:
        ``loops`` and ``ns``, an ``error``, or why it is ``unknown``.
    """
    try:
        func = found(request["module"], request["qualname"])
    except Exception as error:
        return {"unknown": f"{type(error).__name__}: {error}"}
    call = bound(func, request["args"], request["kwargs"])
    plan = (request[key] for key in ("loops", "rounds", "budget_ns", "fewest"))
    try:
        with pinned(request["affinity"]), collecting(request["gc"]), untraced():
            loops, ns = timed(call, *plan)
    except BaseException as error:
        if not isinstance(error, NotTimedError):
            traceback.print_exc()
        return {"error": f"raised {type(error).__name__}: {error}"}
    return {"loops": loops, "ns": ns}


def main() -> None:
    """Answer one request. What the function prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.read())
    sys.path[:] = request["path"]
    with out:
        json.dump(answer(request), out)


if __name__ == "__main__":
    main()
