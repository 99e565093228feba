"""The outputs of ``compare`` and ``gate``: their forms, and the files to write."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pytest_crucible._errors import DefinitionError
from pytest_crucible._files import is_special, local_path, replacing
from pytest_crucible.cli.printing import Print
from pytest_crucible.exports.rows import to_json
from pytest_crucible.hooks.installed import known_formats
from pytest_crucible.report.lines import Line
from pytest_crucible.runs.overwrite_guard import has_record_ending, obstacle_at

FINE, BAD, NOTHING, OPEN = 0, 1, 3, 4
"""Exit codes of both: fine; bad; nothing to judge; inconclusive, if the user wants to know that."""

SUMMARY = "GITHUB_STEP_SUMMARY"
FORMS = {
    "markdown": f"Markdown, also added to the file named by {SUMMARY}",
    "json": "JSON with a schema version",
    "junit": "JUnit XML",
}
"""Options that name a file to write, and what they write."""


@dataclass(frozen=True, slots=True)
class Report:
    """The forms of one report, as functions: a form that nobody wants is not made."""

    lines: Callable[[], Iterator[Line]]
    markdown: Callable[[], str]
    data: Callable[[], Any]
    junit: Callable[[], str]
    annotations: Callable[[], Iterator[str]]


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options for outputs to the parser of a command."""
    for name, what in FORMS.items():
        parser.add_argument(
            f"--{name}", nargs="?", const="-", metavar="FILE",
            help=f"write {what}; without FILE to standard output, in place of the table",
        )  # fmt: skip
    parser.add_argument(
        "--github", action="store_true", default=bool(os.environ.get("GITHUB_ACTIONS")),
        help="print GitHub annotations (default where GITHUB_ACTIONS is set)",
    )  # fmt: skip


def check_outputs(options: argparse.Namespace, inputs: Sequence[Path]) -> None:
    """Check, before anything is read, that no output overwrites a record.

    In ``--json base.csv head.csv`` the first file would be overwritten, not compared.

    Raises:
        DefinitionError: an output would overwrite a record, or two outputs have the same target.
    """
    targets = {
        f"--{name}": local_path(target)
        for name in FORMS
        if (target := getattr(options, name)) not in (None, "-")
    }
    summary = os.environ.get(SUMMARY)
    if options.markdown is not None and summary and not is_special(Path(summary)):
        targets[SUMMARY] = Path(summary)
    known = known_formats() if targets else {}
    written: dict[str, str] = {}
    for name, target in targets.items():
        obstacle = obstacle_at(target, known, inputs)
        if obstacle is not None and obstacle.elsewhere:
            raise DefinitionError(f"{name}: {str(target)!r} is {obstacle.what}; write it elsewhere")
        if obstacle is not None or has_record_ending(target, known):
            raise DefinitionError(
                f"{name}: {str(target)!r} is an artifact, not a file to write; put {name} last"
            )
        other = written.setdefault(os.path.realpath(target), name)
        if other != name:
            raise DefinitionError(f"{other} and {name} would both write {str(target)!r}")


def write_outputs(options: argparse.Namespace, report: Report, show: Print) -> None:
    """Write all outputs that the options name.

    Raises:
        OSError: a file cannot be written; raised after all other outputs are written.
    """
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
    summary = os.environ.get(SUMMARY)
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
