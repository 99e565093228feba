"""Recorded runs, opened for reading: from a run folder, an archive or an exported file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_crucible._errors import ArtifactError, CrucibleError
from pytest_crucible._files import local_path
from pytest_crucible._html import table
from pytest_crucible._layout import NODES, SUFFIX
from pytest_crucible._text import plural
from pytest_crucible.capture.frames import SCHEMA, Frame, HeaderFrame
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import REQUIRED
from pytest_crucible.exports.formats import FORMATS, Format, endings_read, format_of_file
from pytest_crucible.exports.rows import event_from_row, unflatten
from pytest_crucible.hooks.installed import installed
from pytest_crucible.hooks.plugins import Plugins
from pytest_crucible.record.merge import merge
from pytest_crucible.record.node_reader import Node, TrialKey
from pytest_crucible.record.spool_reader import SpoolReader
from pytest_crucible.runs import archive
from pytest_crucible.runs.enriched import EnrichedReader, enriched_path
from pytest_crucible.runs.experiment_definition import Definition
from pytest_crucible.runs.late_enrichment import enrich_nodes_late, events_enriched_late
from pytest_crucible.runs.manifest import NAME, read_manifest

if TYPE_CHECKING:
    from pytest_crucible.queries.events import Events


@dataclass(repr=False)
class RecordedRun:
    """The record of a run; `pytest_crucible.analysis.run.Run` adds metrics and results.

    Attributes:
        id: id of the run; for an exported file, the run of its first event.
        path: run folder or file; None for a run in memory.
        manifest: the manifest that the run wrote at its end; None without one.
        nodes: one per process. Their tables are filled once `events` has been read.
    """

    id: str
    path: Path | None
    nodes: list[Node] = field(default_factory=list)
    manifest: dict[str, Any] | None = None
    _events: Callable[[], Iterator[Event]] | None = None

    @property
    def events(self) -> Events:
        """All events in order, with those of the plugin itself (trials, recorded numbers).

        A sequence that reads the record when it is used, and can be queried, as that of a handle.
        Every access to the attribute returns a new sequence, which reads the record again: keep it
        in a variable to use it twice. ``run.events.query(internal=False)`` leaves out the events
        of the plugin itself. Reading raises `ArtifactError` if the record cannot be read.
        """
        from pytest_crucible.queries.events import Events

        return Events(
            lambda: merge(self.nodes) if self._events is None else self._events(),
            told=lambda: {name: (d.tags, d.metadata) for name, d in self.definitions().items()},
        )

    def __repr__(self) -> str:
        path = "" if self.path is None else f" {str(self.path)!r}"
        counts = ", ".join(plural(count, noun) for noun, count in self._counts().items())
        return f"<run {self.id!r}{path}{': ' if counts else ''}{counts}>"

    def _repr_html_(self) -> str:
        counts = ((f"{noun}s", count) for noun, count in self._counts().items())
        return table(f"run {self.id}", (), [("path", self.path), *counts])

    def _counts(self) -> dict[str, int]:
        """Numbers of trials and events, as far as the manifest or an earlier reading gives them."""
        manifest = self.manifest or {}
        try:
            return {
                "trial": sum(int(e["trials"]) for e in manifest["experiments"].values()),
                "event": sum(int(node["events"]) for node in manifest["nodes"]),
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            # No manifest, that of an archived experiment, or one that somebody else wrote.
            read = sum(node.events for node in self.nodes)
            return {"event": read} if read else {}

    def definitions(self) -> dict[str, Definition]:
        """Return the definitions in manifest and nodes, by name of the experiment."""
        definitions: dict[str, Definition] = {}
        for name, experiment in ((self.manifest or {}).get("experiments") or {}).items():
            definitions[name] = Definition.from_dict({**experiment["definition"], "name": name})
        for node in self.nodes:
            for name, definition in node.definitions.items():
                definitions.setdefault(name, Definition.from_dict({**definition, "name": name}))
        return definitions

    def plan(self) -> list[TrialKey]:
        """Return the trials that the session meant to run, without duplicates."""
        return list(dict.fromkeys(trial for node in self.nodes for trial in node.plan))

    def torn(self) -> list[str]:
        """Return where files are torn, one sentence per file; complete once `events` was read."""
        sources = [source for node in self.nodes for source in (node.frames, node.enriched)]
        readers = [s for s in sources if isinstance(s, (SpoolReader, EnrichedReader))]
        return [reader.torn for reader in readers if reader.torn]


def open_recorded(path: str | Path, *, plugins: Plugins | None = None) -> RecordedRun:
    """Open a run folder, an output folder (its newest run), an archive, or an exported file.

    Args:
        path: a path on this machine.
        plugins: plugins with further formats and enrichers. Default: those installed.

    Raises:
        ArtifactError: there is no record at this path, or this version cannot read it.
        DefinitionError: ``path`` is the address of a storage, such as ``s3://…``.
    """
    path = local_path(path)
    if not path.exists():
        raise ArtifactError(f"{path}: no such file or folder")
    if path.is_dir():
        return open_folder(newest_run(path), plugins=plugins)
    if path.suffix == archive.SUFFIX:
        return _open_archive(path, plugins)
    if path.name == NAME:
        return open_folder(path.parent, plugins=plugins)
    return _open_file(path, plugins)


def open_folder(folder: Path, *, plugins: Plugins | None = None) -> RecordedRun:
    """Open one run folder, finished or not.

    Args:
        folder: the run folder.
        plugins: plugins with enrichers. Default: those installed.

    Raises:
        ArtifactError: the folder holds no record, or this version cannot read it.
    """
    run = _read_folder(folder)
    enrich_nodes_late(run.nodes, run.manifest, plugins or installed())
    return run


def _read_folder(folder: Path) -> RecordedRun:
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
    return RecordedRun(id=run, path=folder, nodes=nodes, manifest=manifest)


def _open_archive(path: Path, plugins: Plugins | None) -> RecordedRun:
    unpacked = archive.unpack(path)
    run = _read_folder(unpacked.folder)
    run.path = path
    if run.manifest is None:  # the session was killed: only the spools have the id of the run
        first = next((frame for _, frame in run.nodes[0].frames), None)
        run.id = first.run if isinstance(first, HeaderFrame) else path.stem
    by_index = (run.manifest or {}).get("positions") == BY_INDEX
    for node in run.nodes:
        node.keep = unpacked  # keeps the unpacked files as long as anybody reads the node
        if by_index and isinstance(node.frames, SpoolReader):
            node.frames = _Indexed(node.frames)
    enrich_nodes_late(run.nodes, run.manifest, plugins or installed())
    return run


def _open_file(path: Path, plugins: Plugins | None) -> RecordedRun:
    form = format_of_file(path)
    known: Mapping[str, Format] = FORMATS
    if form is None:
        known = (plugins or installed()).formats()
        form = format_of_file(path, known)
    if form is None or form.read is None:
        raise ArtifactError(
            f"{path}: not a run folder, nor a {', '.join(endings_read(known))} file"
        )
    if path.stat().st_size == 0:
        raise ArtifactError(f"{path}: empty")
    first = next(_file_events(path, form), None)
    if first is None:
        raise ArtifactError(f"{path}: no events in it")
    events = events_enriched_late(partial(_file_events, path, form), plugins or installed())
    return RecordedRun(id=first.run, path=path, _events=events)


BY_INDEX = "index"
"""Value of a manifest's ``positions``: the position of an event is its index, as in memory, and not
its offset in the spool."""


class _Indexed:
    """Iterates over the frames of a spool with their index, which does not count the header."""

    def __init__(self, reader: SpoolReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        return ((index, frame) for index, (_, frame) in enumerate(self._reader, -1))

    def holds(self, data: bytes) -> bool:
        """Return whether the spool contains these bytes."""
        return self._reader.holds(data)


def run_files(folder: Path) -> list[Path]:
    """Return the files of a run folder, without exports, which can be made again.

    Raises:
        ArtifactError: the folder is no run folder.
    """
    spools = sorted((folder / NODES).glob("*")) if is_run(folder) else []
    manifest = folder / NAME
    if not spools:
        raise ArtifactError(f"{folder}: no run folder with recorded events")
    return [*spools, *([manifest] if manifest.exists() else [])]


def distinct_spools(files: Iterable[Path]) -> list[tuple[Path, HeaderFrame | None]]:
    """Return spools with their headers; of several copies of one spool, the longest.

    Raises:
        ArtifactError: a spool has a schema that this version does not read.
    """
    spools: dict[str, tuple[Path, HeaderFrame | None]] = {}
    for file in files:
        first = next((frame for _, frame in SpoolReader(file)), None)
        header = first if isinstance(first, HeaderFrame) else None
        if header and header.schema != SCHEMA:
            raise ArtifactError(
                f"{file}: schema {header.schema}, this version reads {SCHEMA}; "
                "use the pytest-crucible that wrote it"
            )
        key = header.uid if header else str(file)
        earlier = spools.get(key)
        if earlier is None or file.stat().st_size > earlier[0].stat().st_size:
            spools[key] = (file, header)
    return list(spools.values())


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run folder."""
    return (folder / NAME).is_file() or (folder / NODES).is_dir()


def newest_run(folder: Path) -> Path:
    """Return the folder itself if it is a run folder, else the newest run folder in it.

    Raises:
        ArtifactError: the folder holds no run.
    """
    if is_run(folder):
        return folder
    runs = sorted(run for run in folder.iterdir() if run.is_dir() and is_run(run))
    if not runs:
        raise ArtifactError(f"{folder}: no run in this folder")
    return runs[-1]


def _file_events(path: Path, format: Format) -> Iterator[Event]:
    for line, row in _file_rows(path, format):
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


def _file_rows(path: Path, format: Format) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = format.reader()
    assert reader is not None
    if format.name in FORMATS:
        yield from reader(path)
        return
    try:
        for line, row in reader(path):
            yield line, dict(row)
    except (CrucibleError, OSError):
        raise
    except Exception as error:  # the reader of a plugin may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ArtifactError(f"{path}: format {format.name!r} cannot read it: {reason}") from error
