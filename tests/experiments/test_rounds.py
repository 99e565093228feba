"""Rounds: how many calls, how many rounds, and that the process is left as it was."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_crucible.experiments import rounds

MS, S = 1_000_000, 1_000_000_000
READING = 20
"""What a reading of the made clock takes, in ns."""


class Clock:
    """A clock whose time passes only in readings, in calls, and where something interrupts them.

    Args:
        cost: what a call takes, in ns.
        step: the resolution, in ns.
        interrupted: the calls, by number, that take 15 ms more.
    """

    def __init__(self, cost: float, step: int = 1, interrupted: range = range(0)) -> None:
        self.now = 0.0
        self.cost, self.step, self.interrupted = cost, step, interrupted
        self.reading = max(READING, step // 20)  # of a coarse clock: else 50 steps take forever
        self.calls = 0

    def __call__(self) -> int:
        self.now += self.reading
        return int(self.now) // self.step * self.step

    def work(self) -> None:
        self.calls += 1
        self.now += self.cost + (15 * MS if self.calls in self.interrupted else 0)


@contextmanager
def running(clock: Clock) -> Iterator[Clock]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "perf_counter_ns", clock)
        yield clock


def how(loops: int | None = None, number: int | None = None) -> tuple[Any, ...]:
    return loops, number, rounds.BUDGET_NS, rounds.FEWEST


# --- how many ----------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(READING, 10_000_000))
def test_the_resolution_is_the_smallest_step_that_is_seen(step: int) -> None:
    """That of a coarse clock is its step, that of a fine one what a reading takes."""
    with running(Clock(0, step)):
        assert rounds.resolution_ns() == step
    with running(Clock(0)):
        assert rounds.resolution_ns() == READING


def test_the_real_clock_steps() -> None:
    """Of the machine that runs this: above 0, and below 1 ms."""
    assert 0 < rounds.resolution_ns() < MS


@settings(max_examples=40)
@example(MS, 15_625_000)
@given(st.floats(1_000, 5e6), st.sampled_from([1, 100, 30_000]))
def test_a_round_is_so_long_that_the_clock_does_not_matter(cost: float, step: int) -> None:
    """A step of the clock is below 1 % of a round, which takes at least 1 ms; no longer than need
    be."""
    with running(Clock(cost, step)) as clock:
        loops, found = rounds.timed(clock.work, *how(number=3))
    least = max(MS, 100 * step)
    assert loops * cost >= least * 0.98
    assert loops == 1 or loops * cost / 2 < least
    assert found == pytest.approx([cost] * 3, rel=0.02)


@pytest.mark.parametrize("cost", [50, 1_000, 100_000])
def test_interruptions_make_no_shorter_rounds(cost: int) -> None:
    """Neither the last call of the warm-up nor one long round says how many loops to make."""
    with running(Clock(cost)) as clock:
        quiet, _ = rounds.timed(clock.work, *how(number=1))
    for first in (1, 190, 10_001, 10_003):
        with running(Clock(cost, interrupted=range(first, first + 2))) as clock:
            assert rounds.timed(clock.work, *how(number=1))[0] == quiet


@pytest.mark.parametrize(("cost", "calls"), [(100, 10_000), (MS, 20), (30 * MS, 3), (S, 1)])
def test_it_is_warmed_up(cost: int, calls: int) -> None:
    """For 20 ms or 10,000 calls; three times, for the first may fill caches, but not if it takes
    a second."""
    with running(Clock(cost)) as clock:
        assert rounds.warmed_up(clock.work) == pytest.approx(cost, abs=READING + 1)
    assert clock.calls == calls


@pytest.mark.parametrize(
    ("cost", "expected"), [(10_000, 200), (MS, 200), (20 * MS, 50), (S, 5), (10 * S, 5)]
)
def test_rounds_take_a_second(cost: int, expected: int) -> None:
    """Together: at least 5, at most 200."""
    with running(Clock(cost)) as clock:
        loops, found = rounds.timed(clock.work, *how())
    assert (len(found), loops == 1) == (expected, cost >= MS)


def test_loops_and_rounds_may_be_given() -> None:
    """Then there is no calibration, and the budget goes by the loops."""
    with running(Clock(100_000)) as clock:
        loops, found = rounds.timed(clock.work, *how(7, 4))
        assert loops == 7
        assert found == pytest.approx([100_000] * 4, rel=0.01)
        assert clock.calls == 200 + 7 * 4
        assert len(rounds.timed(clock.work, *how(200))[1]) == pytest.approx(50, abs=2)


def test_what_returns_an_awaitable_is_refused() -> None:
    """Its call does no work. The coroutine is closed, so that nobody warns."""

    async def work() -> None:
        """Never runs."""

    class Future:
        """An awaitable without ``close``."""

        def __await__(self) -> Iterator[None]:
            yield

    for call in (lambda: work(), Future):
        with pytest.raises(rounds.NotTimedError, match="it returns an awaitable"):
            rounds.warmed_up(call)


# --- the state of the process ------------------------------------------------------------------


def fails(look: Callable[[], None]) -> None:
    """What is measured may raise."""
    look()
    raise KeyError


@pytest.fixture
def _collector() -> Iterator[None]:
    """Leaves the garbage collector as it was."""
    before = gc.isenabled()
    yield
    (gc.enable if before else gc.disable)()


@pytest.mark.usefixtures("_collector")
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("wanted", [True, False, None])
def test_the_collector_is_put_back(before: bool, wanted: bool | None) -> None:
    """Also after an error; None leaves it alone."""
    (gc.enable if before else gc.disable)()
    seen: list[bool] = []
    with pytest.raises(KeyError), rounds.collecting(wanted):
        fails(lambda: seen.append(gc.isenabled()))
    assert seen == [before if wanted is None else wanted]
    assert gc.isenabled() == before


@pytest.mark.usefixtures("_collector")
def test_the_last_of_several_threads_puts_the_collector_back() -> None:
    """Blocks that overlap do not restore what another one switched."""
    gc.enable()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with rounds.collecting(False):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with rounds.collecting(False):
        thread.start()
        assert inside.wait(10)
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot pin")
def test_the_affinity_is_put_back() -> None:
    """Also after an error; None leaves it alone."""
    before = os.sched_getaffinity(0)
    with rounds.pinned(None):
        assert os.sched_getaffinity(0) == before
    seen: list[set[int]] = []
    with pytest.raises(KeyError), rounds.pinned(min(before)):
        fails(lambda: seen.append(os.sched_getaffinity(0)))
    assert seen == [{min(before)}]
    assert os.sched_getaffinity(0) == before


def test_the_tracer_is_put_back() -> None:
    """Coverage and debuggers go on afterwards."""
    before = sys.gettrace()

    def tracer(*_: object) -> None:
        return None

    seen: list[object] = []
    sys.settrace(tracer)
    try:
        with pytest.raises(KeyError), rounds.untraced():
            fails(lambda: seen.append(sys.gettrace()))
        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert seen == [None]
    assert after is tracer


def test_without_arguments_there_is_no_wrapper() -> None:
    """A wrapper would be measured, too."""
    assert rounds.bound(dict, [], {}) is dict
    assert rounds.bound(dict, [[(1, 2)]], {"a": 3})() == {1: 2, "a": 3}


# --- in a fresh interpreter --------------------------------------------------------------------

WORK = """
import sys

