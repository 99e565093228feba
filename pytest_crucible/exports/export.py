"""Export the events of a run in one of the formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pytest_crucible._errors import CrucibleError, OutputError
from pytest_crucible.events.event import Event
from pytest_crucible.exports.anonymise import Anonymiser
from pytest_crucible.exports.counted import counted
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
    """Write events to ``path`` without options.

    Args:
        events: returns the events; called once per pass.
        path: the file to make; its folder must exist.
        format: one of `FORMATS`, or a plugin's format.
        enrichers: as for `observe`.
        mark: marks the rows of anomalies.

    Returns:
        ``path``.
    """
    extra = tuple(enrichers)
    format.writer()(Rows(events, extra, mark=counted(events, extra, mark)), path)
    return path


def export_as(
    events: Callable[[], Iterable[Event]],
    path: Path,
    format: str,
    options: ExportOptions = _NO_OPTIONS,
    mark: Mark | None = None,
    known: Mapping[str, Format] = FORMATS,
) -> Path:
    """Write events to ``path`` in a format given by name, with options.

    Args:
        events: returns the events; called once per pass.
        path: the file to make; its folder must exist. ``.gz`` and ``.zst`` compress it.
        format: the name of a format, with or without compression: ``csv``, ``csv.gz``.
        options: flattening, columns, anonymising and the like.
        mark: marks the rows of anomalies.
        known: all formats by name, including those of plugins.

    Returns:
        ``path``.

    Raises:
        DefinitionError: format, ending and options do not fit, or no event has a wanted column.
        MissingExtraError: the format is Parquet or zstd, and pyarrow is not installed.
        OutputError: a plugin's format failed, or wrote nothing.
    """
    chosen, packed = parse_format(format, known)
    check_ending(chosen, packed, path)
    exporter = chosen.pretty_writer() if options.pretty else chosen.writer()
    rows = _rows(
        events, options, counted(events, mark=mark), flatten=options.flatten and chosen.nested
    )
    try:
        exporter(rows, path)
    except (CrucibleError, OSError):
        raise
    except Exception as error:
        if chosen is FORMATS.get(chosen.name):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise OutputError(f"{path}: format {chosen.name!r} failed: {reason}") from error
    if not path.exists():
        raise OutputError(f"{path}: format {chosen.name!r} wrote no file")
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
