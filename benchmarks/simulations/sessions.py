"""Simulated experiments, as if they came from a record: outcomes, latencies and costs of trials."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulations.populations import Floats
from pytest_crucible.analysis.results import ExperimentResult
from pytest_crucible.metrics.catalog import PLAIN
from pytest_crucible.metrics.observations import Group
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.trials import Attempt, Trial
from pytest_crucible.runs.experiment_definition import Definition

_PASSED, _FAILED = ([Attempt(("run", "main"), 1, word, 1.0)] for word in ("passed", "failed"))


@dataclass(frozen=True, slots=True)
class Design:
    """An experiment whose arms do not differ.

    Attributes:
        n: number of cases.
        rate: success rate.
        sigma: standard deviation of the logarithms of latencies and costs of one case.
        sigma_case: the same of the levels of cases, if they are paired.
        paired: both sides have the same cases.
        repeats: trials of each case.
    """

    n: int
    rate: float = 0.9
    sigma: float = 0.5
    sigma_case: float = 0.5
    paired: bool = True
    repeats: int = 1

    def __str__(self) -> str:
        words = "paired" if self.paired else "unpaired"
        repeated = f" × {self.repeats}" if self.repeats > 1 else ""
        return f"{self.n} cases{repeated}, {words}, σ {self.sigma:g}, success {self.rate:.0%}"

    @classmethod
    def drawn(cls, rng: np.random.Generator, most: int = 300) -> Design:
        """Draw any design: few cases and many, kind numbers and skewed ones."""
        n = int(np.exp(rng.uniform(np.log(6), np.log(most))))
        rate = float(rng.choice([0.5, 0.8, 0.95, 1.0]))
        return cls(
            n, rate, float(rng.choice([0.3, 0.5, 0.8, 1.2])), paired=bool(rng.random() < 0.7)
        )


@dataclass(frozen=True, slots=True)
class Cases:
    """What the arms of an experiment have in common: how hard, and how long, each case is."""

    design: Design
    level: Floats
    easy: Floats

    @classmethod
    def of(cls, design: Design, rng: np.random.Generator) -> Cases:
        """Draw the cases. Half of the variance of successes is between cases."""
        level = design.sigma_case * rng.standard_normal(design.n)
        return cls(design, level, rng.standard_normal(design.n))

    def arm(
        self,
        condition: str,
        rng: np.random.Generator,
        factor: float = 1.0,
        rate: float | None = None,
        prefix: str = "case",
    ) -> Group:
        """Draw the trials of an arm.

        Args:
            condition: its name.
            rng: source of random numbers.
            factor: of its latencies and costs.
            rate: its success rate; None: that of the design.
            prefix: of the names of the cases.
        """
        design = self.design
        cases = np.repeat(np.arange(design.n), design.repeats)
        ability = np.sqrt(0.5) * (self.easy[cases] + rng.standard_normal(cases.size))
        passed = ability < _normal_quantile(design.rate if rate is None else rate)
        numbers = {
            name: factor * scale * np.exp(self.level[cases] + design.sigma * noise)
            for name, scale, noise in zip(
                ("latency_ms", "cost_usd"),
                (100.0, 0.01),
                rng.standard_normal((2, cases.size)),
                strict=True,
            )
        }
        return group(condition, cases, passed, numbers, prefix)


def _normal_quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))


def group(
    condition: str,
    cases: NDArray[np.int64],
    passed: NDArray[np.bool_],
    numbers: Mapping[str, Floats],
    prefix: str = "case",
) -> Group:
    """Make the observations of an arm: one event per trial.

    Args:
        condition: name of the arm.
        cases: index of the case of every trial, ascending, shape ``(n,)``.
        passed: the outcome of every trial, shape ``(n,)``.
        numbers: columns of the events, of the shape ``(n,)``.
        prefix: of the names of the cases.
    """
    n = cases.size
    trials = np.arange(n) - np.searchsorted(cases, cases) + 1
    names = [f"{prefix}-{case}" for case in range(int(cases[-1]) + 1)]
    made = Group("simulated", condition)
    made.cases = {name: index for index, name in enumerate(names)}
    made.names = {"call.stop": 0}
    nans = np.full(n, np.nan)
    for name, column in (
        ("name", np.zeros(n)), ("case", cases), ("trial", trials), ("time_us", np.zeros(n))
    ):  # fmt: skip
        getattr(made, name).frombytes(column.astype(np.int64).tobytes())
    measured = {"success": passed.astype(np.float64), **numbers}
    for name, numbers_of in made.numbers.items():
        numbers_of.frombytes(measured.get(name, nans).tobytes())
    made.counted.frombytes(np.ones(n, dtype=np.int8).tobytes())
    made.counted_cost = made.counted if "cost_usd" in numbers else array("b", bytes(n))
    made.counted_tokens = made.judge = array("b", bytes(n))
    made.trials = [
        Trial("simulated", condition, names[case], number, "test", _PASSED if good else _FAILED)
        for case, number, good in zip(cases.tolist(), trials.tolist(), passed.tolist(), strict=True)
    ]
    return made


def result(groups: Mapping[str, Group], expect: Sequence[str] = ()) -> ExperimentResult:
    """Return an experiment of a session before it is judged."""
    definition = replace(
        Definition(name="simulated"), conditions=tuple(groups), expect=tuple(expect)
    )
    return ExperimentResult(
        definition=definition,
        conditions=tuple(groups),
        metrics={condition: summarise(each) for condition, each in groups.items()},
        catalog=PLAIN,
        groups=groups,
        spending={},
        verdicts=(),
        comparisons={},
        trials=tuple(trial for each in groups.values() for trial in each.trials),
        errors={},
    )
