"""Experiments outside pytest: in a notebook, a script, a training loop.

Each started experiment is a run of its own, in memory. All functions take a handle or an id. They
also take the handle of pytest's fixture, except `stop`, `archive` and `cleanup`: pytest's session
ends and keeps its own experiments.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Unpack, get_args

from pytest_crucible._errors import (
    AttributionWarning,
    DefinitionError,
    LifecycleError,
    ValidationError,
)
from pytest_crucible._files import local_path, make_output_folder, new_run_id, slug
from pytest_crucible._text import plural
from pytest_crucible.capture.open_scope import CLOSED, OpenScope
from pytest_crucible.capture.recorder import (
    close_scope,
    open_beside,
    open_scope,
    stop_listening,
)
from pytest_crucible.capture.sampler import NodeSampler
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.lifecycle import Status
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.runs.archive import SUFFIX as ARCHIVE
from pytest_crucible.runs.experiment_definition import (
    ERROR,
    LIBRARY,
    Definition,
    LibraryKeywords,
    check_keywords,
    define,
)
from pytest_crucible.runs.memory_archive import archive_frames

OUTPUT = "crucible-results"
STATUSES: tuple[str, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Started:
    """An experiment that `start` started, and where it records. For this package's use."""

    handle: Experiment
    opened: OpenScope
    store: MemoryStore


_started: dict[str, Started] = {}


class MemoryScopes:
    """Opens scopes in a record in memory; all of them share one sampler."""

    def __init__(self, store: MemoryStore, sampler: NodeSampler | None) -> None:
        self._store = store
        self._sampler = sampler
        self._numbers = count(1)

    def open(self, scope: Scope, sampling: str | None = None) -> OpenScope:
        """Open a scope."""
        return open_scope(scope, self._store, next(self._numbers), self._sampler)

    def close_scope(self, opened: OpenScope) -> None:
        """Close a scope."""
        close_scope(opened)


def start(name: str, **definition: Unpack[LibraryKeywords]) -> Experiment:
    """Start an experiment; it records until `stop`.

    It records events emitted through its handle or inside ``with handle.active():``. While it is
    the only open experiment, it also records all events that belong to no other one.

    Args:
        name: name of the experiment.
        definition: hypothesis, condition, tags, metadata, sample_size, sampling, validate; see
            `Definition`.

    Warns:
        AttributionWarning: another experiment is open, and the caller is in no block of one: events
            without context will belong to neither.

    Raises:
        DefinitionError: an argument is invalid, or valid only under pytest.
    """
    checked = _define(name, definition)
    other = open_beside()
    if other is not None:  # before anything is opened: a filter may turn warnings into errors
        warnings.warn(_two_open(other), AttributionWarning, stacklevel=2)
    return _start(checked)


def _define(name: str, definition: LibraryKeywords) -> Definition:
    check_keywords(definition, LIBRARY)
    return define(name, **definition)


def _two_open(other: OpenScope) -> str:
    ids = [started.handle.id for started in _started.values() if started.opened is other]
    stop_it = f", or end that one first: crucible.stop({ids[0]!r})" if ids else ""
    return (
        f"experiment {other.scope.experiment!r} is still open: from now on, events emitted outside "
        f"both belong to neither. Emit through the handle or in `with handle.active():`{stop_it}"
    )


def _start(checked: Definition) -> Experiment:
    name, store, run = checked.name, MemoryStore(), new_run_id()
    scope = Scope(experiment=name, condition=checked.condition or "default")
    sampler = None
    if checked.sampling is not None:
        sampler = NodeSampler(name, scope.condition, checked.sampling, store.append)
    scopes = MemoryScopes(store, sampler)
    opened = scopes.open(scope)
    handle = Experiment(checked, opened, store, run, "main", scopes=scopes)
    _started[run] = Started(handle, opened, store)
    return handle


def stop(experiment: Experiment | str, reason: str | None = None) -> Experiment:
    """Stop an experiment. Its record stays in memory until `cleanup`.

    Args:
        experiment: handle or id.
        reason: stored as the handle's ``reason``, e.g. ``"budget used up"``.

    Warns:
        AttributionWarning: events were emitted that may belong to this experiment or to another one
            that was open, too; with their number.
        UserWarning: with ``validate="warn"``, events differ from the catalog.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it has been stopped already, or belongs to pytest.
        ValidationError: with ``validate="error"``, events differ from the catalog; the experiment
            is stopped all the same.
    """
    return _stop(experiment, reason, stacklevel=3)


def _stop(experiment: Experiment | str, reason: str | None, stacklevel: int) -> Experiment:
    started = _started_here(experiment, "stopped", "`pause` stops recording until then")
    if started.opened.state == CLOSED:
        raise LifecycleError(f"experiment {started.handle.name!r} has been stopped already")
    problems = _end(started, reason)
    lost = started.opened.unattributed
    if lost:
        warnings.warn(_lost(started.handle, lost), AttributionWarning, stacklevel)
    if problems:
        error = ValidationError(started.handle.name, problems)
        if started.handle.definition.validate == ERROR:
            raise error
        warnings.warn(str(error), stacklevel=stacklevel)
    return started.handle


