"""``crucible plan``: how many cases the verdict on an effect of a given size needs."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator

from pytest_crucible._errors import DefinitionError
from pytest_crucible._text import plural
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.pilot import pilot_of, plan_from
from pytest_crucible.analysis.results import ExperimentResult
from pytest_crucible.cli.arguments import path_argument
from pytest_crucible.cli.printing import Print
from pytest_crucible.metrics.catalog import HIGHER, PLAIN
from pytest_crucible.report.lines import Line
from pytest_crucible.runs.run import open_recorded
from pytest_crucible.stats.comparison import CHANGED, EQUIVALENT, IMPROVED, REGRESSED
from pytest_crucible.stats.comparison_options import MARGIN
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.gate_power import (
    UNBOUNDED_LEAST,
    Claim,
    RatePlan,
    cases_for_mean_gate,
    cases_for_rate_gate,
)
from pytest_crucible.stats.power import (
    FARTHEST,
    MOST,
    Aim,
    cases_for_means,
    cases_for_rates,
    cases_for_ratio,
    discordant_shares,
    of_logs,
)

_WAYS = (
    "give --rates P1 P2, or --ratio and --sd-log, or --sd and --effect, or --gate, "
    "or --pilot and --effect"
)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``plan`` to the parser."""
    plan = commands.add_parser("plan", help="how many cases find an effect of a given size")
    # Argparse takes -5pp for an option, unlike -5.
    plan._negative_number_matcher = re.compile(r"^-(\d+\.?\d*|\.\d+)(%|pp)?$")
    ways = plan.add_argument_group("what to plan")
    ways.add_argument(
        "--rates", nargs=2, type=float, metavar=("P1", "P2"), help="success rates, before and after"
    )
    ways.add_argument("--ratio", type=float, help="factor of latencies to find: 1.2 is +20 %%")
    ways.add_argument("--sd-log", type=float, help="standard deviation of their logarithms")
    ways.add_argument("--effect", help="difference of means to find; of a pilot also +20%%, -5pp")
    ways.add_argument("--sd", type=float, help="standard deviation of the numbers")
    ways.add_argument("--gate", metavar="CLAIM", help="a claim: 'success_rate > 0.9'")
    ways.add_argument("--rate", type=float, help="the true rate of --gate")
    ways.add_argument(
        "--mean", type=float, help="the true mean of --gate; of --effect, the baseline's"
    )
    ways.add_argument("--pilot", type=path_argument, help="recorded run that tells what varies")
    ways.add_argument(
        "--metric", default="success_rate", help="metric of the pilot (default: success_rate)"
    )
    ways.add_argument("--experiment", help="experiment of the pilot; default: its only one")
    plan.add_argument(
        "--paired", action="store_true", help="the same cases on both sides; --sd of differences"
    )
    plan.add_argument(
        "--discordant", type=float, help="share of pairs that succeed on one side only"
    )
    plan.add_argument("--margin", type=float, help="largest change that does not matter (0.05)")
    plan.add_argument(
        "--decisions", type=int, default=1, help="rows and claims that can turn the session red (1)"
    )
    plan.add_argument("--power", type=float, default=0.8, help="chance to find it (0.8)")
    plan.add_argument("--alpha", type=float, default=0.05, help="level of the session (0.05)")
    plan.set_defaults(run=_plan)


def _plan(options: argparse.Namespace, show: Print) -> int:
    try:
        show(list(_lines(options)))
    except ValueError as error:
        raise DefinitionError(f"plan: {error}") from error
    return 0


def _lines(options: argparse.Namespace) -> Iterator[Line]:
    given = [name for name in _PLANS if getattr(options, name) is not None]
    if given == ["gate", "sd"]:  # the deviation of a mean
        given.remove("sd")
    if len(given) != 1:
        raise ValueError(f"{_WAYS}: one of them" if given else _WAYS)
    yield from _PLANS[given[0]](options)


def _aim(options: argparse.Namespace, margin: float = MARGIN) -> Aim:
    given = margin if options.margin is None else options.margin
    return Aim(given, options.decisions, options.power, options.alpha)


# --- rates ------------------------------------------------------------------------------------


def _rates(options: argparse.Namespace) -> Iterator[Line]:
    before, after = options.rates
    aim = _aim(options)
    what = f"{_percent(before)} against {_percent(after)}"
    verdict = _verdict(after - before, aim, higher_is_better=True)
    margin = f"{_points(aim.margin)} pp"
    if options.discordant is not None:
        cases = cases_for_rates(before, after, aim, discordant=options.discordant)
        yield from _answer(what, cases, "pairs", verdict, margin, aim, after - before)
        return
    cases = cases_for_rates(before, after, aim)
    yield from _answer(what, cases, "cases per arm", verdict, margin, aim, after - before)
    if options.paired and aim.gap(after - before):
        few, many = (
            cases_for_rates(before, after, aim, discordant=share)
            for share in discordant_shares(before, after)
        )
        yield Line(
            f"  paired by case: {_count(few)} pairs if no case changes the other way, "
            f"{_count(many)} if cases change by chance"
        )
        yield Line("  (--discordant: the share of cases that change, either way)")


