"""Experiments outside pytest: in a notebook, a script, a training loop.

Each started experiment is a run of its own, kept in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_crucible._errors import DefinitionError, LifecycleError, ValidationError
from pytest_crucible._files import local_path, make_output_folder, new_run_id, slug
from pytest_crucible.capture.open_scope import CLOSED, OpenScope
from pytest_crucible.capture.recorder import close_scope, open_scope, stop_listening
from pytest_crucible.capture.sampler import NodeSampler
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.handle import ExperimentHandle
from pytest_crucible.exports.export import export_as
from pytest_crucible.exports.formats import parse_format
from pytest_crucible.exports.options import ExportOptions
from pytest_crucible.hooks.installed import installed, known_formats
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.queries.anomalies import marks
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.merge import merge
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.store import Recorded
from pytest_crucible.runs.archive import SUFFIX as ARCHIVE
from pytest_crucible.runs.asked import ask_of_nodes
from pytest_crucible.runs.definition import ERROR, Definition, define
from pytest_crucible.runs.memory_archive import archive_frames

OUTPUT = "crucible-results"
STATUSES = ("running", "paused", "stopped", "archived")
_UNDER_PYTEST = ("conditions", "scope", "trials", "expect", "failures")


@dataclass(frozen=True, slots=True)
class _Started:
    handle: ExperimentHandle
    opened: OpenScope
    store: MemoryStore


_started: dict[str, _Started] = {}


@dataclass(frozen=True, slots=True)
class Difference:
    """How one metric differs between two experiments; a plain difference, no verdict.

    Attributes:
        metric: ``latency.p95``, ``cost.total``, …
        percent: change relative to the baseline in %, None where the baseline is 0.
    """

    metric: str
    baseline: float
    candidate: float
    difference: float
    percent: float | None


def start(name: str, **definition: Any) -> ExperimentHandle:
    """Start an experiment; it records until `stop`.

    It hears what is emitted through its handle or inside ``with handle.active():``, and, while it
    is the only one open, everything that has no experiment of its own.

    Args:
        name: what it is called.
        definition: hypothesis, condition, tags, metadata, sample_size, sampling, validate; see
            `Definition`.

    Raises:
        DefinitionError: an argument makes no sense.
    """
    checked = _check(define(name, **definition), definition)
    store, run = MemoryStore(), new_run_id()
    scope = Scope(experiment=name, condition=checked.condition or "default")
    sampler = None
    if checked.sampling is not None:
        sampler = NodeSampler(name, scope.condition, checked.sampling, store.append)
    opened = open_scope(scope, store, 1, sampler)
    handle = ExperimentHandle(checked, opened, store, run, "main")
    _started[run] = _Started(handle, opened, store)
    return handle


def _check(checked: Definition, given: dict[str, Any]) -> Definition:
    for key in _UNDER_PYTEST:
        if key in given:
            raise DefinitionError(
                f"{key}= needs pytest, which runs the tests; here, start one experiment per arm"
            )
    return checked


def stop(experiment: ExperimentHandle | str, reason: str | None = None) -> ExperimentHandle:
    """Stop recording. The record stays until `cleanup`.

    Args:
        experiment: handle or id.
        reason: kept as the handle's ``reason``, e.g. ``"budget used up"``.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it has been stopped already.
        ValidationError: with ``validate="error"``, events are not as the catalog says; the
            experiment is stopped all the same. With ``"warn"`` that is a ``UserWarning``.
    """
    found = _find(experiment)
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
def experiment(name: str, **definition: Any) -> Iterator[ExperimentHandle]:
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
            _end(_find(handle), type(error).__name__)  # what the block raised says it all
        raise
    if handle.stopped_at is None:
        stop(handle)


def pause(experiment: ExperimentHandle | str) -> ExperimentHandle:
    """Record nothing until `resume`.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it is not running.
    """
    handle = _find(experiment).handle
    handle.pause()
    return handle


def resume(experiment: ExperimentHandle | str) -> ExperimentHandle:
    """Record again after `pause`.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it is not paused.
    """
    handle = _find(experiment).handle
    handle.resume()
    return handle


@contextmanager
def paused(experiment: ExperimentHandle | str) -> Iterator[ExperimentHandle]:
    """Record nothing in this block; errors are those of `pause`."""
    with _find(experiment).handle.paused() as handle:
        yield handle


def is_paused(experiment: ExperimentHandle | str) -> bool:
    """Whether an experiment is paused; False also for one that does not exist."""
    found = _started.get(_id(experiment))
    return found is not None and found.handle.is_paused


def get(experiment_id: str) -> ExperimentHandle:
    """The experiment with this id.

    Raises:
        LookupError: there is none, or it has been cleaned up.
    """
    return _find(experiment_id).handle


def list_experiments(status: str | None = None) -> list[ExperimentHandle]:
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


def calculate_metrics(experiment: ExperimentHandle | str) -> Metrics:
    """All metrics of an experiment so far, those of installed plugins among them."""
    found = _find(experiment)
    group = observe(_node(found)).group(found.handle.name, found.handle.condition)
    plain = summarise(group)
    more = installed().metrics(group, plain)
    return replace(plain, custom=more) if more else plain


def compare(
    baseline: ExperimentHandle | str, candidate: ExperimentHandle | str
) -> list[Difference]:
    """Every metric that both experiments have, side by side."""
    before = dict(flatten(calculate_metrics(baseline)))
    after = dict(flatten(calculate_metrics(candidate)))
    found = []
    for metric, old in before.items():
        new = after.get(metric)
        if old is not None and new is not None:
            percent = (new - old) / old * 100 if old else None
            found.append(Difference(metric, old, new, new - old, percent))
    return found


def export(
    experiment: ExperimentHandle | str,
    format: str = "csv",
    path: str | Path | None = None,
    options: ExportOptions | None = None,
) -> Path:
    """Write an experiment's events to a file, see `export_multiple`.

    Args:
        path: default ``crucible-results/NAME-ID.FORMAT``; the name is made safe.
    """
    handle = _find(experiment).handle
    if path is None:
        found, packed = parse_format(format, known_formats())
        path = Path(OUTPUT) / f"{slug(handle.name)}-{handle.id}{found.endings[0]}{packed}"
    return export_multiple([experiment], format, path, options)


def export_multiple(
    experiments: Sequence[ExperimentHandle | str],
    format: str,
    path: str | Path,
    options: ExportOptions | None = None,
) -> Path:
    """Write the events of several experiments to one file, in order of time.

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
    """
    known = known_formats()
    parse_format(format, known)
    target = local_path(path)
    chosen = options or ExportOptions()
    # Named twice, it is still one: its events must not count double.
    found = list({each.handle.id: each for each in map(_find, experiments)}.values())
    make_output_folder(target.parent)
    mark = marks(calculate_metrics(each.handle) for each in found)
    return export_as(
        lambda: merge([_node(each) for each in found]), target, format, chosen, mark, known
    )


def archive(experiment: ExperimentHandle | str, path: str | Path | None = None) -> Path:
    """Write a stopped experiment to one file: what it is, its course, and all its events.

    The file holds checksums. ``crucible show`` and `open_run` read it, with the same events.

    Args:
        experiment: handle or id.
        path: default ``crucible-results/NAME-ID.zip``. Its ending must be ``.zip``.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it has not been stopped.
        DefinitionError: the path has another ending, or is the address of a storage.
        OutputError: the folder cannot be made.
    """
    found = _find(experiment)
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


def _lifecycle(handle: ExperimentHandle) -> dict[str, Any]:
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


def cleanup(experiment: ExperimentHandle | str, *, keep_data: bool = False) -> None:
    """Stop an experiment, if it is still open, and forget it: its id means nothing any more.

    Args:
        experiment: handle or id.
        keep_data: keep what it recorded, for whoever holds the handle. Otherwise its memory is
            freed and the handle has no events. Archives and exports stay in either case.

    Raises:
        LookupError: there is no such experiment.
    """
    found = _find(experiment)
    if found.opened.state != CLOSED:
        _end(found, None)
    del _started[found.handle.id]
    if not keep_data:
        found.store.clear()


def _find(experiment: ExperimentHandle | str) -> _Started:
    key = _id(experiment)
    found = _started.get(key)
    if found is None:
        raise LookupError(f"no experiment with the id {key!r}; `list_experiments()` tells them")
    return found


def _id(experiment: object) -> str:
    return str(getattr(experiment, "id", experiment))


def _node(found: _Started) -> Node:
    found.opened.tell_sampled()
    node = Node("main", Recorded(found.store), run=found.handle.id)
    ask_of_nodes([node], None, installed())
    return node
