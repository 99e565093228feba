"""``crucible export``: write the events of a run, or some of their columns, to a file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from pytest_crucible._errors import DefinitionError
from pytest_crucible._files import make_output_folder
from pytest_crucible.cli.arguments import PATH_HELP, path_argument
from pytest_crucible.cli.printing import Print
from pytest_crucible.exports.described import described, told
from pytest_crucible.exports.export import export_as
from pytest_crucible.exports.formats import FORMATS, Format, format_of, parse_format
from pytest_crucible.exports.options import MODES, ExportOptions
from pytest_crucible.hooks.installed import known_formats
from pytest_crucible.queries.anomalies import marks_of
from pytest_crucible.report.lines import Line
from pytest_crucible.runs.overwrite_guard import obstacle_at
from pytest_crucible.runs.run import open_recorded

KEY_VARIABLE = "CRUCIBLE_ANONYMIZE_KEY"


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``export`` to the parser."""
    export = commands.add_parser("export", help="convert a run to another format")
    export.add_argument("path", type=path_argument, help=PATH_HELP)
    export.add_argument(
        "--format", "-f", help=f"{', '.join(FORMATS)}, or as csv.gz; default: by file ending"
    )
    export.add_argument(
        "--output", "-o", type=path_argument, required=True,
        help="file to write; .gz and .zst compress it",
    )  # fmt: skip
    export.add_argument("--force", action="store_true", help="replace a record that is there")
    export.add_argument("--flatten", action="store_true", help="dotted keys in JSON and JSONL")
    export.add_argument("--pretty", action="store_true", help="indented JSON")
    export.add_argument(
        "--columns", metavar="NAMES", type=_names, default=(),
        help="only these columns, comma-separated; * stands for any characters: metadata.*",
    )  # fmt: skip
    export.add_argument(
        "--anonymize", nargs="?", const="hash", choices=MODES,
        help="hash (default) or drop fields that identify people; drops free text in either case",
    )  # fmt: skip
    export.add_argument(
        "--anonymize-fields", metavar="NAMES", type=_names, default=(),
        help="further fields that identify people, comma-separated",
    )  # fmt: skip
    export.add_argument(
        "--anonymize-keep", metavar="NAMES", type=_names, default=(),
        help="fields whose text may be shown, comma-separated",
    )  # fmt: skip
    export.add_argument(
        "--anonymize-key-file", metavar="FILE", type=path_argument,
        help=f"secret for hashing, to join exports; default: {KEY_VARIABLE}, else a random one",
    )  # fmt: skip
    export.set_defaults(run=_export)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:  # an unset shell variable must not select all columns
        raise argparse.ArgumentTypeError(f"{text!r} holds no name")
    return names


def _export(options: argparse.Namespace, show: Print) -> int:
    known = known_formats()
    name = options.format or format_of(options.output, known)
    parse_format(name, known)
    _check_target(options, known)
    chosen = ExportOptions(
        flatten=options.flatten,
        pretty=options.pretty,
        columns=options.columns,
        anonymize=options.anonymize,
        anonymize_fields=options.anonymize_fields,
        anonymize_keep=options.anonymize_keep,
        anonymize_key=_key(options),
    )
    run = open_recorded(options.path)
    make_output_folder(options.output.parent)
    definitions = run.definitions().values()
    mark = described(told(each.described for each in definitions), marks_of(run.manifest))
    show([Line(str(export_as(lambda: run.events, options.output, name, chosen, mark, known)))])
    return 0


def _check_target(options: argparse.Namespace, known: Mapping[str, Format]) -> None:
    obstacle = obstacle_at(options.output, known, [options.path])
    if obstacle is None or (obstacle.replaceable and options.force):
        return
    advice = "--force replaces it" if obstacle.replaceable else "write it elsewhere"
    raise DefinitionError(f"{options.output} is {obstacle.what}; {advice}")


def _key(options: argparse.Namespace) -> bytes | None:
    """Read the secret. The command line cannot hold it: other users of the machine can see that."""
    file: Path | None = options.anonymize_key_file
    if file is not None:
        key = file.read_bytes().strip()
        if not key:
            raise DefinitionError(f"{file}: no key in it")
        return key
    if options.anonymize == "hash" and os.environ.get(KEY_VARIABLE):
        return os.environb[KEY_VARIABLE.encode()].strip()
    return None
