"""The export formats, and how a run is written in one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pytest_crucible._errors import DefinitionError
from pytest_crucible._layout import COMPRESSIONS, TEXT_FORMATS, split_format
from pytest_crucible.events.event import Event
from pytest_crucible.exports.anonymise import Anonymiser
from pytest_crucible.exports.compressed import compression, inner_suffix
from pytest_crucible.exports.csv_file import write_csv
from pytest_crucible.exports.json_file import write_json
from pytest_crucible.exports.jsonl_file import write_jsonl
from pytest_crucible.exports.options import ExportOptions
from pytest_crucible.exports.parquet_file import write_parquet
from pytest_crucible.exports.rows import Mark, Rows, nested_rows
from pytest_crucible.exports.selection import Selection
from pytest_crucible.exports.table import flat_row


class Exporter(Protocol):
    """Writes rows to a file. ``rows`` may be called as often as needed; each call starts over."""

    def __call__(self, rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None: ...


FORMATS: dict[str, Exporter] = {
    "csv": write_csv, "json": write_json, "jsonl": write_jsonl, "parquet": write_parquet,
}  # fmt: skip
_NESTING = ("json", "jsonl")
_NO_OPTIONS = ExportOptions()


def check_formats(wanted: Sequence[str], known: Iterable[str]) -> None:
    """Raises DefinitionError for the first format that nobody knows."""
    valid = sorted(known)
    for each in wanted:
        plain = Path(each).stem if Path(each).suffix in COMPRESSIONS else each
        if plain != each and plain in valid and plain not in TEXT_FORMATS:
            raise DefinitionError(f"{each!r}: {plain} compresses itself; use {plain!r}")
        if split_format(each)[0] not in valid and each not in valid:
            told = f"unknown export format {each!r}" if each else "no ending that tells the format"
            raise DefinitionError(f"{told}; valid: {', '.join(valid)}")


def format_of(path: Path) -> str:
    """The format that a file's ending tells, with its compression: ``csv.gz``."""
    return inner_suffix(path).lstrip(".") + compression(path)


def export_events(
    events: Callable[[], Iterable[Event]],
    path: Path,
    exporter: Exporter,
    enrichers: Iterable[Any] = (),
    mark: Mark | None = None,
) -> Path:
    """Write events to ``path``, as they are.

    Args:
        events: called once per pass.
        path: the file to make; its folder must exist.
        exporter: one of `FORMATS`, or a plugin's.
        enrichers: as for `observe`.
        mark: adds to the rows of anomalies that they are.
    """
    exporter(Rows(events, enrichers, mark=mark), path)
    return path


def export_as(
    events: Callable[[], Iterable[Event]],
    path: Path,
    format: str,
    options: ExportOptions = _NO_OPTIONS,
    mark: Mark | None = None,
) -> Path:
    """Write events to ``path`` in one of `FORMATS`, with options.

    Args:
        events: called once per pass.
        path: the file to make; its folder must exist. ``.gz`` and ``.zst`` compress it.
        format: ``csv``, …, or with a compression as in ``csv.gz``.
        options: what else was asked for.
        mark: adds to the rows of anomalies that they are.

    Raises:
        DefinitionError: format, ending and options do not fit, or a column is in no event.
        MissingExtraError: Parquet or zstd, and pyarrow is not installed.
    """
    check_formats([format], FORMATS)
    name, packed = split_format(format)
    if packed and compression(path) != packed:
        raise DefinitionError(f"{path}: a {format} file ends with {packed}")
    if compression(path) and name not in TEXT_FORMATS:
        raise DefinitionError(f"{path}: {name} compresses itself; leave out {compression(path)}")
    if options.pretty and name != "json":
        raise DefinitionError(f"pretty is for json (an indented array), {name} has one form only")
    exporter = partial(write_json, pretty=True) if options.pretty else FORMATS[name]
    exporter(_rows(events, options, mark, flatten=options.flatten and name in _NESTING), path)
    return path


def _rows(
    events: Callable[[], Iterable[Event]],
    options: ExportOptions,
    mark: Mark | None,
    *,
    flatten: bool,
) -> Rows:
    steps: list[Callable[[Iterable[Mapping[str, Any]]], Iterator[dict[str, Any]]]] = []
    if options.anonymize is not None:
        anonymiser = Anonymiser(options)
        anonymiser.learn(nested_rows(events()))
        steps.append(anonymiser.of)
    if options.columns:
        steps.append(Selection(options.columns).of)
    if flatten:
        steps.append(partial(map, flat_row))
    if not steps:
        return Rows(events, mark=mark)

    def change(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for step in steps:
            rows = step(rows)
        return rows

    return Rows(events, change=change, mark=mark)
