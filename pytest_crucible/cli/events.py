"""``crucible events``: list the catalog of events."""

from __future__ import annotations

import argparse
import json
import runpy
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tabulate import tabulate

from pytest_crucible._errors import DefinitionError
from pytest_crucible.capture.bus import matcher
from pytest_crucible.cli.arguments import path_argument
from pytest_crucible.cli.printing import Print
from pytest_crucible.events.catalog import EventInfo, list_events
from pytest_crucible.report.lines import Line


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``events`` to the parser."""
    events = commands.add_parser("events", help="list the known events and what they carry")
    events.add_argument("pattern", nargs="?", default="*", help="names; * stands for any text")
    events.add_argument("--category", help="list only this category")
    events.add_argument("--json", action="store_true", help="as JSON")
    events.add_argument(
        "--load", type=path_argument, metavar="FILE",
        help="run this Python file (a conftest.py) first; it defines further events",
    )  # fmt: skip
    events.set_defaults(run=_events)


def _events(options: argparse.Namespace, show: Print) -> int:
    if options.load is not None:
        _load(options.load)
    matches = matcher(options.pattern).match
    matching = [event for event in list_events(options.category) if matches(event.name)]
    if not matching:
        categories = ", ".join(dict.fromkeys(event.category for event in list_events()))
        raise DefinitionError(f"events: none matches; categories: {categories}")
    if options.json:
        show(
            [Line(json.dumps([asdict(event) for event in matching], indent=2, ensure_ascii=False))]
        )
    else:
        show(_table(matching))
    return 0


def _load(path: Path) -> None:
    if not path.is_file():
        raise DefinitionError(f"events: --load: there is no file {str(path)!r}")
    try:
        runpy.run_path(str(path))
    except DefinitionError:
        raise
    except (Exception, SystemExit) as error:
        raise DefinitionError(
            f"events: --load: {path} raised {type(error).__name__}: {error}"
        ) from error


def _table(events: list[EventInfo]) -> Iterator[Line]:
    rows = [[event.name, event.category, event.description, _fields(event)] for event in events]
    table = tabulate(
        rows, headers=["event", "category", "", "measurements · metadata"], tablefmt="plain",
        disable_numparse=True,
    )  # fmt: skip
    for line in table.splitlines():
        yield Line(line.rstrip())


def _fields(event: EventInfo) -> str:
    numbers = [_with_unit(name, unit) for name, unit in event.measurements.items()]
    numbers += [f"[{_with_unit(name, unit)}]" for name, unit in event.optional.items()]
    parts = [", ".join(numbers) or "–"]
    if event.metadata:
        parts.append(", ".join(event.metadata))
    return " · ".join(parts)


def _with_unit(name: str, unit: str) -> str:
    name_has_unit = name == unit or name.lower().endswith(f"_{unit.lower()}")
    return name if not unit or name_has_unit else f"{name} ({unit})"
