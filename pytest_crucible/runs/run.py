"""Run: a recorded run, opened for reading, whatever form it is kept in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_crucible._errors import ArtifactError
from pytest_crucible._layout import NODES, SUFFIX
from pytest_crucible.capture.frames import SCHEMA, Frame, HeaderFrame
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import REQUIRED
from pytest_crucible.exports.compressed import compression, inner_suffix
from pytest_crucible.exports.csv_file import read_csv
from pytest_crucible.exports.json_file import read_json
from pytest_crucible.exports.jsonl_file import read_jsonl
from pytest_crucible.exports.parquet_file import read_parquet
from pytest_crucible.exports.rows import event_from_row, unflatten
from pytest_crucible.record.merge import merge
from pytest_crucible.record.node_reader import Node, TrialKey
from pytest_crucible.record.spool_reader import SpoolReader
from pytest_crucible.runs import archive
from pytest_crucible.runs.definition import Definition
from pytest_crucible.runs.enriched import EnrichedReader, enriched_path
from pytest_crucible.runs.manifest import NAME, read_manifest

if TYPE_CHECKING:
    from pytest_crucible.queries.events import Events

_READERS: dict[str, Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".csv": read_csv,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}


@dataclass
class Run:
    """A recorded run.

    Attributes:
        id: its id; for a single file, that of its first event.
        path: run folder or file; None for a run in memory.
        manifest: as written at its end, or None.
        nodes: what each process recorded. Their tables are known once `events` has been read.
    """

    id: str
    path: Path | None
    nodes: list[Node] = field(default_factory=list)
    manifest: dict[str, Any] | None = None
    _events: Callable[[], Iterator[Event]] | None = None

    def events(self) -> Events:
        """All events, in order, the plugin's own (trials, recorded numbers) among them."""
        from pytest_crucible.queries.events import Events

        return Events(lambda: merge(self.nodes) if self._events is None else self._events())

    def definitions(self) -> dict[str, Definition]:
        """The experiments by name, as far as the artifact tells."""
        found: dict[str, Definition] = {}
        for name, each in ((self.manifest or {}).get("experiments") or {}).items():
            found[name] = Definition.from_dict({**each["definition"], "name": name})
        for node in self.nodes:
            for name, definition in node.definitions.items():
                found.setdefault(name, Definition.from_dict({**definition, "name": name}))
        return found

    def plan(self) -> list[TrialKey]:
        """The trials that were meant to run, each once."""
        return list(dict.fromkeys(trial for node in self.nodes for trial in node.plan))

    def torn(self) -> list[str]:
        """Where files had to be skipped, a sentence each; known once `events` has been read."""
        sources = [source for node in self.nodes for source in (node.frames, node.enriched)]
        readers = [each for each in sources if isinstance(each, (SpoolReader, EnrichedReader))]
        return [each.torn for each in readers if each.torn]


def open_run(path: str | Path) -> Run:
    """Open a run folder, an output folder (its newest run), an archive, or an exported file.

    Raises:
        ArtifactError: there is nothing to read, or nothing that this version can read.
    """
    path = Path(path)
    if not path.exists():
        raise ArtifactError(f"{path}: no such file or folder")
    if path.is_dir():
        return open_folder(newest_run(path))
    if path.suffix == archive.SUFFIX:
        return _open_archive(path)
    if path.name == NAME:
        return open_folder(path.parent)
    reader = _READERS.get(inner_suffix(path))
    if reader is None or (compression(path) and reader is read_parquet):
        endings = ", ".join([*_READERS, archive.SUFFIX])
        raise ArtifactError(f"{path}: not a run folder, nor a {endings} file")
    if path.stat().st_size == 0:
        raise ArtifactError(f"{path}: empty")
    first = next(_file_events(path, reader), None)
    if first is None:
        raise ArtifactError(f"{path}: no events in it")
    return Run(id=first.run, path=path, _events=lambda: _file_events(path, reader))


