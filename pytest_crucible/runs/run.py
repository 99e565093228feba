"""A recorded run, opened for reading, whatever form it is kept in."""

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
from pytest_crucible.runs.definition import Definition
from pytest_crucible.runs.enriched import EnrichedReader, enriched_path
from pytest_crucible.runs.late_enrichment import enrich_nodes_late, events_enriched_late
from pytest_crucible.runs.manifest import NAME, read_manifest

if TYPE_CHECKING:
    from pytest_crucible.queries.events import Events


@dataclass(repr=False)
class RecordedRun:
    """What was recorded in a run; `pytest_crucible.analysis.run.Run` adds what it amounts to.

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

    @property
    def events(self) -> Events:
        """All events, in order, the plugin's own (trials, recorded numbers) among them.

        A view like that of a handle: a sequence that is read when it is used, and can be queried.
        Each time it is asked for it is a new one, which reads the record anew: keep it in a
        variable to use it twice. ``run.events.query(internal=False)`` leaves out the plugin's own.
        Reading raises `ArtifactError` where the record cannot be read.
        """
        from pytest_crucible.queries.events import Events

        return Events(lambda: merge(self.nodes) if self._events is None else self._events())

    def __repr__(self) -> str:
        path = "" if self.path is None else f" {str(self.path)!r}"
        told = ", ".join(plural(count, noun) for noun, count in self._counts().items())
        return f"<run {self.id!r}{path}{': ' if told else ''}{told}>"

    def _repr_html_(self) -> str:
        counts = ((f"{noun}s", count) for noun, count in self._counts().items())
        return table(f"run {self.id}", (), [("path", self.path), *counts])

    def _counts(self) -> dict[str, int]:
        """Trials and events, as far as that is known without reading the record."""
        told = self.manifest or {}
        try:
            return {
                "trial": sum(int(each["trials"]) for each in told["experiments"].values()),
                "event": sum(int(each["events"]) for each in told["nodes"]),
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            # No manifest, one of an archived experiment, or none of ours.
            read = sum(node.events for node in self.nodes)
            return {"event": read} if read else {}

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


def open_recorded(path: str | Path, *, plugins: Plugins | None = None) -> RecordedRun:
    """Open a run folder, an output folder (its newest run), an archive, or an exported file.

    Args:
        path: of this machine.
        plugins: may read more formats, and say more about events. Default: those installed.

    Raises:
        ArtifactError: there is nothing to read, or nothing that this version can read.
        DefinitionError: the address of a storage in place of a path.
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
        folder: of the run.
        plugins: may say more about events. Default: those installed.
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
    if run.manifest is None:  # its session was killed: only its spools know what it is called
        first = next((frame for _, frame in run.nodes[0].frames), None)
        run.id = first.run if isinstance(first, HeaderFrame) else path.stem
    by_index = (run.manifest or {}).get("positions") == BY_INDEX
    for node in run.nodes:
        node.keep = unpacked  # whoever reads the node's events may not hold on to the run
        if by_index and isinstance(node.frames, SpoolReader):
            node.frames = _Indexed(node.frames)
    enrich_nodes_late(run.nodes, run.manifest, plugins or installed())
    return run


def _open_file(path: Path, plugins: Plugins | None) -> RecordedRun:
    found = format_of_file(path)
    known: Mapping[str, Format] = FORMATS
    if found is None:
        known = (plugins or installed()).formats()
        found = format_of_file(path, known)
    if found is None or found.read is None:
        raise ArtifactError(
            f"{path}: not a run folder, nor a {', '.join(endings_read(known))} file"
        )
    if path.stat().st_size == 0:
        raise ArtifactError(f"{path}: empty")
    first = next(_file_events(path, found), None)
    if first is None:
        raise ArtifactError(f"{path}: no events in it")
    events = events_enriched_late(partial(_file_events, path, found), plugins or installed())
    return RecordedRun(id=first.run, path=path, _events=events)


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
    except Exception as error:  # of a plugin: what is wrong with its file is for it to tell
        told = f"{type(error).__name__}: {error}"
        raise ArtifactError(f"{path}: format {format.name!r} cannot read it: {told}") from error
