"""What the commands that compare runs share: which metrics decide, by what margin, and the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytest_crucible._errors import DefinitionError
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run_comparison import FAIL_ON, RunComparison
from pytest_crucible.analysis.run_drafts import RunDraft
from pytest_crucible.capture.frames import SCHEMA
from pytest_crucible.cli.outputs import BAD, FINE, NOTHING, OPEN, Report, write_outputs
from pytest_crucible.cli.printing import Print
from pytest_crucible.metrics.catalog import HIGHER, LOWER
from pytest_crucible.report.annotations import comparison_annotations
from pytest_crucible.report.compare_text import render_comparison
from pytest_crucible.report.junit import comparison_junit
from pytest_crucible.report.lines import Line
from pytest_crucible.report.markdown import compare_markdown
from pytest_crucible.runs.run import RecordedRun, open_recorded
from pytest_crucible.stats.comparison_options import Options, unknown_metric
from pytest_crucible.stats.verdict import INCONCLUSIVE

_BLANK = Line("")
_SEVERITY = (FINE, OPEN, NOTHING, BAD)


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which metrics decide, and which way is better."""
    parser.add_argument(
        "--metric", action="append", default=[], metavar="METRIC",
        help="metric that decides, beside the success rate; the others are only shown (default: "
        "primary= and expect= of the marker, else success_rate, latency and cost)",
    )  # fmt: skip
    parser.add_argument(
        "--lower-is-better", action="append", default=[], metavar="METRIC",
        help="number of which less is better, if nobody declared that",
    )  # fmt: skip
    parser.add_argument(
        "--higher-is-better",
        action="append",
        default=[],
        metavar="METRIC",
        help="number of which more is better",
    )


def read(path: Path) -> tuple[RecordedRun, Results]:
    """Read a run, and work out its results."""
    run = open_recorded(path)
    return run, analyse(run)


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


def adjusted(
    options: argparse.Namespace,
    *,
    every: bool = False,
    otherwise: float | None = None,
    also: Sequence[str] = (),
) -> Callable[[Options], Options]:
    """Return a function that overrides a marker's options with those of the command line.

    A margin without a metric overrides all margins of the marker.

    Args:
        options: of the command.
        every: whether all metrics decide.
        otherwise: the margin if neither the command line nor the marker has one; None: `MARGIN`.
        also: metrics that decide beside those of the marker, unless the command line names some.

    Raises:
        DefinitionError: a margin is no share.
    """
    margin: float | None = None
    margins: dict[str, float] = {}
    for text in options.margin:
        metric, equals, share = text.rpartition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not 0 < value < (10 if equals else 1):
            percent = f"; {value:g} % is {value / 100:g}" if 1 <= value < 100 else ""
            raise DefinitionError(
                f"--margin: {text!r} is not a share such as 0.05 or latency=0.1{percent}"
            )
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
        given = marker.margin if margin is None else margin
        asked = (*marker.primary, *also) if marker.primary else ()
        return Options(
            margin=otherwise if given is None else given,
            margins={**margins_of_marker, **margins},
            better=directions,
            primary=tuple(options.metric) or asked,
            every=every,
        )

    return adjust


def check_metrics(names: Sequence[str], drafts: Sequence[RunDraft]) -> None:
    """Refuse a ``--metric`` that no arm has a row for."""
    rows = dict.fromkeys(row.row.metric for draft in drafts for row in draft.rows)
    unknown = unknown_metric(names, rows)
    if unknown:
        raise DefinitionError(f"--metric: {unknown}")


def write_comparisons(
    comparisons: Sequence[RunComparison],
    fail_on: Sequence[str],
    options: argparse.Namespace,
    show: Print,
) -> int:
    """Write all outputs of comparisons, and return the exit code: that of the worst."""
    report = Report(
        lines=lambda: (line for each in comparisons for line in [*render_comparison(each), _BLANK]),
        markdown=lambda: "\n".join(compare_markdown(each) for each in comparisons),
        data=lambda: _data(comparisons, fail_on),
        junit=lambda: comparison_junit(comparisons, fail_on),
        annotations=lambda: (
            a for each in comparisons for a in comparison_annotations(each, fail_on)
        ),
    )
    write_outputs(options, report, show)
    return max((_code(each, fail_on) for each in comparisons), key=_SEVERITY.index)


def _code(comparison: RunComparison, fail_on: Sequence[str]) -> int:
    if not comparison.comparable:
        return NOTHING
    failures = comparison.failures(fail_on)
    if any(not failure.startswith(INCONCLUSIVE) for failure in failures):
        return BAD
    return OPEN if failures else FINE


def _data(comparisons: Sequence[RunComparison], fail_on: Sequence[str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "fail_on": list(fail_on),
        "comparisons": [
            {**each.to_dict(), "failures": each.failures(fail_on)} for each in comparisons
        ],
    }