def open_folder(folder: Path) -> Run:
    """Open one run folder, finished or not."""
    manifest = read_manifest(folder)
    files = sorted((folder / NODES).glob(f"*{SUFFIX}"))
    if not files:
        raise ArtifactError(f"{folder}: no recorded events ({NODES}/*{SUFFIX}) in it")
    run = str(manifest["run"]) if manifest else folder.name
    nodes = [
        Node(
            file.stem,
            SpoolReader(file),
            source=str(file),
            run=run,
            enriched=EnrichedReader(enriched_path(file)),
        )
        for file, _ in distinct_spools(files)
    ]
    return Run(id=run, path=folder, nodes=nodes, manifest=manifest)


def _open_archive(path: Path) -> Run:
    unpacked = archive.unpack(path)
    run = open_folder(unpacked.folder)
    run.path = path
    if run.manifest is None:  # its session was killed: only its spools know what it is called
        first = next((frame for _, frame in run.nodes[0].frames), None)
        run.id = first.run if isinstance(first, HeaderFrame) else path.stem
    by_index = (run.manifest or {}).get("positions") == BY_INDEX
    for node in run.nodes:
        node.keep = unpacked  # whoever reads the node's events may not hold on to the run
        if by_index and isinstance(node.frames, SpoolReader):
            node.frames = _Indexed(node.frames)
    return run


BY_INDEX = "index"
"""In a manifest's ``positions``: events were counted, as in memory, before they got a spool."""


class _Indexed:
    """Frames of a spool by their index instead of their offset, not counting its header."""

    def __init__(self, reader: SpoolReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        return ((index, frame) for index, (_, frame) in enumerate(self._reader, -1))


def run_files(folder: Path) -> list[Path]:
    """The files that make a run folder, without what can be made from them.

    Raises:
        ArtifactError: it is no run folder.
    """
    spools = sorted((folder / NODES).glob("*")) if is_run(folder) else []
    manifest = folder / NAME
    if not spools:
        raise ArtifactError(f"{folder}: no run folder with recorded events")
    return [*spools, *([manifest] if manifest.exists() else [])]


def distinct_spools(files: Iterable[Path]) -> list[tuple[Path, HeaderFrame | None]]:
    """The files, each process's record once (the longest copy), with their headers."""
    found: dict[str, tuple[Path, HeaderFrame | None]] = {}
    for file in files:
        first = next((frame for _, frame in SpoolReader(file)), None)
        header = first if isinstance(first, HeaderFrame) else None
        if header and header.schema != SCHEMA:
            raise ArtifactError(
                f"{file}: schema {header.schema}, this version reads {SCHEMA}; "
                "use the pytest-crucible that wrote it"
            )
        key = header.uid if header else str(file)
        known = found.get(key)
        if known is None or file.stat().st_size > known[0].stat().st_size:
            found[key] = (file, header)
    return list(found.values())


def is_run(folder: Path) -> bool:
    """Whether this is the folder of one run."""
    return (folder / NAME).is_file() or (folder / NODES).is_dir()


def newest_run(folder: Path) -> Path:
    """The folder itself if it is that of a run, else the newest run in it.

    Raises:
        ArtifactError: there is none.
    """
    if is_run(folder):
        return folder
    runs = sorted(each for each in folder.iterdir() if each.is_dir() and is_run(each))
    if not runs:
        raise ArtifactError(f"{folder}: no run in this folder")
    return runs[-1]


def _file_events(
    path: Path, reader: Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]
) -> Iterator[Event]:
    for line, row in reader(path):
        missing = [column for column in REQUIRED if column not in row]
        if missing:
            partly = len(missing) < len(REQUIRED)
            what = "only some columns were exported" if partly else "not written by pytest-crucible"
            raise ArtifactError(f"{path}:{line}: {what}: it has no {missing[0]!r}")
        if "metadata" not in row and "measurements" not in row:  # written with `flatten`
            row = unflatten(row, absent=False)
        try:
            yield event_from_row(row)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArtifactError(f"{path}:{line}: not an event: {error}") from error
