"""``crucible plan``: work out how many cases find an effect of a given size."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np

from pytest_crucible._errors import DefinitionError
from pytest_crucible._text import plural
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import ExperimentResult
from pytest_crucible.cli.arguments import path_argument
from pytest_crucible.cli.printing import Print
from pytest_crucible.report.lines import Line
from pytest_crucible.report.numbers import show
from pytest_crucible.runs.run import open_recorded
from pytest_crucible.stats.power import mcnemar_n, proportions_n, t_n, t_power
from pytest_crucible.stats.samples import QUANTILE, RATE, Sample


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``plan`` to the parser."""
    plan = commands.add_parser("plan", help="how many cases find an effect of a given size")
    plan.add_argument("--rates", nargs=2, type=float, metavar=("P1", "P2"), help="two rates")
    plan.add_argument("--sd", type=float, help="standard deviation, for a difference of means")
    plan.add_argument("--effect", type=float, help="difference of means to find, in its unit")
    plan.add_argument(
        "--pilot", type=path_argument, help="recorded run that gives the rate or deviation"
    )
    plan.add_argument(
        "--metric", default="success_rate", help="metric of the pilot (default: success_rate)"
    )
    plan.add_argument("--experiment", help="experiment of the pilot; default: its only one")
    plan.add_argument("--paired", action="store_true", help="the same cases on both sides")
    plan.add_argument("--power", type=float, default=0.8, help="chance to find it (0.8)")
    plan.add_argument("--alpha", type=float, default=0.05, help="level of the test (0.05)")
    plan.set_defaults(run=_plan)


def _plan(options: argparse.Namespace, show: Print) -> int:
    try:
        show(list(_lines(options)))
    except ValueError as error:
        raise DefinitionError(f"plan: {error}") from error
    return 0


def _lines(options: argparse.Namespace) -> Iterator[Line]:
    if options.pilot is not None:
        yield from _from_pilot(options)
    elif options.rates is not None:
        yield from _rates(options.rates[0], options.rates[1], options)
    elif options.sd is not None and options.effect is not None:
        yield from _means(options.sd, options.effect, options)
    else:
        raise ValueError("give --rates P1 P2, or --sd and --effect, or --pilot and --effect")


def _rates(p1: float, p2: float, options: argparse.Namespace) -> Iterator[Line]:
    n = math.ceil(proportions_n(p1, p2, options.power, options.alpha))
    first, second = (show(rate, "%", 1) for rate in (p1, p2))
    yield Line(f"{first} against {second}: {plural(n, 'case')} per arm", "bold")
    yield Line(f"  power {options.power:g}, two-sided level {options.alpha:g}, unpaired")
    if options.paired:
        # For independent failures. Cases usually fail on both sides together, and then need fewer.
        shares = p1 * (1 - p2), p2 * (1 - p1)
        pairs = math.ceil(mcnemar_n(*shares, options.power, options.alpha))
        yield Line(f"  paired by case: {plural(pairs, 'case')} at most (McNemar)")


def _means(sd: float, effect: float, options: argparse.Namespace) -> Iterator[Line]:
    if not sd > 0:
        raise ValueError("--sd must be above 0")
    n = t_n(effect / sd, options.power, options.alpha, options.paired)
    arm = "pairs" if options.paired else "cases per arm"
    yield Line(f"a difference of {effect:g} at a deviation of {sd:.3g}: {n:,} {arm}", "bold")
    reached = t_power(n, effect / sd, options.alpha, options.paired)
    yield Line(f"  power {reached:.3f}, two-sided level {options.alpha:g}")


def _from_pilot(options: argparse.Namespace) -> Iterator[Line]:
    if options.effect is None:
        raise ValueError("--pilot needs --effect: the difference to find, in the metric's unit")
    experiment = _experiment(options)
    samples = {
        condition: experiment.subject(condition).sample(options.metric)
        for condition in experiment.groups
    }
    first = next(iter(samples.values()))
    if first is None or first.n < 2:
        raise ValueError(f"the pilot has no observations of {options.metric}")
    if any(sample.weights is not None for sample in samples.values() if sample):
        raise ValueError(f"the pilot was sampled: it does not tell how {options.metric} varies")
    name = experiment.definition.name
    yield Line(f"pilot: {name}, {options.metric}, {plural(first.n, 'observation')}")
    if first.kind == QUANTILE:
        raise ValueError(f"{options.metric} is a percentile; plan with a rate or a mean")
    if first.kind == RATE:
        rate = float(first.values.mean())
        if not 0 <= rate + options.effect <= 1:
            raise ValueError(f"--effect: {rate:.3g} {options.effect:+g} is no rate")
        yield from _rates(rate, rate + options.effect, options)
        return
    deviation = _deviation([sample for sample in samples.values() if sample], options.paired)
    yield from _means(deviation, options.effect, options)


def _experiment(options: argparse.Namespace) -> ExperimentResult:
    experiments = {
        result.definition.name: result
        for result in analyse(open_recorded(options.pilot)).experiments
    }
    if options.experiment is None and len(experiments) == 1:
        return next(iter(experiments.values()))
    experiment = experiments.get(options.experiment)
    if experiment is None:
        raise ValueError(f"--experiment: one of {', '.join(map(repr, experiments))}")
    return experiment


def _deviation(samples: list[Sample], paired: bool) -> float:
    """Return the standard deviation between cases, in the metric's unit.

    For pairs, if the pilot has two arms, that of the differences between the arms.
    """
    first = np.array(list(samples[0].by_case().values()) or samples[0].values)
    if paired and len(samples) > 1:
        base, other = samples[0].by_case(), samples[1].by_case()
        first = np.array([other[case] - base[case] for case in base if case in other])
    # Differences of equal numbers are as large as what rounding left of them.
    noise = 1e-12 * max(float(np.abs(each.values).max()) for each in samples)
    if first.size < 2 or float(np.ptp(first)) <= noise:
        raise ValueError("the pilot's cases do not vary: no deviation to plan with")
    return float(first.std(ddof=1))
