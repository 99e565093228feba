"""Runs to compare: the same cases, somewhat slower, worse, or with a few of them gone."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run import open_run
from pytest_crucible.analysis.run_comparison import RunComparison
from pytest_crucible.analysis.run_drafts import draft_runs, judge_drafts
from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP, Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.runs.experiment_definition import Definition
from pytest_crucible.runs.run import RecordedRun
from pytest_crucible.stats.comparison import Comparison
from tests.made_events import MS, event, recorded, write_run

LINE = 12


def observed(
    cases: Iterable[object] = range(40),
    *,
    experiment: str = "exp",
    condition: str = "default",
    failed: int = 0,
    slower: float = 1.0,
    dearer: float = 1.0,
    score: str | None = "score",
    model: str = "m1",
    noise: int | None = None,
    flaky: float = 0.0,
) -> Iterator[Event]:
    """A trial with one request per case; the first ones fail.

    Without ``noise`` two recordings are alike to the last digit; with it they differ as two
    recordings of the same code do, and ``flaky`` of the trials fail.
    """
    for number, case in enumerate(cases):
        rng = random.Random(str(case))
        chance = random.Random(f"{noise} {case} {condition}")
        spread = 0.0 if noise is None else 0.1
        scope = Scope(
            experiment=experiment,
            condition=condition,
            test=f"tests/t.py::test_it[{case}]",
            case=f"tests/t.py::test_it[{case}]",
            trial=1,
            attempt=1,
        )
        at = number * 1000
        place = {"file": "tests/t.py", "line": LINE, "slices": {"half": ["ab"[number % 2]]}}
        yield event(TRIAL_START, metadata=place, scope=scope, at_us=at)
        measurements = {
            "duration": round(
                100 * MS * rng.lognormvariate(0, 0.1) * slower * chance.lognormvariate(0, spread)
            ),
            "cost": 0.001 * dearer * rng.uniform(1, 2) * chance.lognormvariate(0, spread),
            "input_tokens": rng.randrange(90, 110) + round(100 * chance.gauss(0, spread)),
        }
        yield event(measurements=measurements, metadata={"model": model}, scope=scope, at_us=at)
        if score is not None:
            value = rng.betavariate(8, 2) + chance.gauss(0, spread)
            yield recorded({score: min(1.0, max(0.0, value))}, scope)
        bad = number < failed or chance.random() < flaky
        outcome = {"outcome": "failed" if bad else "passed"}
        yield event(TRIAL_STOP, {"duration": MS}, outcome, scope=scope, at_us=at)


def made(folder: Path, events: Iterable[Event], *definitions: Definition) -> Path:
    """A run folder."""
    return write_run(folder, events, definitions=definitions)


def compare_runs(
    base: tuple[RecordedRun, Results], cand: tuple[RecordedRun, Results], *more: Any
) -> RunComparison:
    """Two runs, if nothing else is decided with them; more arguments are those of `draft_runs`."""
    return judge_drafts([draft_runs(base, cand, *more)])[0]


def compared(base: Path, cand: Path) -> RunComparison:
    """What `crucible compare` compares."""
    first, second = (open_run(path) for path in (base, cand))
    return compare_runs((first, analyse(first)), (second, analyse(second)))


def verdicts(comparison: RunComparison) -> dict[str, str]:
    """The verdict per metric, of a comparison with one arm."""
    return {metric: row.verdict for metric, row in rows(comparison).items()}


def rows(comparison: RunComparison) -> dict[str, Comparison]:
    """The rows by metric, of a comparison with one arm."""
    (arm,) = comparison.arms
    return {each.metric: each for each in arm.comparisons}


def metrics(events: list[Event]) -> dict[str, Metrics]:
    groups = observe(events).groups
    return {condition: summarise(group) for (_, condition), group in groups.items()}
