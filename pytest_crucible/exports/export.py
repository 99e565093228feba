"""How the events of a run are written in one of the formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pytest_crucible._errors import CrucibleError, OutputError
from pytest_crucible.events.event import Event
from pytest_crucible.exports.anonymise import Anonymiser
from pytest_crucible.exports.formats import FORMATS, Format, check_ending, parse_format
from pytest_crucible.exports.options import ExportOptions
from pytest_crucible.exports.rows import Mark, Rows, nested_rows
from pytest_crucible.exports.selection import Selection
from pytest_crucible.exports.table import flat_row

_NO_OPTIONS = ExportOptions()


def export_events(
    events: Callable[[], Iterable[Event]],
    path: Path,
    format: Format,
    enrichers: Iterable[Any] = (),
    mark: Mark | None = None,
) -> Path:
    """Write events to ``path``, as they are.

    Args:
        events: called once per pass.
        path: the file to make; its folder must exist.
        format: one of `FORMATS`, or a plugin's.
        enrichers: as for `observe`.
        mark: adds to the rows of anomalies that they are.
    """
    format.writer()(Rows(events, enrichers, mark=mark), path)
    return path


def export_as(
    events: Callable[[], Iterable[Event]],
    path: Path,
    format: str,
    options: ExportOptions = _NO_OPTIONS,
    mark: Mark | None = None,
    known: Mapping[str, Format] = FORMATS,
) -> Path:
    """Write events to ``path`` in a format that is told by name, with options.

    Args:
        events: called once per pass.
        path: the file to make; its folder must exist. ``.gz`` and ``.zst`` compress it.
        format: ``csv``, …, or with a compression as in ``csv.gz``.
        options: what else was asked for.
        mark: adds to the rows of anomalies that they are.
        known: the formats by name, those of plugins among them.

    Raises:
        DefinitionError: format, ending and options do not fit, or a column is in no event.
        MissingExtraError: Parquet or zstd, and pyarrow is not installed.
        OutputError: a plugin's format failed, or wrote nothing.
    """
    found, packed = parse_format(format, known)
    check_ending(found, packed, path)
    exporter = found.pretty_writer() if options.pretty else found.writer()
    rows = _rows(events, options, mark, flatten=options.flatten and found.nested)
    try:
        exporter(rows, path)
    except (CrucibleError, OSError):
        raise
    except Exception as error:
        if found is FORMATS.get(found.name):
            raise
        told = f"{type(error).__name__}: {error}"
        raise OutputError(f"{path}: format {found.name!r} failed: {told}") from error
    if not path.exists():
        raise OutputError(f"{path}: format {found.name!r} wrote no file")
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
