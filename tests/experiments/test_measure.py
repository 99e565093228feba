"""``experiment.measure``: what is refused, where it runs, and what may be concluded from it."""

from __future__ import annotations

import gc
import os
import random
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible.events.event import RECORD
from pytest_crucible.experiments.measure import Timing
from tests.session import support

WORK = """
import os

def work(times=1):
    return times * "x"

def noted(path):
    with open(path, "a") as file:
        file.write(f"{os.getpid()} {hash('a')}\\n")

def fails():
    raise ValueError("no good")

def dies():
    os._exit(3)

async def asks(): ...

class Inner:
    @staticmethod
    def work(): ...

    def method(self): ...

    async def __call__(self): ...
"""
FEW: dict[str, Any] = {"rounds": 2, "loops": 2}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that other processes can import."""
    tmp_path.joinpath("measured_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    import measured_work  # type: ignore[import-not-found]

    yield measured_work
    del sys.modules["measured_work"]


def closure() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


# --- what is refused ---------------------------------------------------------------------------

REFUSED: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("no function", (5,), {}, r"measure\(5\): it takes a function and its arguments"),
    ("no name", (lambda: 1,), {}, r"measure: '<lambda>' cannot be the name of a metric; give one"),
    ("odd name", (len, []), {"name": "a b"}, r"measure: 'a b' cannot be the name"),
    ("nameless", (partial(len, []),), {}, r"measure: None cannot be the name"),
    ("built-in", (len, []), {"name": "latency"}, r"measure: 'latency' is a built-in metric"),
    ("unit", (len, []), {"name": "slow"}, r"measure\(slow\): metrics= declares the unit 's'; meas"),
    ("rounds", (len, []), {"rounds": 0}, r"measure\(len\): rounds=0 is no whole number from 1"),
    ("loops", (len, []), {"loops": 1.5}, r"measure\(len\): loops=1.5 is no whole number from 1"),
    ("bool", (len, []), {"loops": True}, r"measure\(len\): loops=True is no whole number from 1"),
    ("none", (len, []), {"processes": None}, r"processes=None is no whole number from 1"),
    ("gc", (len, []), {"gc": "no"}, r"measure\(len\): gc='no' is not True, False or None"),
    ("lambda", (lambda: 1,), {"name": "f", "processes": 2}, r"processes=2 needs a function that a"),
    ("closure", (closure(),), {"processes": 2}, r"closure\.<locals>\.inner is none \(a lambda"),
    ("method", ([].append, 1), {"processes": 2}, r"measure\(append\): processes=2 needs a"),
    ("set", (len, {1}), {"processes": 2}, r"arguments that are JSON values .*; argument 1 is \{1"),
    ("tuple", (len, [(1,)]), {"processes": 2}, r"argument 1 is \[\(1,\)\]"),
    ("key", (sorted, []), {"processes": 2, "key": len}, r"argument key is <built-in function"),
    ("keys", (len, {1: 2}), {"processes": 2}, r"argument 1 is \{1: 2\}"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "more", "message"), [r[1:] for r in REFUSED],
                         ids=[r[0] for r in REFUSED])  # fmt: skip
def test_what_cannot_be_measured_is_one_line(
    given: tuple[Any, ...], more: dict[str, Any], message: str
) -> None:
    """It names the value and what would be valid; nothing is recorded."""
    declared = {"slow": crucible.Metric(unit="s")}
    with crucible.experiment("e", metrics=declared) as handle:
        with pytest.raises(crucible.DefinitionError, match=message) as caught:
            handle.measure(*given, **more)
        assert "\n" not in str(caught.value)
        assert list(handle.everything) == []
    crucible.cleanup(handle)


def test_coroutines_are_refused(experiment: crucible.Experiment, work: Any) -> None:
    """A coroutine function, whatever wraps it; and a function that returns an awaitable."""
    for func in (work.asks, partial(work.asks), partial(partial(work.asks)), work.Inner()):
        with pytest.raises(crucible.DefinitionError, match="only makes coroutines; measure a pl"):
            experiment.measure(func, name="f")
    with pytest.raises(crucible.DefinitionError, match=r"measure\(f\): it returns an awaitable"):
        experiment.measure(lambda: work.asks(), name="f")


def test_after_the_end_is_an_error() -> None:
    """As for ``record``."""
    handle = crucible.start("exp")
    crucible.stop(handle)
    with pytest.raises(crucible.LifecycleError, match="measure came too late"):
        handle.measure(len, [])
    crucible.cleanup(handle)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot pin")
def test_affinity_is_a_cpu_of_this_process(experiment: crucible.Experiment) -> None:
    """Others are refused with the valid ones; this thread is put back where it was."""
    before = os.sched_getaffinity(0)
    for odd in (-1, True, "0"):
        with pytest.raises(crucible.DefinitionError, match=r"affinity=.* is no CPU of this proc"):
            experiment.measure(len, [], affinity=odd)  # type: ignore[arg-type]
    seen: set[int] = set()
    experiment.measure(lambda: seen.update(os.sched_getaffinity(0)), name="f",
                       affinity=min(before), **FEW)  # fmt: skip
    assert seen == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_where_the_system_cannot_pin_it_is_said(
    experiment: crucible.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, and not in silence."""
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(crucible.DefinitionError, match=r"affinity= is not available on"):
        experiment.measure(len, [], affinity=0)


