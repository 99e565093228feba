"""What tests of verdicts share: rows by metric, and arms made from outcomes and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.comparison import Comparison
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.subject import Subject
from tests.stats.support import cases, compare_groups, events, group, lognormal
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


def scoring(values: Sequence[float], *, name: str = "score", mark: str = "c") -> Group:
    """A case with one recorded number per value."""
    return group(events(cases(len(values), mark=mark), {name: [float(value) for value in values]}))
