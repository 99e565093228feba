"""The forms in which ``compare`` and ``gate`` tell their verdicts, and where these go."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pytest_crucible._errors import DefinitionError
from pytest_crucible._files import replacing
from pytest_crucible.cli.printing import Print
from pytest_crucible.exports.rows import to_json
from pytest_crucible.report.terminal import Line

FINE, BAD, NOTHING, OPEN = 0, 1, 3, 4
"""Exit codes of both: fine; bad; nothing to judge; open, where that was asked for."""

ARTIFACTS = (".csv", ".jsonl", ".parquet", ".zip")


@dataclass(frozen=True, slots=True)
class Report:
    """The forms of one report; each is made only if it is asked for."""

    lines: Callable[[], Iterator[Line]]
    markdown: Callable[[], str]
    data: Callable[[], Any]
    junit: Callable[[], str]
    annotations: Callable[[], Iterator[str]]


def add_outputs(parser: argparse.ArgumentParser) -> None:
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


def check_outputs(options: argparse.Namespace) -> None:
    """In ``--json base.csv head.csv`` the first file would be overwritten, not compared."""
    for name in ("markdown", "json", "junit"):
        target = getattr(options, name)
        if target is not None and (Path(target).is_dir() or Path(target).suffix in ARTIFACTS):
            raise DefinitionError(
                f"--{name}: {target!r} is an artifact, not a file to write; put --{name} last"
            )


def write_outputs(options: argparse.Namespace, report: Report, show: Print) -> None:
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