# --- ratios and means -------------------------------------------------------------------------


def _ratio(options: argparse.Namespace) -> Iterator[Line]:
    if options.sd_log is None:
        raise ValueError("--ratio needs --sd-log: the standard deviation of the logarithms")
    aim = _aim(options)
    cases = cases_for_ratio(options.ratio, options.sd_log, aim, paired=options.paired)
    what = f"{_percent_change(options.ratio)} at a deviation of {options.sd_log:.3g} of logarithms"
    yield from _ratio_answer(what, options.ratio, cases, aim, options.paired)


def _means(options: argparse.Namespace) -> Iterator[Line]:
    if options.effect is None:
        raise ValueError("--sd needs --effect: the difference to find, in the unit of the numbers")
    try:
        effect = float(options.effect)
    except ValueError:
        raise ValueError(f"--effect: {options.effect!r} is not a number such as -0.05") from None
    aim = _aim(options)
    what = f"a difference of {effect:+g} at a deviation of {options.sd:.3g}"
    if options.mean is None:
        cases = cases_for_means(effect, options.sd, aim, paired=options.paired)
        unit = "pairs" if options.paired else "cases per arm"
        verdict = _verdict(effect, aim, higher_is_better=None)
        yield from _answer(what, cases, unit, verdict, f"{aim.margin:g}", aim, effect)
        if options.margin is None:
            yield Line("  the margin is in the unit of the numbers; with --mean it is relative")
        return
    if not (options.mean > 0 and options.mean + effect > 0):
        raise ValueError("--mean: a relative margin needs means above 0")
    ratio = 1 + effect / options.mean
    relative = options.sd / options.mean
    cases = cases_for_ratio(ratio, relative, aim, paired=options.paired, ranks=False)
    what += f" ({_percent_change(ratio)} of {options.mean:g})"
    yield from _ratio_answer(what, ratio, cases, aim, options.paired, None)


def _ratio_answer(
    what: str,
    ratio: float,
    cases: int | None,
    aim: Aim,
    paired: bool,
    higher_is_better: bool | None = False,
) -> Iterator[Line]:
    effect, logs = math.log(ratio), of_logs(aim)
    verdict = _verdict(effect, logs, higher_is_better)
    unit = "pairs" if paired else "cases per arm"
    margin = f"{_points(aim.margin)} %"
    yield from _answer(what, cases, unit, verdict, margin, logs, effect)


# --- claims on numbers ------------------------------------------------------------------------


def _gate(options: argparse.Namespace) -> Iterator[Line]:
    claim = parse(options.gate)
    if claim.bound.condition is not None:
        raise ValueError("--gate: plans a claim on a number; for two arms give --rates or --ratio")
    aim = _aim(options)
    if (options.rate is None) == (options.mean is None):
        raise ValueError("--gate needs the true value: --rate, or --mean and --sd")
    truth = options.rate if options.mean is None else options.mean
    planned = Claim(claim.bound.offset, truth, claim.wants_more, aim)
    often = f"  {planned.outcome} in {_share(aim.power)} of runs, by a one-sided level of "
    often += f"{planned.level:.3g}"
    if options.mean is None:
        plan = cases_for_rate_gate(planned)
        head = f"{claim.text}, if it is {_percent(truth)}"
        if plan is None:
            yield from _out_of_reach(head)
            return
        yield Line(f"{head}: {plural(plan.cases, 'case')}", "bold")
        yield Line(f"{often}, and by any larger number of cases")
        if claim.metric == "success_rate":
            yield Line(_allowed(plan, planned.above))
        return
    if options.sd is None:
        raise ValueError("--gate with --mean needs --sd: the standard deviation of the numbers")
    limits = PLAIN[claim.metric].range
    cases = cases_for_mean_gate(planned, options.sd, limits)
    head = f"{claim.text}, if it is {truth:g} at a deviation of {options.sd:.3g}"
    if cases is None:
        yield from _out_of_reach(head)
        return
    yield Line(f"{head}: {plural(cases, 'case')}", "bold")
    yield Line(often)
    if cases == UNBOUNDED_LEAST:
        yield Line("  fewer say nothing about a mean without an upper limit; declare its range")


