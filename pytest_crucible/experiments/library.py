"""Experiments outside pytest: in a notebook, a script, a training loop.

Each started experiment is a run of its own, kept in memory. All functions take a handle or an id;
the handle of pytest's fixture as well, but what would end, pack or forget its experiment, which is
up to the session.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack, get_args

from pytest_crucible._errors import DefinitionError, LifecycleError, ValidationError
from pytest_crucible._files import local_path, make_output_folder, new_run_id, slug
from pytest_crucible.analysis.run import Run
from pytest_crucible.capture.open_scope import CLOSED, OpenScope
from pytest_crucible.capture.recorder import close_scope, open_scope, stop_listening
from pytest_crucible.capture.sampler import NodeSampler
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.differences import Differences, differences
from pytest_crucible.experiments.handle import Experiment, Status
from pytest_crucible.experiments.own_record import OwnRecord
from pytest_crucible.exports.export import export_as
from pytest_crucible.exports.formats import parse_format
from pytest_crucible.exports.options import ExportOptions
from pytest_crucible.hooks.installed import installed, known_formats
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.queries.anomalies import marks
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.merge import by_time, merge
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.store import Recorded
from pytest_crucible.runs.archive import SUFFIX as ARCHIVE
from pytest_crucible.runs.definition import (
    ERROR,
    LIBRARY,
    LibraryKeywords,
    check_keywords,
    define,
)
from pytest_crucible.runs.late_enrichment import enrich_nodes_late
from pytest_crucible.runs.memory_archive import archive_frames

OUTPUT = "crucible-results"
STATUSES: tuple[str, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class _Started:
    handle: Experiment
    opened: OpenScope
    store: MemoryStore


_started: dict[str, _Started] = {}


def start(name: str, **definition: Unpack[LibraryKeywords]) -> Experiment:
    """Start an experiment; it records until `stop`.

    It hears what is emitted through its handle or inside ``with handle.active():``, and, while it
    is the only one open, everything that has no experiment of its own.

    Args:
        name: what it is called.
        definition: hypothesis, condition, tags, metadata, sample_size, sampling, validate; see
            `Definition`.

    Raises:
        DefinitionError: an argument makes no sense, or only pytest would obey it.
    """
    check_keywords(definition, LIBRARY)
    checked = define(name, **definition)
    store, run = MemoryStore(), new_run_id()
    scope = Scope(experiment=name, condition=checked.condition or "default")
    sampler = None
    if checked.sampling is not None:
        sampler = NodeSampler(name, scope.condition, checked.sampling, store.append)
    opened = open_scope(scope, store, 1, sampler)
    handle = Experiment(checked, opened, store, run, "main")
    _started[run] = _Started(handle, opened, store)
    return handle


def stop(experiment: Experiment | str, reason: str | None = None) -> Experiment:
    """Stop recording. The record stays until `cleanup`.

    Args:
        experiment: handle or id.
        reason: kept as the handle's ``reason``, e.g. ``"budget used up"``.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it has been stopped already, or pytest stops it.
        ValidationError: with ``validate="error"``, events are not as the catalog says; the
            experiment is stopped all the same. With ``"warn"`` that is a ``UserWarning``.
    """
    found = _started_here(experiment, "stopped", "`pause` stops recording until then")
    if found.opened.state == CLOSED:
        raise LifecycleError(f"experiment {found.handle.name!r} has been stopped already")
    problems = _end(found, reason)
    if problems:
        error = ValidationError(found.handle.name, problems)
        if found.handle.definition.validate == ERROR:
            raise error
        warnings.warn(str(error), stacklevel=2)
    return found.handle


def _end(found: _Started, reason: str | None) -> dict[str, int]:
    """Settle and close; returns what the catalog says is wrong."""
    try:
        return found.handle.settle()
    finally:
        close_scope(found.opened, reason)
        stop_listening()


@contextmanager
def experiment(name: str, **definition: Unpack[LibraryKeywords]) -> Iterator[Experiment]:
    """An experiment over a block; what is emitted in the block belongs to it.

    Arguments and errors are those of `start`. If the block raises, the experiment is stopped, with
    the exception's type as its reason (not its text, which may quote an answer), and its record
    can still be read: `list_experiments` has it.
    """
    handle = start(name, **definition)
    try:
        with handle.active():
            yield handle
    except BaseException as error:
        if handle.stopped_at is None:
            _end(_started[handle.id], type(error).__name__)  # what the block raised says it all
        raise
    if handle.stopped_at is None:
        stop(handle)


def pause(experiment: Experiment | str) -> Experiment:
    """Record nothing until `resume`.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it is not running.
    """
    handle = _handle(experiment)
    handle.pause()
    return handle


def resume(experiment: Experiment | str) -> Experiment:
    """Record again after `pause`.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it is not paused.
    """
    handle = _handle(experiment)
    handle.resume()
    return handle


@contextmanager
def paused(experiment: Experiment | str) -> Iterator[Experiment]:
    """Record nothing in this block; errors are those of `pause`."""
    with _handle(experiment).paused() as handle:
        yield handle


def is_paused(experiment: Experiment | str) -> bool:
    """Whether an experiment is paused; False also for one that does not exist."""
    try:
        return _handle(experiment).is_paused
    except LookupError:
        return False


def get(experiment: Experiment | str) -> Experiment:
    """The experiment with this id; of a handle, itself.

    Raises:
        LookupError: there is none, or it has been cleaned up.
    """
    return _handle(experiment)


def list_experiments(status: Status | None = None) -> list[Experiment]:
    """All experiments of this process, in the order in which they were started.

    Args:
        status: running, paused, stopped or archived: only those.

    Raises:
        DefinitionError: there is no such status.
    """
    if status is not None and status not in STATUSES:
        raise DefinitionError(f"status={status!r} is not one of {', '.join(STATUSES)}")
    handles = [each.handle for each in _started.values()]
    return [handle for handle in handles if status in (None, handle.status)]


def compare(
    baseline: Experiment | Run | Metrics | str, candidate: Experiment | Run | Metrics | str
) -> Differences:
    """Every metric that both have, side by side, from their whole records.

    Plain differences; ``crucible compare`` gives verdicts.

    Args:
        baseline, candidate: handles, ids, runs with one experiment under one condition
            (`open_run`), or metrics: ``run.metrics("prompt", "short")``.

    Raises:
        LookupError: there is no such experiment, or a run has several.
        ArtifactError: a run cannot be read.
    """
    return differences(_metrics(baseline), _metrics(candidate))


def _metrics(of: Experiment | Run | Metrics | str) -> Metrics:
    if isinstance(of, Metrics):
        return of
    return of.metrics() if isinstance(of, Run) else _handle(of).metrics(exact=True)


def export(
    experiment: Experiment | str,
    format: str = "csv",
    path: str | Path | None = None,
    options: ExportOptions | None = None,
) -> Path:
    """Write an experiment's events to a file, see `export_multiple`.

    Args:
        experiment: handle or id.
        format, options: as for `export_multiple`.
        path: default ``crucible-results/NAME-ID.FORMAT``, under pytest with the test's name; names
            are made safe.

    Returns:
        The file.
    """
    handle = _handle(experiment)
    if path is None:
        found, packed = parse_format(format, known_formats())
        path = Path(OUTPUT) / f"{_file_name(handle)}{found.endings[0]}{packed}"
    return export_multiple([handle], format, path, options)


def _file_name(handle: Experiment) -> str:
    name = f"{slug(handle.name)}-{handle.id}"
    if handle.folder is None:
        return name
    # The id is that of the run, in which every trial records, and every process that joins one.
    return f"{name}-{slug(f'{handle.scope.test}-{handle.node}-{handle.attempt}')}"


def export_multiple(
    experiments: Sequence[Experiment | str],
    format: str,
    path: str | Path,
    options: ExportOptions | None = None,
) -> Path:
    """Write the events of several experiments to one file, in order of time.

    Of a handle under pytest: those of its trial, and the numbers that it recorded.

    Args:
        experiments: handles or ids.
        format: by name: ``csv``, ``parquet``, …, an installed plugin's; or compressed: ``csv.gz``,
            ``jsonl.zst``.
        path: the file; its folder is made. ``.gz`` and ``.zst`` compress it.
        options: flatten, pretty, columns, anonymize; see `ExportOptions`.

    Raises:
        DefinitionError: unknown format or column, options that do not fit it, or the address of a
            storage in place of a path.
        MissingExtraError: Parquet or zstd, and pyarrow is not installed.
        LookupError: there is no such experiment.
        OutputError: the folder cannot be made, or a plugin's format failed.

    Returns:
        The file.
    """
    known = known_formats()
    parse_format(format, known)
    target = local_path(path)
    chosen = options or ExportOptions()
    # Named twice, it is still one: its events must not count double.
    handles = list(dict.fromkeys(map(_handle, experiments)))
    make_output_folder(target.parent)
    mark = marks(each.metrics(exact=True) for each in handles)
    records = [_started.get(each.id) or each.everything for each in handles]
    return export_as(lambda: _events(records), target, format, chosen, mark, known)


def _events(records: Sequence[_Started | OwnRecord]) -> Iterable[Event]:
    nodes = [_node(each) if isinstance(each, _Started) else each for each in records]
    whole = [each for each in nodes if isinstance(each, Node)]
    return merge(whole) if len(whole) == len(nodes) else by_time([iter(each) for each in nodes])


def archive(experiment: Experiment | str, path: str | Path | None = None) -> Path:
    """Write a stopped experiment to one file: what it is, its course, and all its events.

    The file holds checksums. ``crucible show`` and `open_run` read it, with the same events.

    Args:
        experiment: handle or id.
        path: default ``crucible-results/NAME-ID.zip``. Its ending must be ``.zip``.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it has not been stopped, or is a part of a run of pytest's.
        DefinitionError: the path has another ending, or is the address of a storage.
        OutputError: the folder cannot be made.
    """
    found = _started_here(experiment, "archived", "`crucible archive` packs the whole run")
    handle = found.handle
    if found.opened.state != CLOSED:
        raise LifecycleError(
            f"experiment {handle.name!r} cannot be archived: it is {handle.status}; stop it first"
        )
    target = Path(OUTPUT) / f"{slug(handle.name)}-{handle.id}{ARCHIVE}" if path is None else path
    target = local_path(target)
    if target.suffix != ARCHIVE:
        raise DefinitionError(f"an archive is a {ARCHIVE} file, {str(target)!r} is not")
    make_output_folder(target.parent)
    described = {"definition": handle.definition.to_dict(), "lifecycle": _lifecycle(handle)}
    found.opened.tell_sampled()
    archive_frames(target, handle.id, found.store.frames(), {handle.name: described})
    handle.archived_to = target
    return target


def _lifecycle(handle: Experiment) -> dict[str, Any]:
    return {
        "status": handle.status,
        "reason": handle.reason,
        "started_at": handle.started_at.isoformat(),
        "stopped_at": None if handle.stopped_at is None else handle.stopped_at.isoformat(),
        "duration_s": handle.duration_s,
        "active_s": handle.active_s,
        "paused_s": handle.paused_s,
        "pause_count": handle.pause_count,
    }


def cleanup(experiment: Experiment | str, *, keep_data: bool = False) -> None:
    """Stop an experiment, if it is still open, and forget it: its id means nothing any more.

    Args:
        experiment: handle or id.
        keep_data: keep what it recorded, for whoever holds the handle. Otherwise its memory is
            freed and the handle has no events. Archives and exports stay in either case.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: pytest does that.
    """
    found = _started_here(experiment, "cleaned up", "the run folder keeps what it recorded")
    if found.opened.state != CLOSED:
        _end(found, None)
    del _started[found.handle.id]
    if not keep_data:
        found.store.clear()


def _handle(experiment: Experiment | str) -> Experiment:
    """The handle that is meant: one that was started here, or the one of a trial under pytest."""
    if isinstance(experiment, Experiment):
        if experiment.folder is not None:
            return experiment
        key: object = experiment.id
    else:
        key = experiment
    found = _started.get(key) if isinstance(key, str) else None
    if found is None:
        raise LookupError(f"no experiment with the id {key!r}; `list_experiments()` tells them")
    return found.handle


def _started_here(experiment: Experiment | str, step: str, instead: str) -> _Started:
    """What `start` started: pytest's session ends and keeps its own experiments."""
    handle = _handle(experiment)
    if handle.folder is not None:
        raise LifecycleError(
            f"experiment {handle.name!r} cannot be {step}: it ends with its test; {instead}"
        )
    return _started[handle.id]


def _node(found: _Started) -> Node:
    found.opened.tell_sampled()
    node = Node("main", Recorded(found.store), run=found.handle.id)
    enrich_nodes_late([node], None, installed())
    return node
