"""Drafts of comparison rows: observations of both sides, and why there may be no verdict.

A draft becomes a `Comparison` when its level is known, which depends on all others (`judged_rows`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.stats.change import DIFFERENCE, RATIO
from pytest_crucible.stats.comparison import (
    ADDED,
    INCONCLUSIVE,
    LACKING,
    NO_INTERVAL,
    REMOVED,
    Comparison,
)
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.estimates import BARE
from pytest_crucible.stats.family import OTHER, SUCCESS, Decision
from pytest_crucible.stats.matching import Matching, match
from pytest_crucible.stats.metric_changes import Question, centre, floor_of, ratio_scale
from pytest_crucible.stats.metric_samples import QUANTILES, numbers_behind, sample_of
from pytest_crucible.stats.ranges import outside_range
from pytest_crucible.stats.samples import FORMULA, RATE, TYPICAL, Sample, trials_without
from pytest_crucible.stats.subject import Subject


@dataclass(frozen=True, slots=True)
class Draft:
    """A row before it is known at which level it is judged.

    Attributes:
        row: the row; its verdict stands if there are no samples.
        samples: the observations of both sides; None if there is nothing to judge.
        question: what is asked of them.
        lacking: why the verdict could not be trusted; empty if it can.
        decision: what the row adds to its family.
    """

    row: Comparison
    samples: tuple[Sample, Sample] | None = None
    question: Question = field(default_factory=Question)
    lacking: str = ""
    decision: Decision = field(default_factory=lambda: Decision(OTHER, 1.0))


def draft_rows(
    base: Subject, cand: Subject, options: Options | None = None, matching: Matching | None = None
) -> list[Draft]:
    """Draft a row for every metric that either side has and that comparisons have a row for.

    Every number of a row is about the cases that both sides have, which are compared in pairs. If
    no case is on both sides, all cases are compared, as independent ones.

    Args:
        base: the baseline.
        cand: the candidate; its catalogue describes the metrics.
        options: margins, and which metrics decide.
        matching: the result of `match` for both groups.
    """
    options = options or Options()
    matching = matching or match(base.group, cand.group)
    metrics = list(_metrics(base, cand))
    drafts = [_draft(metric, base, cand, options, matching) for metric in metrics]
    rows = {metric.path for metric in metrics}
    bare = dict.fromkeys(path for side in (base, cand) for path in side.bare() if path not in rows)
    drafts += [
        Draft(_without_observations(cand.catalog[path], base, cand, options)) for path in bare
    ]
    return sorted(drafts, key=lambda draft: not draft.row.primary)


def _metrics(base: Subject, cand: Subject) -> Iterator[Metric]:
    sides = base.group, cand.group
    recorded = dict.fromkeys(name for side in sides for name in side.recorded)
    for metric in cand.catalog.compared(sides, recorded):
        samples = [_sample(side, metric) for side in (base, cand)]
        if any(sample.n or (sample.refusal and not sample.absent) for sample in samples):
            yield metric
    # Of logged numbers, only those that the author declared or claims something about: every row
    # makes the correction of p stricter, and many logged numbers (a learning rate) do not matter.
    for name in base.group.logged:
        metric = cand.catalog[f"{name}.last"]
        declared = name in cand.catalog.declared
        if declared and all(_sample(side, metric).n for side in (base, cand)):
            yield metric


def _sample(side: Subject, metric: Metric) -> Sample:
    return sample_of(side.group, metric) or Sample(np.empty(0), None, (), RATE)


def _undecided(
    metric: Metric, before: float | None, after: float | None, options: Options
) -> Comparison:
    margin, absolute = options.margin_of(metric)
    return Comparison(
        metric=metric.path,
        unit=metric.unit,
        baseline=before,
        candidate=after,
        verdict=INCONCLUSIVE,
        margin=margin,
        absolute=absolute,
        better=options.better_of(metric),
        primary=options.decides(metric.path),
    )


def _draft(
    metric: Metric, base: Subject, cand: Subject, options: Options, matching: Matching
) -> Draft:
    all_before, all_after = _sample(base, metric), _sample(cand, metric)
    before, after = aligned(base, cand, metric, matching)
    if all_before.n and all_after.n and not (before.n and after.n):
        undecided = _undecided(metric, None, None, options)
        return Draft(replace(undecided, reason=_nothing_shared(matching), open=LACKING))
    undecided = _undecided(metric, centre(before, metric), centre(after, metric), options)
    if not options.primary and any(side.processes is not None for side in (before, after)):
        undecided = replace(undecided, primary=True)  # whoever measures a function asks about it
    if metric.unit == "%" or all(side.kind == RATE for side in (before, after) if side.n):
        undecided = replace(undecided, absolute=True)
    for side_name, side in (("baseline", before), ("candidate", after)):
        if not side.n and not side.absent and side.refusal is not None:
            why = f"the {side_name} has no value: {side.refusal}"
            return Draft(replace(undecided, reason=why, open=LACKING))
    if not before.n:
        reason = "the baseline has no such metric"
        return Draft(replace(undecided, verdict=ADDED, reason=reason))
    if not after.n:
        reason = "the candidate has no such metric"
        return Draft(replace(undecided, verdict=REMOVED, reason=reason))
    question = Question(typical=metric.statistic == TYPICAL)
    scale = RATIO if ratio_scale(before, after, question) else DIFFERENCE
    low, high = after.ends
    if scale == DIFFERENCE and low is not None and high is not None:
        undecided = replace(undecided, width=high - low)
    kind = SUCCESS if metric.path == "success_rate" else OTHER
    return Draft(
        replace(undecided, scale=scale),
        (before, after),
        question,
        _lacking(metric, (base, cand), (before, after), matching),
        Decision(kind, floor_of(before, after, question)),
    )


def _lacking(
    metric: Metric,
    sides: tuple[Subject, Subject],
    samples: tuple[Sample, Sample],
    matching: Matching,
) -> str:
    """Say what makes the samples unfit for a verdict; empty if nothing does.

    Without missing values one side would look better than it is, and values outside the declared
    range say that something is not as its author thinks.
    """
    named = tuple(zip(("baseline", "candidate"), sides, strict=True))
    both = {"baseline": set(matching.names), "candidate": set(matching.names.values())}
    lacking = [
        f"missing in {trials} of the {name}"
        for name, side in named
        for number in numbers_behind(metric)
        if (trials := trials_without(side.group, number, both[name] or None))
    ]
    invalid = samples[0].invalid + samples[1].invalid
    if invalid:
        lacking = [f"{invalid} values were not finite numbers and were left out"]
    catalog = sides[1].catalog
    lacking += [
        f"{name}: {outside}"
        for name, side in named
        if (outside := outside_range(side.group, catalog, metric.path))
    ]
    return ", ".join(lacking)


def aligned(
    base: Subject, cand: Subject, metric: Metric, matching: Matching
) -> tuple[Sample, Sample]:
    """Return the observations of the cases that both sides have; see `Matching.align`."""
    before, after = _sample(base, metric), _sample(cand, metric)
    if metric.drawn == FORMULA and (matching.removed or matching.added or matching.conflicts):
        # A formula of some cases is not made of the parts of the formula of all.
        before = _sample(base.part(matching.names), metric) if matching.names else before
        after = _sample(cand.part(matching.names.values()), metric) if matching.names else after
    return matching.align(before, after)


def _nothing_shared(matching: Matching) -> str:
    if matching.names:
        return "no case has it on both sides"
    return "no case is the same on both sides: the ids stand for other content"


def numbers_of(
    subject: Subject, other: Subject, cases: Sequence[str]
) -> dict[str, tuple[float, str]]:
    """Return value and unit of every compared metric, for some cases of one side.

    Without percentiles: the cases are usually few.

    Args:
        subject: the side that has the cases.
        other: the other side: comparisons show what either side has.
        cases: their ids.
    """
    names = {case: case for case in cases}
    numbers = {}
    for metric in _metrics(subject, other):
        sample = _sample(subject, metric)
        value = centre(sample.only(names), metric) if sample.cases is not None else None
        if value is not None and metric.statistic not in QUANTILES:
            numbers[metric.path] = value, metric.unit
    return numbers


def _without_observations(
    metric: Metric, base: Subject, cand: Subject, options: Options
) -> Comparison:
    """Compare a number that a plugin gave without observations: there is no interval."""
    before, after = base.numbers.get(metric.path), cand.numbers.get(metric.path)
    undecided = _undecided(metric, before, after, options)
    if before is None:
        return replace(undecided, verdict=ADDED, reason="the baseline has no such metric")
    if after is None:
        return replace(undecided, verdict=REMOVED, reason="the candidate has no such metric")
    change = after - before
    return replace(undecided, verdict=NO_INTERVAL, scale=DIFFERENCE, change=change, reason=BARE)
