"""Enriched fields: what enrichers set about events, in a file next to each spool.

Later readers of the run may not have the plugins that set them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from pytest_crucible._files import replacing
from pytest_crucible.events.enrichment import changed, enrich
from pytest_crucible.events.event import RESERVED, Event
from pytest_crucible.exports.rows import to_json
from pytest_crucible.metrics.observations import Enricher
from pytest_crucible.record.node_reader import Node

SUFFIX = ".enriched.jsonl"

_decode = msgspec.json.Decoder(tuple[int, dict[str, Any]]).decode


class EnrichedReader:
    """Iterates over the ``[sequence, fields]`` lines of a file; none if the file does not exist.

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


class LateEnrichedReader(EnrichedReader):
    """Iterates over the same pairs, but runs enrichers to get them, on top of the kept fields.

    Args:
        node: the node whose events the enrichers get.
        enrichers: as for `observe`.
    """

    def __init__(self, node: Node, enrichers: Sequence[Enricher]) -> None:
        self._kept = node.enriched
        # A copy: somebody else is iterating over the node itself at that moment.
        self._node = replace(node)
        self._enrichers = enrichers
        self.torn = None

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield from _enriched_lines(self._node, self._enrichers)
        self.torn = getattr(self._kept, "torn", None)


def enriched_path(spool: Path) -> Path:
    """Return the path of the file with the enriched fields of a spool."""
    return spool.with_suffix(SUFFIX)


def keep_enriched(node: Node, enrichers: Iterable[Enricher] = ()) -> None:
    """Run enrichers on a node's events, and write the fields that they set.

    Fields that other enrichers set earlier are kept.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(enriched_path(Path(node.source))) as file:
        for sequence, fields in _enriched_lines(node, enrichers):
            file.write(to_json([sequence, fields]).decode() + "\n")


def _enriched_lines(
    node: Node, enrichers: Iterable[Enricher]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for chunk in node.chunks():
        rows = [row for row, name in enumerate(chunk.names) if not name.startswith(RESERVED)]
        for event in chunk.rows(rows).events():
            fields = enriched_fields(event, enrichers)
            if fields:
                yield event.sequence, fields


def enriched_fields(event: Event, enrichers: Iterable[Enricher]) -> dict[str, Any]:
    """Run enrichers on an event; return what they and earlier ones set, as in `Event.enriched`."""
    enriched = enrich(event)
    for enricher in enrichers:
        enricher(event, enriched)
    plain = msgspec.structs.replace(event, enriched=None) if event.enriched else event
    return changed(enrich(plain), enriched)
