"""What tests of verdicts share: rows by metric, and arms made from outcomes and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.comparison import Comparison
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.subject import Subject
from tests.stats.support import Floats, cases, compare_groups, events, group, lognormal
from tests.stats.support import subject as plain_subject


def compared(base: Group, cand: Group, options: Options | None = None) -> dict[str, Comparison]:
    """The rows of two arms by metric."""
    return {each.metric: each for each in compare_groups(base, cand, options)}


def described(of: Group, *declared: Metric) -> Subject:
    """An arm whose metrics somebody declared."""
    return replace(plain_subject(of), catalog=Catalog(declared))


def latency(
    n: int, factor: float = 1.0, *, mark: str = "c", seed: int = 1, sigma: float = 0.2
) -> Group:
    """Cases that pass, with one operation each."""
    times = lognormal(n, seed, factor, sigma)
    return group(events(cases(n, mark=mark), latency_ms=times))


def passing(letters: str, *, mark: str = "c") -> Group:
    """A case with one trial per letter: p passes, f fails."""
    return group(events({f"{mark}{i}": letter for i, letter in enumerate(letters)}))


def scoring(values: Sequence[float] | Floats, *, name: str = "score", mark: str = "c") -> Group:
    """A case with one recorded number per value."""
    return group(events(cases(len(values), mark=mark), {name: [float(value) for value in values]}))


def random_arms(seed: int) -> tuple[Group, Group]:
    """Two arms of some size and shape, with numbers that are not kind."""
    rng = np.random.default_rng(seed)
    n, repeats = int(rng.integers(3, 40)), int(rng.choice([1, 1, 3]))
    mark = "c" if rng.random() < 0.7 else "d"
    change = float(rng.choice([1.0, 1.0, 1.1, 1.5, 3.0]))

    def arm(name: str, factor: float) -> Group:
        size = n * repeats
        letters = [
            "".join("pf"[int(x)] for x in rng.random(repeats) < 0.1 * factor) for _ in range(n)
        ]
        numbers = {
            "score": np.clip(rng.beta(4, 1, size) / factor, 0, 1).round(int(rng.integers(1, 4))),
            "waited": np.where(rng.random(size) < 0.5, 0.0, rng.exponential(9 * factor, size)),
            "shift": rng.normal(factor - 1, 1, size),
            "steps": rng.poisson(3 * factor, size).astype(float),
        }
        sigma = float(rng.choice([0.05, 0.3, 1.2]))
        return group(events(
            {f"{name}{i}": each for i, each in enumerate(letters)},
            {key: values.tolist() for key, values in numbers.items()},
            latency_ms=(factor * np.exp(rng.normal(3, sigma, size))).tolist(),
        ))  # fmt: skip

    return arm("c", 1.0), arm(mark, change)
