"""``crucible compare``: compare recorded runs with a baseline."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytest_crucible._errors import DefinitionError
from pytest_crucible._text import did_you_mean
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.arm_pairs import (
    ALL,
    Pair,
    arms_within,
    same_arms,
    same_conditions,
    these_arms,
)
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run_comparison import ANY, FAIL_ON, RunComparison
from pytest_crucible.analysis.run_drafts import RunDraft, draft_runs, judge_drafts
from pytest_crucible.capture.frames import SCHEMA
from pytest_crucible.cli.arguments import PATH_HELP, add_by, path_argument
from pytest_crucible.cli.outputs import (
    BAD,
    FINE,
    NOTHING,
    OPEN,
    Report,
    add_outputs,
    check_outputs,
    write_outputs,
)
from pytest_crucible.cli.printing import Print
from pytest_crucible.metrics.catalog import HIGHER, LOWER
from pytest_crucible.report.annotations import comparison_annotations
from pytest_crucible.report.compare_text import render_comparison
from pytest_crucible.report.junit import comparison_junit
from pytest_crucible.report.lines import Line
from pytest_crucible.report.markdown import compare_markdown
from pytest_crucible.runs.run import RecordedRun, open_recorded
from pytest_crucible.stats.comparison_options import MARGIN, Options, row_of
from pytest_crucible.stats.verdict import INCONCLUSIVE


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
    compare.add_argument(
        "--metric", action="append", default=[], metavar="METRIC",
        help="metric that decides, beside the success rate; the others are only shown (default: "
        "primary= and expect= of the marker, else success_rate, latency and cost)",
    )  # fmt: skip
    compare.add_argument(
        "--lower-is-better", action="append", default=[], metavar="METRIC",
        help="number of which less is better, if nobody declared that",
    )  # fmt: skip
    compare.add_argument(
        "--higher-is-better",
        action="append",
        default=[],
        metavar="METRIC",
        help="number of which more is better",
    )
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
    adjust = _adjust(options, every=ANY in fail_on)
    base = _read(options.baseline)
    base[1].check_slices(options.by or ())
    pair: Pair = same_conditions if options.match == "condition" else same_arms
    if options.arms is not None:
        pair = these_arms(*options.arms)
    if options.against is not None and options.candidates:
        raise DefinitionError("--against is for the arms of one run; for two runs: --arms")
    others = [_read(path) for path in options.candidates]
    if not others:
        others, pair = [base], arms_within(options.against)
    drafts = [draft_runs(base, other, adjust, pair, options.by or ()) for other in others]
    _check_metrics(options.metric, drafts)
    comparisons = judge_drafts(drafts)
    report = Report(
        lines=lambda: (line for each in comparisons for line in [*render_comparison(each), _BLANK]),
        markdown=lambda: "\n".join(compare_markdown(each) for each in comparisons),
        data=lambda: _compare_data(comparisons, fail_on),
        junit=lambda: comparison_junit(comparisons, fail_on),
        annotations=lambda: (
            a for each in comparisons for a in comparison_annotations(each, fail_on)
        ),
    )
    write_outputs(options, report, show)
    return max((_compare_code(each, fail_on) for each in comparisons), key=_SEVERITY.index)


_BLANK = Line("")
_SEVERITY = (FINE, OPEN, NOTHING, BAD)


def _read(path: Path) -> tuple[RecordedRun, Results]:
    run = open_recorded(path)
    return run, analyse(run)


def _compare_code(comparison: RunComparison, fail_on: Sequence[str]) -> int:
    if not comparison.comparable:
        return NOTHING
    failures = comparison.failures(fail_on)
    if any(not failure.startswith(INCONCLUSIVE) for failure in failures):
        return BAD
    return OPEN if failures else FINE


def _compare_data(comparisons: Sequence[RunComparison], fail_on: Sequence[str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "fail_on": list(fail_on),
        "comparisons": [
            {**each.to_dict(), "failures": each.failures(fail_on)} for each in comparisons
        ],
    }


def _check_metrics(names: Sequence[str], drafts: Sequence[RunDraft]) -> None:
    """Refuse a ``--metric`` that no arm has a row for."""
    rows = dict.fromkeys(row.row.metric for draft in drafts for row in draft.rows)
    for name in names:
        if rows and not {row_of(name), f"{name}.mean"} & {*rows}:
            raise DefinitionError(
                f"--metric: {name!r} is not compared; {did_you_mean(name, rows)}"
                f"valid: {', '.join(rows)}"
            )


def parse_fail_on(text: str) -> tuple[str, ...]:
    """Split the value of ``--fail-on``: ``regression,missing``.

    Returns:
        The names; empty for ``none``.

    Raises:
        DefinitionError: a name is unknown.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in (*FAIL_ON, "none"):
            raise DefinitionError(
                f"--fail-on: {name!r} is not one of {', '.join((*FAIL_ON, 'none'))}"
            )
    return tuple(name for name in names if name != "none")


def _adjust(options: argparse.Namespace, *, every: bool = False) -> Callable[[Options], Options]:
    """Return a function that overrides a marker's options with those of the command line.

    A margin without a metric overrides all margins of the marker.
    """
    margin: float | None = None
    margins: dict[str, float] = {}
    for text in options.margin:
        metric, equals, share = text.rpartition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not 0 < value < 10:
            raise DefinitionError(f"--margin: {text!r} is not a share such as 0.05 or latency=0.1")
        if equals:
            margins[metric] = value
        else:
            margin = value
    directions = {
        **dict.fromkeys(options.lower_is_better, LOWER),
        **dict.fromkeys(options.higher_is_better, HIGHER),
    }

    def adjust(marker: Options) -> Options:
        margins_of_marker = {} if margin is not None else dict(marker.margins or {})
        return Options(
            margin=marker.margin if margin is None else margin,
            margins={**margins_of_marker, **margins},
            better=directions,
            primary=tuple(options.metric) or marker.primary,
            every=every,
        )

    return adjust
