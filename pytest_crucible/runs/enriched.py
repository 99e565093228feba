"""What enrichers set, kept beside each spool, so that whoever reads the run later sees it too."""

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


class AskedReader(EnrichedReader):
    """The same of what enrichers say only now, on top of what was kept of the events.

    Args:
        node: whose events they are asked about.
        enrichers: as for `observe`.
    """

    def __init__(self, node: Node, enrichers: Sequence[Enricher]) -> None:
        self._kept = node.enriched
        # A reader of its own: whoever reads the node is in the midst of it.
        self._node = replace(node)
        self._enrichers = enrichers
        self.torn = None

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield from _asked_all(self._node, self._enrichers)
        self.torn = getattr(self._kept, "torn", None)


def enriched_path(spool: Path) -> Path:
    """Where what enrichers set about the events of a spool is kept."""
    return spool.with_suffix(SUFFIX)


def keep_enriched(node: Node, enrichers: Iterable[Enricher] = ()) -> None:
    """Ask enrichers about each of a node's events, and write down what they set.

    What others set about these events before is kept, too.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(enriched_path(Path(node.source))) as file:
        for sequence, fields in _asked_all(node, enrichers):
            file.write(to_json([sequence, fields]).decode() + "\n")


def _asked_all(
    node: Node, enrichers: Iterable[Enricher]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for chunk in node.chunks():
        asked = [row for row, name in enumerate(chunk.names) if not name.startswith(RESERVED)]
        for event in chunk.rows(asked).events():
            fields = said_of(event, enrichers)
            if fields:
                yield event.sequence, fields


def said_of(event: Event, enrichers: Iterable[Enricher]) -> dict[str, Any]:
    """What enrichers set about an event, those of the past among them: see `Event.enriched`."""
    enriched = enrich(event)
    for enricher in enrichers:
        enricher(event, enriched)
    plain = msgspec.structs.replace(event, enriched=None) if event.enriched else event
    return changed(enrich(plain), enriched)