def _lost(handle: Experiment, count: int) -> str:
    verb = "belong" if count > 1 else "belongs"
    return (
        f"{plural(count, 'event')} {verb} to no experiment: emitted outside {handle.name!r} while "
        "another one was open, too. Emit through the handle or in `with handle.active():`, "
        "or stop one before you start the next"
    )


def _end(started: Started, reason: str | None) -> dict[str, int]:
    """Settle and close an experiment; return the number of invalid events by problem."""
    try:
        return started.handle.settle()
    finally:
        close_scope(started.opened, reason)
        stop_listening()


def experiment(
    name: str, **definition: Unpack[LibraryKeywords]
) -> AbstractContextManager[Experiment]:
    """Run an experiment over a block; it records all events that the block emits.

    Takes the arguments of `start` and raises what `start` and `stop` raise. If the block raises,
    the experiment is stopped, with the exception's type as its reason (not the text, which may
    quote an answer). Its record can still be read: `list_experiments` returns it.
    """
    return _block(_define(name, definition))  # checked at the call, not when the block begins


@contextmanager
def _block(checked: Definition) -> Iterator[Experiment]:
    handle = _start(checked)
    try:
        with handle.active():
            yield handle
    except BaseException as error:
        if handle.stopped_at is None:
            # The exception says more than problems of events.
            _end(_started[handle.id], type(error).__name__)
        raise
    if handle.stopped_at is None:
        _stop(handle, None, stacklevel=4)  # the line of the block: contextlib stands in between


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


def paused(experiment: Experiment | str) -> AbstractContextManager[Experiment]:
    """Record nothing in this block; raises what `pause` raises."""
    return _handle(experiment).paused()


def is_paused(experiment: Experiment | str) -> bool:
    """Return whether an experiment is paused; False also if it does not exist."""
    try:
        return _handle(experiment).is_paused
    except LookupError:
        return False


def get(experiment: Experiment | str) -> Experiment:
    """Return the experiment with this id; a handle is returned as it is.

    Raises:
        LookupError: there is no such experiment, or `cleanup` removed it.
    """
    return _handle(experiment)


def list_experiments(status: Status | None = None) -> list[Experiment]:
    """Return the experiments of this process, in the order in which they were started.

    Args:
        status: return only those that are running, paused, stopped or archived.

    Raises:
        DefinitionError: there is no such status.
    """
    if status is not None and status not in STATUSES:
        raise DefinitionError(f"status={status!r} is not one of {', '.join(STATUSES)}")
    handles = [started.handle for started in _started.values()]
    return [handle for handle in handles if status in (None, handle.status)]


def archive(experiment: Experiment | str, path: str | Path | None = None) -> Path:
    """Write a stopped experiment to one file: its definition, its times, and all its events.

    The file holds checksums. ``crucible show`` and `open_run` read it.

    Args:
        experiment: handle or id.
        path: default ``crucible-results/NAME-ID.zip``. Its ending must be ``.zip``.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it has not been stopped, or belongs to pytest.
        DefinitionError: the path does not end in ``.zip``, or is the address of a storage.
        OutputError: the folder cannot be made.
    """
    started = _started_here(experiment, "archived", "`crucible archive` packs the whole run")
    handle = started.handle
    if started.opened.state != CLOSED:
        raise LifecycleError(
            f"experiment {handle.name!r} cannot be archived: it is {handle.status}; stop it first"
        )
    target = Path(OUTPUT) / f"{slug(handle.name)}-{handle.id}{ARCHIVE}" if path is None else path
    target = local_path(target)
    if target.suffix != ARCHIVE:
        raise DefinitionError(f"an archive is a {ARCHIVE} file, {str(target)!r} is not")
    make_output_folder(target.parent)
    described = {"definition": handle.definition.to_dict(), "lifecycle": _lifecycle(handle)}
    started.opened.tell_sampled()
    archive_frames(target, handle.id, started.store.frames(), {handle.name: described})
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
    """Stop an experiment, if it is still open, and remove it: no function knows its id any more.

    Args:
        experiment: handle or id.
        keep_data: keep its events in memory as long as somebody holds the handle. Otherwise the
            memory is freed, and the handle has no events. Archives and exports always stay.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it belongs to pytest.
    """
    started = _started_here(experiment, "cleaned up", "the run folder keeps what it recorded")
    if started.opened.state != CLOSED:
        _end(started, None)
    del _started[started.handle.id]
    if not keep_data:
        started.store.clear()


def _handle(experiment: Experiment | str) -> Experiment:
    """Return the handle of an experiment that `start` started, or of a trial under pytest."""
    if isinstance(experiment, Experiment):
        if experiment.folder is not None:
            return experiment
        key: object = experiment.id
    else:
        key = experiment
    started = _started.get(key) if isinstance(key, str) else None
    if started is None:
        raise LookupError(f"no experiment with the id {key!r}; `list_experiments()` tells them")
    return started.handle


def started_with(run: str) -> Started | None:
    """Return the experiment that `start` started under this id. For this package's use."""
    return _started.get(run)


def _started_here(experiment: Experiment | str, step: str, instead: str) -> Started:
    """Return an experiment that `start` started; refuse one that belongs to pytest."""
    handle = _handle(experiment)
    if handle.folder is not None:
        raise LifecycleError(
            f"experiment {handle.name!r} cannot be {step}: it ends with its test; {instead}"
        )
    return _started[handle.id]
