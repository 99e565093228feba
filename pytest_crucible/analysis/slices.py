"""Slices: an experiment by difficulty, language or any other property of its cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.comparison import Comparison
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.estimates import ALPHA, Estimate, estimate
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.metric_samples import sample_of
from pytest_crucible.stats.row_drafts import Draft, draft_rows
from pytest_crucible.stats.subject import Subject

MOST = 20
"""So many slices of one name have a row; the largest ones."""
_MOST_METRICS = 5
_NO_VALUE = "(none)"


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the cases of an experiment.

    Attributes:
        value: what these cases have in common, ``hard``.
        cases: their ids.
        subjects: every condition, with the observations of these cases.
        estimates: by condition and metric; the intervals of all slices hold together.
    """

    value: str
    cases: tuple[str, ...]
    subjects: Mapping[str, Subject]
    estimates: Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True, slots=True)
class Slices:
    """The slices of one name.

    Attributes:
        name: what the cases differ in, ``difficulty``.
        metrics: the metrics that are looked at.
        slices: the largest first.
        left_out: how many smaller slices are not among them.
    """

    name: str
    metrics: tuple[Metric, ...]
    slices: tuple[Slice, ...]
    left_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the slices as a dictionary, for JSON."""
        return {
            "by": self.name,
            "left_out": self.left_out,
            "slices": [
                {
                    "value": each.value,
                    "cases": len(each.cases),
                    "conditions": {
                        condition: {
                            path: {"value": e.value, "low": e.low, "high": e.high, "n": e.n}
                            for path, e in estimates.items()
                        }
                        for condition, estimates in each.estimates.items()
                    },
                }
                for each in self.slices
            ],
        }


@dataclass(frozen=True, slots=True)
class Sliced:
    """What slices are made of.

    Attributes:
        groups: the observations of every arm.
        catalog: describes the metrics.
        claimed: metrics of expectations, which are looked at first.
    """

    groups: Mapping[str, Group]
    catalog: Catalog
    claimed: Sequence[str] = ()


def slice_names(groups: Iterable[Group]) -> list[str]:
    """Return the names by which cases can be sliced."""
    trials = (trial for group in groups for trial in group.trials)
    return list(dict.fromkeys(name for trial in trials for name in trial.slices))


def slices_of(whole: Sliced, name: str) -> Slices:
    """Work out the slices of an experiment.

    The intervals of the slices of one name are corrected for their number (Bonferroni): they hold
    together, so that the best of twenty slices is not good by chance.

    Args:
        whole: the experiment.
        name: what to slice by.
    """
    members: dict[str, dict[str, None]] = {}
    for group in whole.groups.values():
        for trial in group.trials:
            for value in trial.slices.get(name) or (_NO_VALUE,):
                members.setdefault(value, {})[trial.case] = None
    ranked = sorted(members.items(), key=lambda item: (item[0] == _NO_VALUE, -len(item[1])))
    kept = ranked[:MOST]
    metrics = tuple(_metrics(whole))
    alpha = ALPHA / max(1, len(kept))
    return Slices(
        name=name,
        metrics=metrics,
        slices=tuple(_slice(whole, value, tuple(cases), metrics, alpha) for value, cases in kept),
        left_out=len(ranked) - len(kept),
    )


def _slice(
    whole: Sliced,
    value: str,
    cases: tuple[str, ...],
    metrics: Sequence[Metric],
    alpha: float,
) -> Slice:
    members = set(cases)
    subjects = {
        condition: Subject(group, {}, whole.catalog).part(members)
        for condition, group in whole.groups.items()
    }
    estimates = {
        condition: {metric.path: estimate(subject.group, metric, {}, alpha) for metric in metrics}
        for condition, subject in subjects.items()
    }
    return Slice(value, cases, subjects, estimates)


def _metrics(whole: Sliced) -> Iterator[Metric]:
    """Yield the metrics to look at: those of claims, then success rate and recorded numbers.

    Only metrics with observations: totals say more about the size of a slice than about it.
    """
    recorded = dict.fromkeys(name for group in whole.groups.values() for name in group.recorded)
    paths = [*whole.claimed, "success_rate", *(f"{name}.mean" for name in recorded)]
    found = 0
    for path in dict.fromkeys([*paths, "latency.p50", "cost.mean"]):
        metric = whole.catalog[path]
        samples = (sample_of(group, metric) for group in whole.groups.values())
        if any(sample is not None and sample.case_count for sample in samples):
            found += 1
            yield metric
            if found == _MOST_METRICS:
                return


@dataclass(frozen=True, slots=True)
class SliceDrafts:
    """The rows of slices before they are judged: by value of the slice."""

    rows: Mapping[str, Sequence[Draft]]

    def judged(self, levels: RowLevels) -> tuple[Comparison, ...]:
        """Return one row per slice and metric; they decide nothing.

        Levels are corrected for the number of slices (Bonferroni), so that the worst of twenty
        slices is not bad by chance.
        """
        shared = levels.shared(max(1, len(self.rows)))
        return tuple(
            replace(row, metric=f"{value}: {row.metric}", primary=False)
            for value, drafts in self.rows.items()
            for row in judge_rows(drafts, shared)
        )


def draft_slices(
    base: Slices, cand: Slices, condition: str, against: str, options: Options
) -> SliceDrafts:
    """Draft the comparison of every slice that both sides have.

    Args:
        base, cand: the slices of baseline and candidate by the same name.
        condition: the condition of the candidate.
        against: the condition of the baseline.
        options: as for the whole.
    """
    old = {each.value: each for each in base.slices if against in each.subjects}
    shared = [each for each in cand.slices if each.value in old and condition in each.subjects]
    wanted = {metric.path.removesuffix(".p50").removesuffix(".mean") for metric in cand.metrics}
    return SliceDrafts(
        {
            each.value: [
                draft
                for draft in draft_rows(
                    old[each.value].subjects[against], each.subjects[condition], options
                )
                if draft.row.metric.removesuffix(".mean") in wanted
            ]
            for each in shared
        }
    )