# --- here --------------------------------------------------------------------------------------


def test_a_measurement_is_an_observation_of_its_metric(experiment: crucible.Experiment) -> None:
    """The median of the rounds, in ms; all rounds are in the record."""
    timing = experiment.measure(sorted, [3, 1, 2], rounds=5, loops=10, reverse=True)
    assert (timing.name, timing.processes, timing.rounds, timing.loops) == ("sorted", 1, 5, 10)
    (event,) = (event for event in experiment.everything if event.name == RECORD)
    assert event.metadata["rounds_ms"] == pytest.approx([1e3 * each for each in timing.values[0]])
    recorded = experiment.metrics(exact=True).recorded["sorted"]
    assert recorded.count == 1
    assert recorded.median == pytest.approx(timing.median * 1e3)
    again = experiment.measure(sorted, [3, 1, 2], rounds=5, loops=10)
    (first, second) = (event for event in experiment.everything if event.name == RECORD)
    assert first.metadata["process"] == second.metadata["process"]
    assert again.values != timing.values


def test_the_collector_is_as_asked(experiment: crucible.Experiment) -> None:
    """Meanwhile; afterwards it is as it was."""
    seen: set[bool] = set()
    before = gc.isenabled()
    experiment.measure(lambda: seen.add(gc.isenabled()), name="f", gc=not before, **FEW)
    assert seen == {not before}
    assert gc.isenabled() == before


def test_an_error_goes_on(experiment: crucible.Experiment, work: Any) -> None:
    """That of the function, as it is; nothing is recorded."""
    with pytest.raises(ValueError, match="no good"):
        experiment.measure(work.fails)
    assert list(experiment.everything) == []


def test_a_timing_tells_what_was_seen() -> None:
    """The median of the processes, whatever one of them suffered."""
    timing = Timing(name="f", values=((1e-6, 3e-6, 2e-6), (4e-6, 4e-6, 4e-6)), loops=1_000)
    assert timing.medians == (2e-6, 4e-6)
    assert (timing.median, timing.mean, timing.min) == pytest.approx((3e-6, 3e-6, 1e-6))
    assert timing.sd == pytest.approx(1.265e-6, rel=1e-3)
    assert str(timing) == "f: 3 µs ± 1.26 µs per call (2 × 3 rounds of 1,000)"
    one = Timing(name="f", values=((2.5,),), loops=1)
    assert (one.sd, str(one)) == (None, "f: 2.5 s per call (1 × 1 rounds of 1)")
    shown = [str(Timing(name="f", values=((each,),), loops=1)) for each in (0.0123, 4.2e-8)]
    assert [each.split()[1:3] for each in shown] == [["12.3", "ms"], ["42", "ns"]]


