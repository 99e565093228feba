"""Does `crucible ab` keep its promises? Simulated machines that drift, judged by the real rows.

The order of the runs is that of `turns.schedule`; the verdict on latency is that of `crucible
compare`, for which the two sides are any two runs. Prints one table: how often unchanged code is
REGRESSED, and how often a slowdown is found, beside what sessions one after the other would give.
``python -m benchmarks ab``
"""

from __future__ import annotations

import math
import time
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.cli.ab import MARGIN, ROUNDS
from pytest_crucible.metrics.observations import Group
from pytest_crucible.metrics.trials import Attempt, Trial
from pytest_crucible.stats.comparison import REGRESSED
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.row_drafts import draft_rows
from pytest_crucible.stats.subject import Subject
from pytest_crucible.turns.messages import Case
from pytest_crucible.turns.schedule import BASE, HEAD, match, schedule

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEED = 20_261_128
CASES = 30
RUNS = 2_000
BETWEEN = 0.5
"""Standard deviation of the logarithms of the levels of cases."""
LIMIT = 0.025
POWER = 0.85


@dataclass(frozen=True, slots=True)
class Machine:
    """How the speed of a machine changes from test to test.

    Attributes:
        deviation: standard deviation of the logarithm of its speed, an AR(1) process.
        memory: correlation of that from one test to the next.
        step: by how much it is slower from the middle on.
        spikes: share of the tests that take ten times as long.
    """

    deviation: float = 0.1
    memory: float = 0.9
    step: float = 0.3
    spikes: float = 0.0

    def slowness(self, tests: int, rng: np.random.Generator) -> Floats:
        """Draw the logarithm of how much longer each test takes; shape ``(tests,)``."""
        shocks = rng.normal(size=tests) * self.deviation * math.sqrt(1 - self.memory**2)
        slow = np.empty(tests)
        now = self.deviation * rng.normal()
        for test, shock in enumerate(shocks):
            now = self.memory * now + shock
            slow[test] = now
        slow[tests // 2 :] += math.log1p(self.step)
        return slow + math.log(10) * (rng.random(tests) < self.spikes)


STILL = Machine(0.0, 0.0, 0.0)
DRIFTING = Machine()
SPIKY = Machine(spikes=0.02)


@cache
def order(cases: int, rounds: int, in_turns: bool) -> tuple[Ints, Ints]:
    """Return side and case of each run, in order; arrays of shape ``(2 * cases * rounds,)``.

    Args:
        cases: number of cases.
        rounds: how often each runs on each side.
        in_turns: as `crucible ab` runs them; else one whole session after the other.
    """
    both = [Case("simulated", "default", f"case-{number}", 1, "") for number in range(cases)]
    steps = schedule(both, both, match(both, both), rounds)
    if not in_turns:
        steps.sort(key=lambda step: (step.side, step.round))
    sides, indices = np.array([(step.side, step.run.index) for step in steps]).T
    return sides, indices


def subject(cases: Ints, latencies: Floats) -> Subject:
    """Make one side, as if it came from a run folder.

    Args:
        cases: case of each run, shape ``(n,)``.
        latencies: in ms, shape ``(n,)``.
    """
    made, runs = Group("simulated", "default"), len(cases)
    made.cases = {f"case-{case}": case for case in range(int(cases.max()) + 1)}
    made.names = {"work.stop": 0}
    trials = np.empty(runs, dtype=np.int64)
    for case in range(int(cases.max()) + 1):
        own = cases == case
        trials[own] = np.arange(1, int(own.sum()) + 1)
    zeros, ones, nans = np.zeros(runs), np.ones(runs), np.full(runs, np.nan)
    for name, column in (("name", zeros), ("case", cases), ("trial", trials), ("time_us", zeros)):
        getattr(made, name).frombytes(column.astype(np.int64).tobytes())
    measured = {"latency_ms": latencies, "success": ones}
    for name, numbers in made.numbers.items():
        numbers.frombytes(measured.get(name, nans).astype(np.float64).tobytes())
    made.counted.frombytes(ones.astype(np.int8).tobytes())
    made.counted_cost = made.counted_tokens = made.judge = array("b", bytes(runs))
    done = [Attempt(("run", "main"), 1, "passed", 1.0)]
    made.trials = [
        Trial("simulated", "default", f"case-{case}", int(trial), "test", done)
        for case, trial in zip(cases, trials, strict=True)
    ]
    return Subject(made, {})


@dataclass(frozen=True, slots=True)
class Scene:
    """A simulated comparison.

    Attributes:
        what: its words.
        noise: standard deviation of the logarithm of a run, apart from the machine.
        factor: latency of the head relative to the base.
        machine: how its speed changes.
        margin: of the comparison.
        in_turns: whether cases take turns.
        cases, rounds: its size.
        promise: the share of REGRESSED that is promised; None: only shown.
        at_least: whether that is a lower limit.
    """

    what: str
    noise: float
    factor: float = 1.0
    machine: Machine = DRIFTING
    margin: float = MARGIN
    in_turns: bool = True
    cases: int = CASES
    rounds: int = ROUNDS
    promise: float | None = LIMIT
    at_least: bool = False

    def latencies(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw the latencies of both sides in ms, case by case; shape ``(cases * rounds,)``."""
        sides, cases = order(self.cases, self.rounds, self.in_turns)
        level = BETWEEN * rng.normal(size=self.cases)
        logs = level[cases] + self.noise * rng.normal(size=len(cases))
        logs += self.machine.slowness(len(cases), rng) + math.log(self.factor) * (sides == HEAD)
        logs = logs[np.argsort(cases, kind="stable")]
        sides = sides[np.argsort(cases, kind="stable")]
        return 100 * np.exp(logs[sides == BASE]), 100 * np.exp(logs[sides == HEAD])

    def subjects(self, rng: np.random.Generator) -> tuple[Subject, Subject]:
        """Simulate two runs."""
        cases = np.repeat(np.arange(self.cases), self.rounds)
        base, head = (subject(cases, latencies) for latencies in self.latencies(rng))
        return base, head

    @property
    def options(self) -> Options:
        """The options of the comparison."""
        return Options(margin=self.margin)


class Judge:
    """Judges the row of the latency, as `crucible ab` does, but no other.

    Runs of one scene differ only in their latencies: what the comparison makes of the rest (cases,
    levels) is worked out once.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        drafts = draft_rows(*scene.subjects(np.random.default_rng(SEED)), scene.options)
        self._levels = RowLevels.of(drafts)
        (self._draft,) = (draft for draft in drafts if draft.row.metric == "latency")

    def regressed(self, rng: np.random.Generator) -> bool:
        """Simulate one comparison: is the latency REGRESSED?"""
        assert self._draft.samples is not None
        base, head = (
            replace(sample, values=values)
            for sample, values in zip(self._draft.samples, self._scene.latencies(rng), strict=True)
        )
        (row,) = judge_rows([replace(self._draft, samples=(base, head))], self._levels)
        return row.verdict == REGRESSED


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a scene, and in how many of its runs the latency was REGRESSED."""

    scene: Scene
    hits: int
    runs: int

    @property
    def kept(self) -> bool:
        """Whether the promise is kept, within three standard errors of the simulation."""
        promise = self.scene.promise
        if promise is None:
            return True
        error = 3 * math.sqrt(promise * (1 - promise) / self.runs)
        share = self.hits / self.runs
        return share >= promise - error if self.scene.at_least else share <= promise + error

    def __str__(self) -> str:
        promise = self.scene.promise
        told = "" if promise is None else f"{'≥' if self.scene.at_least else '≤'} {promise:.1%}"
        mark = "" if self.kept else "  BROKEN"
        return f"{self.scene.what:<62} {self.hits / self.runs:>6.1%}  {told:>8}{mark}"


def scenes() -> Iterator[Scene]:
    """Yield what the table shows."""
    for noise in (0.05, 0.2, 0.5):
        yield Scene(f"unchanged, drift and a step, noise {noise:g}", noise)
    yield Scene("unchanged, drift and a step, noise 0.2, margin next to 0", 0.2, margin=1e-6)
    yield Scene("unchanged, also 2 % spikes of tenfold", 0.2, machine=SPIKY)
    yield Scene("unchanged, 6 cases × 10 rounds", 0.2, cases=6, rounds=10)
    yield Scene("unchanged, 100 cases × 2 rounds", 0.2, cases=100, rounds=2)
    yield Scene("2 % slower, the margin itself, noise 0.2", 0.2, 1 + MARGIN)
    found = {"factor": 1.1, "promise": POWER, "at_least": True}
    yield Scene("10 % slower, drift and a step, noise 0.1", 0.1, **found)  # type: ignore[arg-type]
    yield Scene("10 % slower, drift and a step, noise 0.2", 0.2, **found)  # type: ignore[arg-type]
    yield Scene("10 % slower, a still machine, noise 0.2", 0.2, machine=STILL, **found)  # type: ignore[arg-type]
    yield Scene(
        "unchanged, one session after the other, drift without a step", 0.2,
        machine=Machine(step=0.0), in_turns=False, promise=None,
    )  # fmt: skip


def simulate(scene: Scene, runs: int = RUNS) -> Row:
    """Simulate a scene; the same numbers every time."""
    judge = Judge(scene)
    rng = np.random.default_rng([SEED, zlib.crc32(scene.what.encode())])
    return Row(scene, sum(judge.regressed(rng) for _ in range(runs)), runs)


def main(chosen: Sequence[Scene] = (), runs: int = RUNS) -> int:
    """Print the table; returns 1 if a promise is broken."""
    began = time.perf_counter()
    print(
        f"REGRESSED in latency, {CASES} cases × {ROUNDS} rounds, margin {MARGIN:.0%}, {runs} runs"
    )
    rows = []
    for scene in chosen or scenes():
        rows.append(simulate(scene, runs))
        print(rows[-1], flush=True)
    print(f"{time.perf_counter() - began:.0f} s")
    return int(not all(row.kept for row in rows))
