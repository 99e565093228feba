"""The export formats, and how a run is written in one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pytest_crucible._errors import DefinitionError
from pytest_crucible._event import Event
from pytest_crucible.artifact.csv_file import write_csv
from pytest_crucible.artifact.jsonl_file import write_jsonl
from pytest_crucible.artifact.parquet_file import write_parquet
from pytest_crucible.artifact.rows import Rows


class Exporter(Protocol):
    """Writes rows to a file. ``rows`` may be called as often as needed; each call starts over."""

    def __call__(self, rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None: ...


FORMATS: dict[str, Exporter] = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


def check_formats(wanted: Sequence[str], known: Iterable[str]) -> None:
    """Raises DefinitionError for the first format that nobody knows."""
    valid = sorted(known)
    for each in wanted:
        if each not in valid:
            raise DefinitionError(f"unknown export format {each!r}; valid: {', '.join(valid)}")


def export_events(
    events: Callable[[], Iterable[Event]],
    path: Path,
    exporter: Exporter,
    enrichers: Iterable[Any] = (),
) -> Path:
    """Write events to ``path``.

    Args:
        events: called once per pass.
        path: the file to make; its folder must exist.
        exporter: one of `FORMATS`, or a plugin's.
        enrichers: as for `observe`.
    """
    exporter(Rows(events, enrichers), path)
    return path
