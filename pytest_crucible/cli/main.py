"""Read, convert and judge what runs left behind, without running anything again.

Exit codes: 0 fine; 1 regression, or an expectation rejected; 2 usage, or unreadable input;
3 nothing to compare or to judge; 4 inconclusive, where --fail-on or --inconclusive asks for it.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import NoReturn

from pytest_crucible._errors import CrucibleError
from pytest_crucible.cli import (
    archive,
    compare,
    events,
    export,
    gate,
    merge,
    metrics,
    plan,
    recover,
    show,
)
from pytest_crucible.cli.arguments import NotAPathError
from pytest_crucible.cli.printing import print_lines
from pytest_crucible.hooks.installed import PluginWarning

_COMMANDS = (show, export, merge, archive, recover, compare, gate, plan, events, metrics)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        options = _parser().parse_args(arguments)
        with _told_in_one_line():
            code: int = options.run(options, print_lines)
            print_lines(())
        return code
    except (CrucibleError, NotAPathError, OSError) as error:
        print(f"crucible: {error}", file=sys.stderr)
        return 2


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    """What plugins did wrong goes to standard error, each once, after everything else."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default", PluginWarning)
        try:
            yield
        finally:
            for line in dict.fromkeys(str(each.message) for each in told if _of_plugin(each)):
                print(f"crucible: {line}", file=sys.stderr)
    for each in told:
        if not _of_plugin(each):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _of_plugin(told: warnings.WarningMessage) -> bool:
    return issubclass(told.category, PluginWarning)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crucible", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_command(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        print(f"pytest-crucible {version('pytest-crucible')}")
        parser.exit()
