"""Subject: one condition of an experiment, as estimates, claims and comparisons look at it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_crucible.metrics.catalog import BUILT_IN, PLAIN, Catalog, Numbers
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.draws import sample_of
from pytest_crucible.stats.estimates import Estimate, estimate
from pytest_crucible.stats.samples import Sample


@dataclass(frozen=True, slots=True)
class Subject:
    """One condition: its observations, its numbers by path, and what is known of the metrics."""

    group: Group
    numbers: Numbers
    catalog: Catalog = PLAIN

    def sample(self, path: str) -> Sample | None:
        """The observations behind a metric; None where it is a plain fact, or not known."""
        return sample_of(self.group, self.catalog[path])

    def estimate(self, path: str) -> Estimate:
        """A metric with its interval, or the reason why it has none."""
        return estimate(self.group, self.catalog[path], self.numbers)

    def bare(self) -> Iterable[str]:
        """Names of the numbers that came without observations: those that a plugin's hook gave."""
        given = {*self.group.recorded, *self.group.logged}
        return (
            path
            for path in self.numbers
            if path not in BUILT_IN
            and path.rpartition(".")[0] not in given
            and path not in self.group.declared
        )
