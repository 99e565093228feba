"""``crucible metrics``: list the metrics, by the names that expectations use."""

from __future__ import annotations

import argparse
import json

from pytest_crucible._errors import DefinitionError
from pytest_crucible.capture.bus import matcher
from pytest_crucible.cli.printing import Print
from pytest_crucible.metrics.catalog import BUILT_IN, Metric
from pytest_crucible.report.lines import Line
from pytest_crucible.report.metric_table import HEADER, metric_rows, metric_table


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``metrics`` to the parser."""
    metrics = commands.add_parser(
        "metrics", help="list the metrics for expectations and comparisons"
    )
    metrics.add_argument("pattern", nargs="?", default="*", help="names; * stands for any text")
    form = metrics.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--markdown", action="store_true", help="as a table in Markdown")
    metrics.set_defaults(run=_metrics)


def _metrics(options: argparse.Namespace, show: Print) -> int:
    matches = matcher(options.pattern).match
    matching: list[Metric] = [metric for metric in BUILT_IN.values() if matches(metric.path)]
    if not matching:
        heads = ", ".join(dict.fromkeys(path.partition(".")[0] for path in BUILT_IN))
        raise DefinitionError(f"metrics: none matches {options.pattern!r}; they begin with {heads}")
    if options.json:
        rows = [dict(zip(HEADER, row, strict=True)) for row in metric_rows(matching)]
        show([Line(json.dumps(rows, indent=2, ensure_ascii=False))])
    else:
        style = "github" if options.markdown else "plain"
        show(Line(line.rstrip()) for line in metric_table(matching, style).splitlines())
    return 0
