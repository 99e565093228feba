"""Subject: one condition of an experiment, the input of estimates, verdicts and comparisons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_crucible.metrics.catalog import BUILT_IN, FORMULA, PLAIN, Catalog, Numbers
from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.part import part_of
from pytest_crucible.stats.estimates import Estimate, estimate
from pytest_crucible.stats.metric_samples import sample_of
from pytest_crucible.stats.samples import Sample, coverage


@dataclass(frozen=True, slots=True)
class Subject:
    """One condition of an experiment.

    Attributes:
        group: its observations.
        numbers: its metrics by path.
        catalog: describes the metrics.
    """

    group: Group
    numbers: Numbers
    catalog: Catalog = PLAIN

    def part(self, cases: Iterable[str]) -> Subject:
        """Return the observations of some cases; without the plain facts, which are of all."""
        return replace(self, group=part_of(self.group, set(cases)), numbers={})

    def sample(self, path: str) -> Sample | None:
        """Return the observations behind a metric; None if it is a plain fact, or unknown."""
        return sample_of(self.group, self.catalog[path])

    def estimate(self, path: str) -> Estimate:
        """Return a metric with its interval, or with the reason why it has none."""
        found = estimate(self.group, self.catalog[path], self.numbers)
        covered = coverage(self.group, path.rpartition(".")[0])
        return found if covered is None else replace(found, coverage=covered)

    def coverages(self) -> dict[str, tuple[int, int]]:
        """Return `coverage` of every recorded number that not all trials recorded, by name."""
        names = (*self.group.recorded, *self.group.logged)
        return {name: covered for name in names if (covered := coverage(self.group, name))}

    def bare(self) -> Iterable[str]:
        """Yield the names of numbers without observations, which come from a plugin's hook."""
        observed = {*self.group.recorded, *self.group.logged}
        return (
            path
            for path in self.numbers
            if path not in BUILT_IN
            and path.rpartition(".")[0] not in observed
            and path not in self.group.declared
            and self.catalog[path].drawn != FORMULA
        )