def _allowed(plan: RatePlan, above: bool) -> str:
    """Say how many cases may fail, or have to."""
    if not above:
        failing = f"{plan.cases - plan.exceptions:,} of them have to fail; if all do"
    elif plan.exceptions:
        failing = f"at most {plan.exceptions:,} of them may fail; if none does"
    else:
        return "  none of them may fail"
    return f"  {failing}, {plural(plan.all_alike, 'case')} are enough"


# --- from a pilot -----------------------------------------------------------------------------


def _from_pilot(options: argparse.Namespace) -> Iterator[Line]:
    if options.effect is None:
        raise ValueError("--pilot needs --effect: the change to find, such as +20%, -5pp or 0.05")
    experiment = _experiment(options)
    pilot = pilot_of(experiment, options.metric)
    plan = plan_from(pilot, options.effect, lambda margin: _aim(options, margin), options.margin)
    better = pilot.metric.better
    higher = None if better is None else better == HIGHER
    arms = "pairs" if pilot.paired else "cases of one arm"
    yield Line(f"pilot: {experiment.definition.name}, {options.metric}, {pilot.cases:,} {arms}")
    aim, effect = plan.aim, plan.effect
    cases, span = None, None
    if plan.needed is not None:
        cases, span = plan.needed.cases, (plan.needed.low, plan.needed.high)
    what = f"to find {options.effect}"
    if pilot.ratio:
        deciding, effect, margin = of_logs(aim), math.log(effect), f"{_points(aim.margin)} %"
    elif pilot.single:
        deciding, margin = aim, f"{_points(aim.margin)} pp"
        what += f" from {_percent(pilot.centre)}"
    else:
        deciding, margin = aim, f"{aim.margin:.3g}"
    verdict = _verdict(effect, deciding, higher)
    if better is None and deciding.finds(effect):
        verdict = CHANGED  # as comparisons say while nobody has declared a direction
    if cases is None and deciding.gap(effect):
        yield Line(f"{what}: more than {FARTHEST} times the pilot's {pilot.cases:,} cases", "bold")
        yield Line(f"  it is too close to your margin of {margin} for what this pilot tells")
        return
    unit = "pairs" if pilot.paired else "cases per arm"
    yield from _answer(what, cases, unit, verdict, margin, deciding, effect, span)
    if not pilot.paired:
        yield Line("  the same cases on both sides usually need fewer: a pilot of two arms tells")


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


# --- words ------------------------------------------------------------------------------------


def _answer(
    what: str,
    cases: int | None,
    unit: str,
    verdict: str,
    margin: str,
    aim: Aim,
    effect: float,
    span: tuple[int, int] | None = None,
) -> Iterator[Line]:
    """Yield the number of cases, the verdict that it brings, and under which terms."""
    if not aim.gap(effect):
        yield Line(f"{what}: no number of {unit.partition(' ')[0]} decides it", "bold")
        yield Line(f"  an effect of just the margin of {margin} is never found; "
                   "give a smaller --margin")  # fmt: skip
        return
    if cases is None:
        yield from _out_of_reach(what)
        return
    about = "about " if span else ""
    ends = f" ({span[0]:,}–{_count(span[1])})" if span else ""
    yield Line(f"{what}: {about}{cases:,} {unit}{ends}", "bold")
    yield Line(
        f"  {verdict} in {_share(aim.power)} of runs, with a margin of {margin}, "
        f"{plural(aim.decisions, 'decision')} and a level of {aim.alpha:g}"
    )
    if verdict == EQUIVALENT and effect:
        yield Line(f"  an effect inside the margin of {margin} is never called a regression; "
                   "to find it, give a smaller --margin")  # fmt: skip


def _out_of_reach(what: str) -> Iterator[Line]:
    yield Line(f"{what}: out of reach", "bold")
    yield Line(f"  it takes more than {MOST:,} cases")


def _verdict(effect: float, aim: Aim, higher_is_better: bool | None) -> str:
    if not aim.finds(effect):
        return EQUIVALENT
    if higher_is_better is None:
        return f"{REGRESSED} or {IMPROVED}"
    return IMPROVED if (effect > 0) == higher_is_better else REGRESSED


def _count(cases: int | None) -> str:
    return f"more than {MOST:,}" if cases is None or cases >= MOST else f"{cases:,}"


def _share(share: float) -> str:
    return f"{share * 100:g} %"


def _percent(rate: float) -> str:
    return f"{rate * 100:.1f} %"


def _percent_change(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.3g} %"


def _points(margin: float) -> str:
    return f"{margin * 100:.3g}"


_PLANS = {
    "pilot": _from_pilot,
    "gate": _gate,
    "rates": _rates,
    "ratio": _ratio,
    "sd": _means,
}
