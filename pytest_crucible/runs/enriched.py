"""What enrichers set, kept beside each spool, so that whoever reads the run later sees it too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pytest_crucible._files import replacing
from pytest_crucible.events.enrichment import Enriched, changed, enrich
from pytest_crucible.events.event import RESERVED, Event
from pytest_crucible.exports.rows import to_json
from pytest_crucible.record.node_reader import Node

SUFFIX = ".enriched.jsonl"

_decode = msgspec.json.Decoder(tuple[int, dict[str, Any]]).decode


class EnrichedReader:
    """Iterates over ``[sequence, fields]`` lines; a file that is not there has none.

    Attributes:
        torn: where reading had to stop, in a sentence; None if it did not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.torn: str | None = None

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        self.torn = None
        try:
            file = open(self._path, "rb")  # noqa: SIM115  (closed below)
        except FileNotFoundError:
            return
        with file:
            for number, line in enumerate(file, 1):
                try:
                    yield _decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    self.torn = f"{self._path}: torn at line {number}"
                    return


def enriched_path(spool: Path) -> Path:
    """Where what enrichers set about the events of a spool is kept."""
    return spool.with_suffix(SUFFIX)


def keep_enriched(node: Node, enrichers: Iterable[Any]) -> None:
    """Ask enrichers about each of a node's events, and write down what they set.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(enriched_path(Path(node.source))) as file:
        for chunk in node.chunks():
            asked = [row for row, name in enumerate(chunk.names) if not name.startswith(RESERVED)]
            for event in chunk.rows(asked).events():
                fields = _asked(event, enrichers)
                if fields:
                    file.write(to_json([event.sequence, fields]).decode() + "\n")


def _asked(event: Event, enrichers: Iterable[Any]) -> dict[str, Any]:
    enriched: Enriched = enrich(event)
    for enricher in enrichers:
        enricher(event, enriched)
    return changed(enrich(event), enriched)
