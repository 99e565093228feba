"""What a row could find: its minimal detectable effect, and the cases that a smaller one needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pytest_crucible.metrics.catalog import HIGHER
from pytest_crucible.stats.change import RATIO, Change
from pytest_crucible.stats.comparison import POWER, Comparison, Needs, margin_size
from pytest_crucible.stats.metric_changes import Question, pairs_of
from pytest_crucible.stats.power import (
    Aim,
    Needed,
    cases_for_means,
    minimal_effect,
    needed,
    of_logs,
)
from pytest_crucible.stats.rate_pilot import needed_for_rates, quick_plan
from pytest_crucible.stats.rate_power import FoundFall, paired_fall, unpaired_fall
from pytest_crucible.stats.samples import RATE, Floats, Sample

_MOST_LOG = 700.0  # exp of more is no number


@dataclass(frozen=True, slots=True)
class Measured:
    """A row with what it was made of.

    Attributes:
        row: the row, with its change.
        samples: the observations of baseline and candidate.
        question: what was asked of them.
        change: their change.
        alpha: error of both sides of the interval together.
    """

    row: Comparison
    samples: tuple[Sample, Sample]
    question: Question
    change: Change
    alpha: float

    @property
    def aim(self) -> Aim:
        """What the row is able to find, on the scale that decides: of logarithms for ratios."""
        if self.row.scale == RATIO:
            return of_logs(Aim(self.row.margin, power=POWER, alpha=self.alpha))
        return Aim(margin_size(self.row), power=POWER, alpha=self.alpha)

    def signed(self, size: float) -> float:
        """Return a change for the worse of some size, on the scale of the row's change."""
        less = -size if self.row.better == HIGHER else size
        return math.exp(min(_MOST_LOG, less)) if self.row.scale == RATIO else less

    def single(self) -> tuple[Floats, Floats] | None:
        """Return successes and failures of both sides if every case has just one of either.

        Of metrics of which less is better, failures stand for successes.
        """
        if any(side.kind != RATE or side.clusters() is not None for side in self.samples):
            return None
        pairs = pairs_of(*self.samples)
        sides = pairs[:2] if pairs else tuple(side.values for side in self.samples)
        before, after = sides if self.row.better == HIGHER else (1.0 - side for side in sides)
        return before, after

    @property
    def paired(self) -> bool:
        """Whether cases were compared in pairs."""
        return len(self.change.n) == 1


def detectable(measured: Measured) -> float | None:
    """Return the minimal detectable effect: found, for the worse, in 80 % of runs like this one.

    Of success rates exactly, from the distribution of the counts; else δ + (t + t) · standard error
    (Bloom 1995), on logarithms for ratios. None if nothing tells how much the metric varies, or if
    nothing could be found.
    """
    single = measured.single()
    if single is not None:
        fall = _fall(measured, single)
        return None if fall is None else measured.signed(fall.true)
    change, row = measured.change, measured.row
    if change.alike is not None:
        return None
    if change.relative is not None:
        found = _ratio_found(measured, change.relative)
        return None if found is None else max(0.0, found)
    df = change.df if math.isfinite(change.df) else None
    size = minimal_effect(change.error, df, measured.aim)
    if row.width is not None and size >= row.width:
        return None  # not even from one end to the other
    return measured.signed(size)


def _ratio_found(measured: Measured, relative: tuple[float, float, float]) -> float | None:
    """Return the ratio of means that is found, for the worse; None if no ratio would be.

    Where Fieller's interval clears the margin L, with t_level + t_power in place of t: a candidate
    that grows varies more, too, in proportion. As a standard error of logarithms it would be too
    small: with 10 cases and σ 0.8 such an effect was found in 52 % of runs.
    """
    v1, cross, v2 = relative
    reach = minimal_effect(1.0, measured.change.df, replace(measured.aim, margin=0.0)) ** 2
    a, b, c = 1 - reach * v2, 1 - reach * cross, 1 - reach * v1
    if min(a, c) <= 0:
        return None
    half = math.sqrt(max(0.0, b * b - a * c))
    limit = 1 + measured.row.margin
    return (b - half) / a / limit if measured.row.better == HIGHER else limit * (b + half) / a


def found_rate(measured: Measured) -> float | None:
    """Return the success rate up to which a fall is found; None if there is none, or no such row.

    With 20 of 20 before, 0.7: 14 of 20 are REGRESSED, 15 are not.
    """
    single = measured.single()
    fall = None if single is None else _fall(measured, single)
    if fall is None or measured.row.better != HIGHER or measured.row.baseline is None:
        return None
    return measured.row.baseline - fall.seen


def _fall(measured: Measured, single: tuple[Floats, Floats]) -> FoundFall | None:
    before, after = single
    margin, level = margin_size(measured.row), measured.alpha / 2
    if not measured.paired:
        successes = round(float(before.sum()))
        return unpaired_fall(successes, before.size, after.size, margin, level, POWER)
    better = int(np.count_nonzero(after > before))
    return paired_fall(before.size, margin, level, POWER, better)


def needs(measured: Measured) -> Needs | None:
    """Return how many cases find a change of twice the margin; None where that means nothing."""
    aim, n = measured.aim, measured.change.n
    if not aim.margin:
        return None
    size = 2 * aim.margin if measured.row.scale != RATIO else math.log1p(2 * measured.row.margin)
    effect = measured.signed(size)
    single = measured.single()
    if single is not None:
        before, after = single
        if not size <= float(before.mean()):
            return None
        return _told(effect, needed_for_rates(
            before, after if measured.paired else None, -size, aim, quick_plan
        ))  # fmt: skip
    if measured.change.alike is not None or not measured.change.error > 0:
        return None
    pilot = n[0] if measured.paired else round(2 / (1 / n[0] + 1 / n[1]))
    if pilot < 2:
        return None
    sd = measured.change.error * math.sqrt(pilot if measured.paired else pilot / 2)
    ranks = measured.row.scale == RATIO and measured.question.typical

    def plan(deviation: float) -> int | None:
        return cases_for_means(
            size, deviation, aim, paired=measured.paired, ranks=ranks, width=measured.row.width
        )

    return _told(effect, needed(sd, pilot, plan, aim, paired=measured.paired))


def _told(effect: float, found: Needed | None) -> Needs:
    return Needs(effect) if found is None else Needs(effect, found.cases, found.low, found.high)
