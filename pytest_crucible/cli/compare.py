"""``crucible compare``: compare recorded runs with a baseline."""

from __future__ import annotations

import argparse

from pytest_crucible._errors import DefinitionError
from pytest_crucible.analysis.arm_pairs import (
    ALL,
    Pair,
    arms_within,
    same_arms,
    same_conditions,
    these_arms,
)
from pytest_crucible.analysis.run_comparison import ANY, FAIL_ON
from pytest_crucible.analysis.run_drafts import draft_runs, judge_drafts
from pytest_crucible.cli.arguments import PATH_HELP, add_by, path_argument
from pytest_crucible.cli.comparing import (
    add_metrics,
    adjusted,
    check_metrics,
    parse_fail_on,
    read,
    write_comparisons,
)
from pytest_crucible.cli.outputs import add_outputs, check_outputs
from pytest_crucible.cli.printing import Print
from pytest_crucible.stats.comparison_options import MARGIN


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``compare`` to the parser."""
    compare = commands.add_parser("compare", help="compare runs with a baseline, offline")
    compare.add_argument("baseline", type=path_argument, help=PATH_HELP)
    compare.add_argument(
        "candidates", type=path_argument, nargs="*", metavar="candidate",
        help=f"{PATH_HELP}; none: compare the arms of the one run",
    )  # fmt: skip
    compare.add_argument(
        "--margin", action="append", default=[], metavar="[METRIC=]SHARE",
        help=f"largest change that does not matter, for all or for one metric (default {MARGIN})",
    )  # fmt: skip
    add_metrics(compare)
    which = compare.add_mutually_exclusive_group()
    which.add_argument(
        "--match", choices=("name", "condition"), default="name",
        help="compare arms with the same experiment and condition (name, default), or with the "
        "same condition, whatever the experiments are called",
    )  # fmt: skip
    which.add_argument(
        "--arms", nargs=2, metavar=("BASELINE", "CANDIDATE"),
        help="compare these two arms: EXPERIMENT.CONDITION of the one run and of the other",
    )  # fmt: skip
    which.add_argument(
        "--against", metavar="ARM",
        help="of the arms of one run: the one that the others are compared with (default: the "
        f"first), or {ALL} for every two of them",
    )  # fmt: skip
    compare.add_argument(
        "--fail-on", default="regression", metavar="WHAT",
        help=f"comma-separated: {', '.join(FAIL_ON)}, none (default: regression)",
    )  # fmt: skip
    add_by(compare)
    add_outputs(compare)
    compare.set_defaults(run=_compare)


def _compare(options: argparse.Namespace, show: Print) -> int:
    check_outputs(options, [options.baseline, *options.candidates])
    fail_on = parse_fail_on(options.fail_on)
    adjust = adjusted(options, every=ANY in fail_on)
    base = read(options.baseline)
    base[1].check_slices(options.by or ())
    pair: Pair = same_conditions if options.match == "condition" else same_arms
    if options.arms is not None:
        pair = these_arms(*options.arms)
    if options.against is not None and options.candidates:
        raise DefinitionError("--against is for the arms of one run; for two runs: --arms")
    others = [read(path) for path in options.candidates]
    if not others:
        others, pair = [base], arms_within(options.against)
    drafts = [draft_runs(base, other, adjust, pair, options.by or ()) for other in others]
    check_metrics(options.metric, drafts)
    return write_comparisons(judge_drafts(drafts), fail_on, options, show)
