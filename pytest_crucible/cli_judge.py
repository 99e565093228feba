"""``crucible compare`` and ``crucible gate``: verdicts on artifacts, for people and for CI."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pytest_crucible._errors import DefinitionError
from pytest_crucible._frames import SCHEMA
from pytest_crucible.artifact.files import replacing
from pytest_crucible.artifact.rows import to_json
from pytest_crucible.artifact.run import Run, open_run
from pytest_crucible.report.annotations import comparison_annotations, results_annotations
from pytest_crucible.report.compare_text import render_comparison
from pytest_crucible.report.comparing import FAIL_ON, RunComparison, compare_runs
from pytest_crucible.report.junit import comparison_junit, results_junit
from pytest_crucible.report.markdown import compare_markdown, results_markdown
from pytest_crucible.report.results import Results, analyse
from pytest_crucible.report.terminal import Line, render
from pytest_crucible.stats.comparison import MARGIN, Options
from pytest_crucible.stats.expectations import INCONCLUSIVE, REJECTED

PATH_HELP = "run folder, output folder (its newest run), or CSV, JSONL or Parquet file"
ARTIFACTS = (".csv", ".jsonl", ".parquet", ".zip")
FINE, BAD, NOTHING, OPEN = 0, 1, 3, 4

Print = Callable[[Iterable[Line]], None]


@dataclass(frozen=True, slots=True)
class _Report:
    """The forms of one report; each is made only if it is asked for."""

    lines: Callable[[], Iterator[Line]]
    markdown: Callable[[], str]
    data: Callable[[], Any]
    junit: Callable[[], str]
    annotations: Callable[[], Iterator[str]]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``compare`` and ``gate``."""
    compare = commands.add_parser("compare", help="compare runs with a baseline, offline")
    compare.add_argument("baseline", type=Path, help=PATH_HELP)
    compare.add_argument("candidates", type=Path, nargs="+", metavar="candidate", help=PATH_HELP)
    compare.add_argument(
        "--margin", action="append", default=[], metavar="[METRIC=]SHARE",
        help=f"largest change that does not matter, for all or for one metric (default {MARGIN})",
    )  # fmt: skip
    compare.add_argument(
        "--lower-is-better", action="append", default=[], metavar="METRIC",
        help="a recorded number of which less is better, where its name does not tell",
    )  # fmt: skip
    compare.add_argument(
        "--higher-is-better", action="append", default=[], metavar="METRIC", help="the contrary"
    )
    compare.add_argument(
        "--fail-on", default="regression", metavar="WHAT",
        help=f"comma-separated: {', '.join(FAIL_ON)}, none (default: regression)",
    )  # fmt: skip
    _add_outputs(compare)
    compare.set_defaults(run=_compare)

    gate = commands.add_parser("gate", help="judge expectations on a recorded run")
    gate.add_argument("path", type=Path, help=PATH_HELP)
    gate.add_argument(
        "--expect", action="append", default=[], metavar="EXPECTATION",
        help="e.g. 'success_rate > 0.9'; default: those of the run's own markers",
    )  # fmt: skip
    gate.add_argument(
        "--inconclusive", choices=("fail", "pass", "warn"), default="warn",
        help="what an open expectation does, where its marker does not say (default: warn)",
    )  # fmt: skip
    _add_outputs(gate)
    gate.set_defaults(run=_gate)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    for name, what in (
        ("markdown", "Markdown, also added to the file named by GITHUB_STEP_SUMMARY"),
        ("json", "JSON with a schema version"),
        ("junit", "JUnit XML"),
    ):
        parser.add_argument(
            f"--{name}", nargs="?", const="-", metavar="FILE",
            help=f"write {what}; without FILE to standard output, in place of the table",
        )  # fmt: skip
    parser.add_argument(
        "--github", action="store_true", default=bool(os.environ.get("GITHUB_ACTIONS")),
        help="print GitHub annotations (default where GITHUB_ACTIONS is set)",
    )  # fmt: skip


# --- compare ----------------------------------------------------------------------------------


def _compare(options: argparse.Namespace, show: Print) -> int:
    _check_outputs(options)
    fail_on = parse_fail_on(options.fail_on)
    adjust = _adjust(options)
    base = _read(options.baseline)
    comparisons = [compare_runs(base, _read(path), adjust) for path in options.candidates]
    report = _Report(
        lines=lambda: (line for each in comparisons for line in [*render_comparison(each), _BLANK]),
        markdown=lambda: "\n".join(compare_markdown(each) for each in comparisons),
        data=lambda: _compare_data(comparisons, fail_on),
        junit=lambda: comparison_junit(comparisons, fail_on),
        annotations=lambda: (
            a for each in comparisons for a in comparison_annotations(each, fail_on)
        ),
    )
    _write(options, report, show)
    return max((_compare_code(each, fail_on) for each in comparisons), key=_SEVERITY.index)


