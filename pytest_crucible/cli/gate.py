"""``crucible gate``: judge expectations on a recorded run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pytest_crucible._errors import DefinitionError
from pytest_crucible._text import did_you_mean
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import Results
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
from pytest_crucible.cli.printing import Print, summary_of
from pytest_crucible.report.annotations import results_annotations
from pytest_crucible.report.junit import results_junit
from pytest_crucible.report.lines import Line
from pytest_crucible.report.markdown import results_markdown
from pytest_crucible.runs.run import open_recorded
from pytest_crucible.stats.comparison_options import row_of, rows_of
from pytest_crucible.stats.verdict import FATAL, NOT_RUN


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``gate`` to the parser."""
    gate = commands.add_parser("gate", help="judge expectations on a recorded run")
    gate.add_argument("path", type=path_argument, help=PATH_HELP)
    gate.add_argument(
        "--expect", action="append", default=[], metavar="EXPECTATION",
        help="e.g. 'success_rate > 0.9'; default: those of the run's own markers",
    )  # fmt: skip
    gate.add_argument(
        "--metric", action="append", default=[], metavar="METRIC",
        help="only expectations on this metric decide; the others are shown (default: all)",
    )  # fmt: skip
    gate.add_argument(
        "--inconclusive", choices=("fail", "pass", "warn"), default="warn",
        help="what an inconclusive expectation does, unless its marker says so (default: warn)",
    )  # fmt: skip
    gate.add_argument(
        "--sequential", action="store_true",
        help="judge so that the verdict holds however often cases are added and judged again",
    )  # fmt: skip
    add_by(gate)
    gate.add_argument(
        "--fail-on", choices=("missing", "none"), default="none",
        help="missing: fail for an experiment of which nothing ran (default: none)",
    )  # fmt: skip
    add_outputs(gate)
    gate.set_defaults(run=_gate)


def _gate(options: argparse.Namespace, show: Print) -> int:
    check_outputs(options, [options.path])
    run = open_recorded(options.path)
    results = analyse(
        run, expect=options.expect, only=options.metric, sequential=options.sequential
    )
    _check_metrics(options.metric, results)
    results.check_slices(options.by or ())
    must_run = options.fail_on == "missing"
    report = Report(
        lines=lambda: iter([*summary_of(results, by=options.by), Line(f"run: {results.run}")]),
        markdown=lambda: results_markdown(results, options.by),
        data=lambda: {"schema": SCHEMA, "run": results.run, **results.to_dict(options.by)},
        junit=lambda: results_junit(results, options.inconclusive, must_run),
        annotations=lambda: results_annotations(results, options.inconclusive, must_run),
    )
    write_outputs(options, report, show)
    if must_run and results.not_run:
        _print_error(f"not passed: {NOT_RUN}: {', '.join(results.not_run)}")
        return BAD
    if not any(experiment.verdicts for experiment in results.experiments):
        _print_error("nothing to judge: no --expect, and the run has no expectations")
        return NOTHING
    unmet = {verdict.verdict for _, verdict in results.unmet(options.inconclusive)}
    if results.lost and not unmet & FATAL:
        _print_error("not passed: the record is incomplete")  # missing trials might have failed
        return BAD
    if unmet & FATAL:
        return BAD
    return OPEN if unmet else FINE


def _check_metrics(names: Sequence[str], results: Results) -> None:
    """Refuse a ``--metric`` about which no expectation says anything."""
    claimed = dict.fromkeys(v.metric for each in results.experiments for v in each.verdicts)
    for name in names:
        if claimed and not rows_of([name]) & {*map(row_of, claimed)}:
            raise DefinitionError(
                f"--metric: no expectation is about {name!r}; {did_you_mean(name, claimed)}"
                f"valid: {', '.join(claimed)}"
            )


def _print_error(text: str) -> None:
    print(f"crucible: {text}", file=sys.stderr)
