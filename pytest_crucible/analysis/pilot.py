"""Pilot: what a recorded run tells about how a metric varies, and the plan that follows from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_crucible.analysis.results import ExperimentResult
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.matching import match
from pytest_crucible.stats.power import (
    Aim,
    Needed,
    cases_for_means,
    cases_for_rates,
    cases_for_ratio,
    needed,
)
from pytest_crucible.stats.rate_pilot import needed_for_rates
from pytest_crucible.stats.samples import FORMULA, QUANTILE, RATE, TYPICAL, Floats, Sample

_EFFECT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(%|pp)?")


@dataclass(frozen=True, slots=True)
class Pilot:
    """How a metric varies between the cases of a run.

    Attributes:
        metric: the metric.
        before: its values on the first arm, one per case, or one per observation without cases.
        after: those of the same cases on the second arm; None for one arm.
        centre: the value of the metric on the first arm.
        single: whether the values are successes and failures, 1 and 0.
        ratio: whether changes of it are ratios, else differences.
        width: of differences of values between two ends, declared or taken for such: how far these
            are apart. A margin is a share of it, as in comparisons.
    """

    metric: Metric
    before: Floats
    after: Floats | None
    centre: float
    single: bool
    ratio: bool
    width: float | None = None

    @property
    def cases(self) -> int:
        """Number of cases; of pairs, where there are two arms."""
        return int(self.before.size)

    @property
    def paired(self) -> bool:
        """Whether there are pairs."""
        return self.after is not None

    @property
    def typical(self) -> bool:
        """Whether the metric is a typical value, which ranks decide."""
        return self.metric.statistic == TYPICAL

    def deviation(self) -> float:
        """Return the standard deviation that a comparison would meet.

        Of ratios: of logarithms, or relative to the mean; of pairs: of their differences.

        Raises:
            ValueError: the cases do not vary.
        """
        sides = [self.before] if self.after is None else [self.before, self.after]
        if self.typical:
            sides = [np.log(side) for side in sides]
        elif self.ratio:
            sides = [side / side.mean() for side in sides]
        values = sides[0] if len(sides) == 1 else sides[1] - sides[0]
        # Differences of equal numbers are as large as what rounding left of them.
        noise = 1e-12 * max(float(np.abs(side).max()) for side in sides)
        if float(np.ptp(values)) <= noise:
            raise ValueError("the pilot's cases do not vary: no deviation to plan with")
        return float(values.std(ddof=1))


def pilot_of(experiment: ExperimentResult, path: str) -> Pilot:
    """Return what an experiment tells about a metric: of the cases of its first two arms.

    Raises:
        ValueError: nothing that a plan could use, with the reason.
    """
    first, second = _samples(experiment, path)
    metric = experiment.catalog[path]
    typical = metric.statistic == TYPICAL
    if first.kind == FORMULA:
        raise ValueError(f"{path} is a formula; plan with a rate or a mean")
    if first.kind == QUANTILE and not typical:
        raise ValueError(f"{path} is a percentile; plan with a rate or a mean")
    sides = [first] if second is None else [first, second]
    least = min(float(side.values.min()) for side in sides)
    if typical and least <= 0:
        raise ValueError(f"{path} has values of 0: no ratio to plan with")
    values = [_values(side, typical) for side in sides]
    if values[0].size < 2:
        raise ValueError(f"the pilot has a single case with {path}: it takes two to vary")
    rate, width = first.kind == RATE, None if typical else _width(sides)
    return Pilot(
        metric=metric,
        before=values[0],
        after=values[1] if second is not None else None,
        centre=first.quantile(0.5) if typical else first.mean() * first.factor,
        single=rate and all(bool(np.isin(side, (0.0, 1.0)).all()) for side in values),
        ratio=typical or (least >= 0 and width is None and bool(first.values.any())),
        width=width,
    )


def _width(sides: Sequence[Sample]) -> float | None:
    """Return how far the ends of the values are apart; None without two ends on all sides."""
    low, high = sides[0].ends
    if low is None or high is None or any(side.ends != (low, high) for side in sides):
        return None
    return (high - low) * abs(sides[0].factor)


def _samples(experiment: ExperimentResult, path: str) -> tuple[Sample, Sample | None]:
    """Return the observations of the first arm, and of the second if they have cases in common.

    Then both are of these cases.
    """
    arms = experiment.arms[:2]
    samples = [experiment.subject(arm).sample(path) for arm in arms]
    first = samples[0]
    if first is None or not first.n:
        raise ValueError(f"the pilot has no observations of {path}")
    if any(sample is not None and sample.weights is not None for sample in samples):
        raise ValueError(f"the pilot was sampled: it does not tell how {path} varies")
    second = samples[1] if len(samples) > 1 else None
    if second is not None:
        matching = match(*(experiment.groups[arm] for arm in arms))
        before, after = matching.align(first, second)
        if matching.names and before.present():
            return before, after
    return first, None


def _values(sample: Sample, logs: bool) -> Floats:
    """Return one value per case, in the order of their names; all, if there are no cases."""
    if sample.cases is None:
        return sample.values
    cases, means = sample.case_means(of_logs=logs)
    means = np.exp(means) if logs else means * sample.factor
    order = np.argsort([sample.names[case] for case in cases.tolist()], kind="stable")
    return np.asarray(means[order], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class PilotPlan:
    """A plan from a pilot.

    Attributes:
        effect: the effect, on the scale that decides: a factor of ratios, else a difference.
        aim: what was aimed at; the margin of ratios is relative, else in the unit of the effect.
        needed: the number of cases and its range; None if it takes more than the pilot can tell.
    """

    effect: float
    aim: Aim
    needed: Needed | None


def plan_from(
    pilot: Pilot, effect: str, aim: Callable[[float], Aim], margin: float | None
) -> PilotPlan:
    """Return the cases that find an effect, given how the pilot's cases varied.

    Args:
        pilot: the pilot.
        effect: ``+20%``, ``-5pp`` or a number in the unit of the metric.
        aim: from a margin to the aim.
        margin: relative, or a difference of rates; None for that of the metric.

    Raises:
        ValueError: the effect makes no sense for the metric, or the pilot's cases do not vary.
    """
    size = effect_of(effect, pilot)
    wide, in_unit = (margin, False) if margin is not None else Options().margin_of(pilot.metric)
    if pilot.single:
        aimed = aim(wide)
        return PilotPlan(
            size, aimed, needed_for_rates(pilot.before, pilot.after, size, aimed, _exact_plan)
        )
    if not (pilot.ratio or in_unit or pilot.metric.unit == "%"):
        wide *= abs(pilot.centre) if pilot.width is None else pilot.width
    aimed, sd = aim(wide), pilot.deviation()

    def plan(deviation: float) -> int | None:
        if pilot.ratio:
            return cases_for_ratio(size, deviation, aimed, paired=pilot.paired, ranks=pilot.typical)
        return cases_for_means(size, deviation, aimed, paired=pilot.paired, width=pilot.width)

    return PilotPlan(size, aimed, needed(sd, pilot.cases, plan, aimed, paired=pilot.paired))


def effect_of(text: str, pilot: Pilot) -> float:
    """Return the effect that a user wrote, as a factor of ratios, else as a difference.

    Raises:
        ValueError: it is no effect of this metric.
    """
    written = _EFFECT.fullmatch(text.strip())
    if written is None:
        raise ValueError(f"--effect: {text!r} is not like +20%, -5pp or 0.05")
    number, unit = float(written[1]), written[2]
    share = pilot.metric.unit == "%" or pilot.single
    if unit == "%" and share:
        raise ValueError(f"--effect: {text} of a share may mean two things: write {written[1]}pp")
    if unit == "pp" and not share:
        raise ValueError(f"--effect: {text}: {pilot.metric.path} is no share: write +20% or 0.05")
    if unit == "pp":
        size = number / 100
    elif unit == "%":
        size = number / 100 * abs(pilot.centre)
    else:
        size = number
    if share and not 0 <= pilot.centre + size <= 1:
        raise ValueError(f"--effect: {pilot.centre:.3g} {size:+g} is no rate")
    if not pilot.ratio:
        return size
    if pilot.centre + size <= 0:
        raise ValueError(f"--effect: {text} of {pilot.centre:.3g} leaves nothing")
    return (pilot.centre + size) / pilot.centre


def _exact_plan(before: float, after: float, aim: Aim, discordant: float | None) -> int | None:
    return cases_for_rates(before, after, aim, discordant=discordant)