_BLANK = Line("")
_SEVERITY = (FINE, OPEN, NOTHING, BAD)


def _read(path: Path) -> tuple[Run, Results]:
    run = open_run(path)
    return run, analyse(run)


def _compare_code(comparison: RunComparison, fail_on: Sequence[str]) -> int:
    if not comparison.comparable:
        return NOTHING
    failures = comparison.failures(fail_on)
    if any(not each.startswith(INCONCLUSIVE) for each in failures):
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


def parse_fail_on(text: str) -> tuple[str, ...]:
    """``regression,missing`` as a tuple.

    Raises:
        DefinitionError: names the first that is unknown.
    """
    wanted = tuple(part.strip() for part in text.split(",") if part.strip())
    for each in wanted:
        if each not in (*FAIL_ON, "none"):
            raise DefinitionError(
                f"--fail-on: {each!r} is not one of {', '.join((*FAIL_ON, 'none'))}"
            )
    return tuple(each for each in wanted if each != "none")


def _adjust(options: argparse.Namespace) -> Callable[[Options], Options]:
    """The command line beats the marker; a margin for all metrics beats all of the marker's."""
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
        **dict.fromkeys(options.lower_is_better, True),
        **dict.fromkeys(options.higher_is_better, False),
    }

    def adjust(marker: Options) -> Options:
        known = {} if margin is not None else dict(marker.margins or {})
        return Options(
            margin=marker.margin if margin is None else margin,
            margins={**margins, **{key: known[key] for key in known if key not in margins}},
            lower_is_better=directions,
        )

    return adjust


# --- gate -------------------------------------------------------------------------------------


def _gate(options: argparse.Namespace, show: Print) -> int:
    _check_outputs(options)
    run = open_run(options.path)
    results = analyse(run, expect=options.expect)
    report = _Report(
        lines=lambda: iter([*render(results), Line(f"run: {results.run}")]),
        markdown=lambda: results_markdown(results),
        data=lambda: {"schema": SCHEMA, "run": results.run, **results.to_dict()},
        junit=lambda: results_junit(results, options.inconclusive),
        annotations=lambda: results_annotations(results, options.inconclusive),
    )
    _write(options, report, show)
    if not any(each.judgements for each in results.experiments):
        _tell("nothing to judge: no --expect, and the run has no expectations")
        return NOTHING
    unmet = {judgement.verdict for _, judgement in results.unmet(options.inconclusive)}
    if results.lost and REJECTED not in unmet:
        _tell("not passed: the record is incomplete")  # what is missing might have failed
        return BAD
    if REJECTED in unmet:
        return BAD
    return OPEN if unmet else FINE


def _tell(text: str) -> None:
    print(f"crucible: {text}", file=sys.stderr)


# --- outputs ----------------------------------------------------------------------------------


def _check_outputs(options: argparse.Namespace) -> None:
    """In ``--json base.csv head.csv`` the first file would be overwritten, not compared."""
    for name in ("markdown", "json", "junit"):
        target = getattr(options, name)
        if target is not None and (Path(target).is_dir() or Path(target).suffix in ARTIFACTS):
            raise DefinitionError(
                f"--{name}: {target!r} is an artifact, not a file to write; put --{name} last"
            )


def _write(options: argparse.Namespace, report: _Report, show: Print) -> None:
    """Write everything that was asked for; all of it before any exit code."""
    forms: dict[str, Callable[[], str]] = {
        "markdown": report.markdown,
        "json": lambda: msgspec.json.format(to_json(report.data()), indent=2).decode() + "\n",
        "junit": report.junit,
    }
    wanted = {name: getattr(options, name) for name in forms if getattr(options, name) is not None}
    failures: list[OSError] = []
    for name, target in wanted.items():
        if target != "-":
            try:
                with replacing(Path(target)) as file:
                    file.write(forms[name]())
            except OSError as error:
                failures.append(error)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if "markdown" in wanted and summary:
        with open(summary, "a", encoding="utf-8") as file:
            file.write(report.markdown())
    to_stdout = [name for name, target in wanted.items() if target == "-"]
    for name in to_stdout:
        show([Line(forms[name]().removesuffix("\n"))])
    if not to_stdout:
        show(report.lines())
        if options.github:
            show(Line(command) for command in report.annotations())
    if failures:
        raise failures[0]
