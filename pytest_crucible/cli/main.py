"""Read, convert and judge recorded runs; only `ab` runs tests.

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
    ab,
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

_COMMANDS = (show, export, merge, archive, recover, compare, ab, gate, plan, events, metrics)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        own, passed_on = ab.split(sys.argv[1:] if arguments is None else arguments)
        options = _parser().parse_args(own, argparse.Namespace(passed_on=passed_on))
        with _plugin_warnings_in_one_line():
            code: int = options.run(options, print_lines)
            print_lines(())
        return code
    except (CrucibleError, NotAPathError, OSError) as error:
        print(f"crucible: {error}", file=sys.stderr)
        return 2


@contextmanager
def _plugin_warnings_in_one_line() -> Iterator[None]:
    """Print warnings about plugins to standard error, without duplicates, after everything else."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", PluginWarning)
        try:
            yield
        finally:
            for line in dict.fromkeys(str(w.message) for w in caught if _of_plugin(w)):
                print(f"crucible: {line}", file=sys.stderr)
    for warning in caught:
        if not _of_plugin(warning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def _of_plugin(warning: warnings.WarningMessage) -> bool:
    return issubclass(warning.category, PluginWarning)


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
    """Prints the version; looks it up only now, since that takes time."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        print(f"pytest-crucible {version('pytest-crucible')}")
        parser.exit()
