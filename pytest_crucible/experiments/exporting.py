"""Exports outside pytest: the events of one experiment, or of several, in one file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pytest_crucible._files import local_path, make_output_folder, slug
from pytest_crucible.events.event import Event
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.library import OUTPUT, Started, get, started_with
from pytest_crucible.experiments.own_record import OwnRecord
from pytest_crucible.exports.described import described, told
from pytest_crucible.exports.export import export_as
from pytest_crucible.exports.formats import parse_format
from pytest_crucible.exports.options import ExportOptions
from pytest_crucible.hooks.installed import installed, known_formats
from pytest_crucible.queries.anomalies import marks
from pytest_crucible.record.merge import by_time, in_order, merge
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.store import Recorded
from pytest_crucible.runs.late_enrichment import enrich_nodes_late


def export(
    experiment: Experiment | str,
    format: str = "csv",
    path: str | Path | None = None,
    options: ExportOptions | None = None,
) -> Path:
    """Write an experiment's events to a file; raises what `export_multiple` raises.

    Args:
        experiment: handle or id.
        format, options: as for `export_multiple`.
        path: default ``crucible-results/NAME-ID.FORMAT``, under pytest with the test's name, too.
            Characters that file names cannot have are replaced.

    Returns:
        The file.
    """
    handle = get(experiment)
    if path is None:
        form, compression = parse_format(format, known_formats())
        path = Path(OUTPUT) / f"{_file_name(handle)}{form.endings[0]}{compression}"
    return export_multiple([handle], format, path, options)


def _file_name(handle: Experiment) -> str:
    name = f"{slug(handle.name)}-{handle.id}"
    if handle.folder is None:
        return name
    # All trials of a pytest session share the run id, as do processes that join them.
    return f"{name}-{slug(f'{handle.scope.test}-{handle.node}-{handle.attempt}')}"


def export_multiple(
    experiments: Sequence[Experiment | str],
    format: str,
    path: str | Path,
    options: ExportOptions | None = None,
) -> Path:
    """Write the events of several experiments to one file, in order of time.

    A handle under pytest stands for one trial: its events, and the numbers that it recorded.

    Args:
        experiments: handles or ids.
        format: name of a format, also of an installed plugin (``csv``, ``parquet``, …), or a
            compressed one: ``csv.gz``, ``jsonl.zst``.
        path: the file; a missing folder is made. ``.gz`` and ``.zst`` compress the file.
        options: flatten, pretty, columns, anonymize; see `ExportOptions`.

    Raises:
        DefinitionError: the format or a column is unknown, the options do not fit the format, or
            ``path`` is the address of a storage.
        MissingExtraError: Parquet or zstd needs pyarrow, which is not installed.
        LookupError: there is no such experiment.
        OutputError: the folder cannot be made, or the format of a plugin raised.

    Returns:
        The file.
    """
    known = known_formats()
    parse_format(format, known)
    target = local_path(path)
    chosen = options or ExportOptions()
    # An experiment that is named twice is written once.
    handles = list(dict.fromkeys(map(get, experiments)))
    make_output_folder(target.parent)
    mark = described(
        told(handle.definition.described for handle in handles),
        marks(handle.metrics(exact=True) for handle in handles),
    )
    records = [started_with(handle.id) or handle.everything for handle in handles]
    return export_as(lambda: _events(records), target, format, chosen, mark, known)


def _events(records: Sequence[Started | OwnRecord]) -> Iterable[Event]:
    sources = [_node(record) if isinstance(record, Started) else record for record in records]
    nodes = [source for source in sources if isinstance(source, Node)]
    if len(nodes) == len(sources):
        return merge(nodes)
    streams = [in_order(each) if isinstance(each, Node) else iter(each) for each in sources]
    return by_time(streams)


def _node(started: Started) -> Node:
    started.opened.tell_sampled()
    node = Node("main", Recorded(started.store), run=started.handle.id)
    enrich_nodes_late([node], None, installed())
    return node
