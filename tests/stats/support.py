"""Samples and groups for tests of the statistics, made from plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.events.event import Event
from pytest_crucible.metrics.observations import Group, observe
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.stats.comparison import Comparison
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.expectations import claims_of, judge_claims
from pytest_crucible.stats.expression import Expectation
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.row_drafts import draft_rows
from pytest_crucible.stats.samples import MEAN, Sample
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.verdict import Verdict
from tests.made_events import MS, event, recorded, trial, trial_scope

Floats = NDArray[np.float64]

SLEEP_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2])
SLEEP_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
"""R's `sleep`."""


def sample(
    values: Sequence[float] | Floats,
    cases: Sequence[int] | None = None,
    *,
    kind: str = MEAN,
    q: float = 0.5,
    names: Sequence[str] | None = None,
) -> Sample:
    """A sample; without cases its values belong to none."""
    index = None if cases is None else np.array(cases, dtype=np.int64)
    if names is None:
        names = [] if index is None else [f"c{i}" for i in range(int(index.max()) + 1)]
    return Sample(np.array(values, dtype=np.float64), index, tuple(names), kind, q)


def events(
    outcomes: Mapping[str, str], numbers: Mapping[str, Sequence[Any]] | None = None, **more: Any
) -> list[Event]:
    """Trials by case, ``{"a": "ppf"}``, and what each of them, counted through, recorded.

    ``latency_ms=[…]`` gives each trial one operation as well.
    """
    found: list[Event] = []
    latency, condition = more.get("latency_ms"), more.get("condition", "default")
    row = 0
    for case, letters in outcomes.items():
        for number, letter in enumerate(letters, 1):
            scope = trial_scope(case, number, condition=condition)
            outcome = {"p": "passed", "f": "failed", "s": "skipped", "c": None}[letter]
            start, *stop = trial(outcome, scope)
            found.append(start)
            measured = {
                name: each[row] for name, each in (numbers or {}).items() if row < len(each)
            }
            if measured:
                found.append(recorded(measured, scope))
            if latency is not None and row < len(latency):
                found.append(event(measurements={"duration": latency[row] * MS}, scope=scope))
            found += stop
            row += 1
    return found


def group(found: Iterable[Event], condition: str = "default") -> Group:
    """The observations of one arm."""
    return observe(found).group("exp", condition)


def subject(each: Group) -> Subject:
    """An arm with its metrics, for `judge`."""
    return Subject(each, dict(flatten(summarise(each))))


def rate_subject(passed: int, n: int) -> Subject:
    """``n`` cases with one trial each, of which ``passed`` pass."""
    outcomes = {f"case-{i}": "p" if i < passed else "f" for i in range(n)}
    return subject(group(events(outcomes)))


def judge(expectation: Expectation, subjects: Mapping[str, Subject]) -> list[Verdict]:
    """One expectation, if nothing else is decided with it."""
    return judge_claims(claims_of(expectation, subjects))


def compare_subjects(
    base: Subject, cand: Subject, options: Options | None = None
) -> list[Comparison]:
    """Two arms, if nothing else is decided with them."""
    drafts = draft_rows(base, cand, options)
    return judge_rows(drafts, RowLevels.of(drafts))


def compare_groups(base: Group, cand: Group, options: Options | None = None) -> list[Comparison]:
    """Two arms by their observations alone."""
    return compare_subjects(Subject(base, {}), Subject(cand, {}), options)


PERMEABILITY_1 = np.array([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46])


PERMEABILITY_2 = np.array([1.15, 0.88, 0.90, 0.74, 1.21])


def lognormal(n: int, seed: int, factor: float = 1.0, sigma: float = 0.2) -> list[float]:
    values = factor * np.exp(np.random.default_rng(seed).normal(0, sigma, n))
    return [round(float(value), 6) for value in values]


def cases(n: int, letters: str = "p", mark: str = "c") -> dict[str, str]:
    return {f"{mark}{i}": letters for i in range(n)}