class Inner:
    @staticmethod
    def work(times):
        print("numpy" in sys.modules, "pytest_crucible" in sys.modules)
        return times * "x"

def fails():
    raise ValueError("no\\tgood")

async def asks(): ...
"""


@pytest.fixture
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that can be imported."""
    tmp_path.joinpath("rounds_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("rounds_work", None)


def request(qualname: str, module: str = "rounds_work", **more: Any) -> dict[str, Any]:
    asked = {
        "path": [*sys.path], "module": module, "qualname": qualname, "args": [], "kwargs": {},
        "loops": 2, "rounds": 3, "budget_ns": 1, "fewest": 1, "gc": None, "affinity": None,
    }  # fmt: skip
    return asked | more


@pytest.mark.usefixtures("_module")
def test_an_answer_is_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Or an error of the function, or why it is unknown; never an exception."""
    answer = rounds.answer(request("Inner.work", kwargs={"times": 3}))
    assert (answer["loops"], len(answer["ns"])) == (2, 3)
    assert rounds.answer(request("fails")) == {"error": "raised ValueError: no\tgood"}
    assert 'raise ValueError("no' in capsys.readouterr().err  # the user sees where
    assert rounds.answer(request("asks"))["error"].startswith("raised NotTimedError: it returns an")
    assert capsys.readouterr().err == ""
    unknown = rounds.answer(request("nothing"))["unknown"]
    assert unknown.startswith("AttributeError: module 'rounds_work' has no attribute")
    gone = rounds.answer(request("a", module="no_such_module"))["unknown"]
    assert gone == "ModuleNotFoundError: No module named 'no_such_module'"


@pytest.mark.usefixtures("_module")
def test_a_fresh_interpreter_imports_nothing_else() -> None:
    """It is light, and what the function prints does not disturb the answer."""
    asked = json.dumps(request("Inner.work", args=[3])).encode()
    done = subprocess.run(
        [sys.executable, "-P", rounds.__file__], input=asked, capture_output=True, check=True
    )
    answer = json.loads(done.stdout)
    assert (answer["loops"], len(answer["ns"])) == (2, 3)
    assert set(done.stderr.decode().splitlines()) == {"False False"}