# --- in fresh interpreters ---------------------------------------------------------------------


def test_every_process_is_a_fresh_interpreter(
    experiment: crucible.Experiment, work: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes, none of them this one; each draws its own hash seed and is an observation
    of its own."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    timing = experiment.measure(work.noted, str(tmp_path / "notes"), processes=3, rounds=2)
    notes = {tuple(line.split()) for line in tmp_path.joinpath("notes").read_text().splitlines()}
    assert len({pid for pid, _ in notes} - {str(os.getpid())}) == 3
    assert len({seed for _, seed in notes}) == 3
    assert (timing.processes, timing.rounds) == (3, 6)
    events = [event for event in experiment.everything if event.name == RECORD]
    assert len({event.metadata["process"] for event in events}) == 3
    assert {event.metadata["loops"] for event in events} == {timing.loops}


def test_what_goes_wrong_there_is_one_line(
    experiment: crucible.Experiment, work: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """An error, a death, and a module that cannot be imported there; nothing is recorded."""
    with pytest.raises(RuntimeError, match=r"measured_work\.fails in a fresh process raised Val"):
        experiment.measure(work.fails, processes=2)
    assert "Traceback" in capfd.readouterr().err  # of the other process: where it happened
    with pytest.raises(RuntimeError, match=r"called measured_work\.dies ended with exit code 3"):
        experiment.measure(work.dies, processes=2)
    made = types.ModuleType("made_here")
    made.func = work.work  # type: ignore[attr-defined]
    work.work.__module__, work.work.__qualname__ = "made_here", "func"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "made_here", made)
        with pytest.raises(crucible.DefinitionError, match=r"cannot import made_here\.func: Modul"):
            experiment.measure(work.work, processes=2)
    assert list(experiment.everything) == []


def test_a_module_that_measures_when_imported_starts_no_end_of_processes(
    pytester: pytest.Pytester,
) -> None:
    """The first fresh interpreter is told what to do instead."""
    pytester.makepyfile(
        endless="""
        import pytest_crucible as crucible

        def work(): ...

        with crucible.experiment("e") as handle:
            handle.measure(work, processes=2, rounds=1, loops=1)
        """
    )
    result = pytester.runpython_c("import endless")
    assert result.ret == 1
    result.stderr.fnmatch_lines(["*DefinitionError: measure(work): *cannot import endless.work: *"
                                 "measures when it is imported*__main__*"])  # fmt: skip


# --- what may be concluded ---------------------------------------------------------------------


def measured(
    condition: str, factor: float, sd: float, processes: int = 20, **more: Any
) -> crucible.Experiment:
    """What `measure` would have recorded of a function of a microsecond."""
    rng = random.Random(f"{condition} {factor} {sd}")
    with crucible.experiment("e", condition=condition, **more) as handle:
        for number in range(processes):
            value = 0.001 * factor * rng.lognormvariate(0, sd)
            facts = {"process": f"{condition}{number}", "loops": 1_024, "rounds_ms": [value]}
            handle.execute(RECORD, {"f": value}, facts)
    return handle


@pytest.mark.parametrize(
    ("factor", "sd", "verdict"),
    [(1.03, 0.01, "REGRESSED"), (0.97, 0.01, "IMPROVED"), (1.03, 0.1, "INCONCLUSIVE"),
     (1.0, 0.01, "INCONCLUSIVE"), (2.0, 0.1, "REGRESSED")],
)  # fmt: skip
def test_a_change_of_three_percent_gets_an_honest_verdict(
    factor: float, sd: float, verdict: str
) -> None:
    """Found where processes differ by 1 %, not claimed where they differ by 10 %."""
    before, after = measured("a", 1, sd), measured("b", factor, sd)
    (row,) = crucible.compare(before, after, margin=0.01)
    assert (row.metric, row.unit, row.better, row.n) == ("f.mean", "ms", "lower", (20, 20))
    assert (row.verdict, row.primary, row.scale) == (verdict, True, "ratio")
    assert row.low is not None
    assert row.high is not None
    assert row.low <= factor <= row.high
    for each in (before, after):
        crucible.cleanup(each)


def test_times_below_a_millisecond_are_no_scores() -> None:
    """All values lie between 0 and 1; their unit says that they are no shares of anything."""
    handle = measured("a", 1, 0.01)
    mean, median = crucible.judge(handle, "f.mean < 1", "f.median < 0.002")
    assert (mean.verdict, mean.note) == ("INCONCLUSIVE", None)
    assert "too few for a mean" in (mean.reason or "")
    assert median.verdict == "CONFIRMED"
    crucible.cleanup(handle)


def test_one_process_says_nothing_about_another() -> None:
    """However often it measured: a reason, and no verdict."""
    handles = [measured(name, 1, 0.01, processes=1) for name in ("a", "b")]
    (row,) = crucible.compare(*handles)
    why = "measured in one process, and another may differ: measure(…, processes=5)"
    assert (row.verdict, row.low, row.reason) == ("INCONCLUSIVE", None, why)
    assert why in str(crucible.compare(*handles))
    (claim,) = crucible.judge(handles[0], "f.median < 1")
    assert (claim.verdict, claim.reason) == ("INCONCLUSIVE", why)
    for each in handles:
        crucible.cleanup(each)


def test_several_measurements_of_a_process_are_alike() -> None:
    """Forty numbers of four processes are four observations."""
    handles = []
    for condition, factor in (("a", 1.0), ("b", 1.1)):
        with crucible.experiment("e", condition=condition) as handle:
            for number in range(40):
                value = 0.001 * factor * (1 + number // 10 / 10)
                facts = {"process": f"{condition}{number // 10}"}
                handle.execute(RECORD, {"f": value}, facts)
        handles.append(handle)
    (row,) = crucible.compare(*handles)
    assert (row.n, row.verdict) == ((4, 4), "INCONCLUSIVE")
    for each in handles:
        crucible.cleanup(each)


def test_numbers_that_were_measured_and_recorded_are_not_mixed() -> None:
    """Nobody knows what process the recorded ones are of."""
    handles = [measured(name, 1, 0.01) for name in ("a", "b")]
    with crucible.experiment("e", condition="c") as mixed:
        mixed.execute(RECORD, {"f": 0.001}, {"process": "p"})
        mixed.record(f=0.001)
    (row,) = crucible.compare(handles[0], mixed)
    assert row.verdict == "INCONCLUSIVE"
    assert "some values were measured, others recorded" in (row.reason or "")
    for each in (*handles, mixed):
        crucible.cleanup(each)


SESSION = """
import os
import random
import pytest
from pytest_crucible.events.event import RECORD

@pytest.mark.experiment("speed"{more})
def test_speed(experiment):
    factor = float(os.environ["FACTOR"])
    rng = random.Random(factor)
    for number in range(12):
        value = 0.001 * factor * rng.lognormvariate(0, 0.01)
        experiment.execute(RECORD, {{"f": value}}, {{"process": f"{{factor}} {{number}}"}})
"""


def test_a_slower_function_fails_the_session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured decides without being named; unless something else is."""
    pytester.makepyfile(test_it=SESSION.format(more=""))
    monkeypatch.setenv("FACTOR", "1.0")
    assert support.run(pytester).ret == 0
    monkeypatch.setenv("FACTOR", "1.2")
    baseline = f"--crucible-baseline={support.OUTPUT}"
    result = support.run(pytester, baseline, "--crucible-output=other")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "REGRESSED  1 regressed*", "  REGRESSED *f.mean *µs *µs *+2*.* % * 12 + 12*",
        "FAILED comparison with the baseline - REGRESSED: f.mean of speed",
    ])  # fmt: skip
    pytester.makepyfile(test_it=SESSION.format(more=', primary="latency"'))
    result = support.run(pytester, baseline, "--crucible-output=third")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["  shown only; *", "  regressed *f.mean *"])
