"""Experiments outside pytest: in a notebook, a script, a training loop.

Each started experiment is a run of its own, kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_crucible._errors import DefinitionError, LifecycleError
from pytest_crucible._experiment import Definition, define
from pytest_crucible._recorder import close_scope, open_scope, stop_listening
from pytest_crucible._scope import CLOSED, OpenScope, Scope
from pytest_crucible.artifact.exporters import FORMATS, check_formats, export_events
from pytest_crucible.artifact.files import make_output_folder, new_run_id, slug
from pytest_crucible.handle import ExperimentHandle
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import Metrics, flatten, summarise
from pytest_crucible.stores._merge import Node, merge
from pytest_crucible.stores.memory import MemoryStore

OUTPUT = "crucible-results"
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
        definition: hypothesis, condition, tags, metadata, sample_size; see `Definition`.

    Raises:
        DefinitionError: an argument makes no sense.
    """
    checked = _check(define(name, **definition), definition)
    store, run = MemoryStore(), new_run_id()
    scope = Scope(experiment=name, condition=checked.condition or "default")
    opened = open_scope(scope, store.append, 1)
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


def stop(experiment: ExperimentHandle | str) -> ExperimentHandle:
    """Stop recording. The record stays until `cleanup`.

    Raises:
        LookupError: there is no such experiment.
        LifecycleError: it has been stopped already.
    """
    found = _find(experiment)
    if found.opened.state == CLOSED:
        raise LifecycleError(f"experiment {found.handle.name!r} has been stopped already")
    close_scope(found.opened)
    stop_listening()
    return found.handle


@contextmanager
def experiment(name: str, **definition: Any) -> Iterator[ExperimentHandle]:
    """An experiment over a block; what is emitted in the block belongs to it.

    Arguments and errors are those of `start`. It is stopped even if the block raises.
    """
    handle = start(name, **definition)
    try:
        with handle.active():
            yield handle
    finally:
        if handle.status != "stopped":
            stop(handle)


def get(experiment_id: str) -> ExperimentHandle:
    """The experiment with this id.

    Raises:
        LookupError: there is none, or it has been cleaned up.
    """
    return _find(experiment_id).handle


def list_experiments(status: str | None = None) -> list[ExperimentHandle]:
    """All experiments of this process; with ``status`` (running, paused, stopped) only those."""
    handles = [each.handle for each in _started.values()]
    return [handle for handle in handles if status in (None, handle.status)]


def calculate_metrics(experiment: ExperimentHandle | str) -> Metrics:
    """All metrics of an experiment so far."""
    found = _find(experiment)
    observations = observe(_node(found))
    return summarise(observations.group(found.handle.name, found.handle.condition))


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
    experiment: ExperimentHandle | str, format: str = "csv", path: str | Path | None = None
) -> Path:
    """Write an experiment's events to a file, see `export_multiple`.

    Args:
        path: default ``crucible-results/NAME-ID.FORMAT``; the name is made safe.
    """
    handle = _find(experiment).handle
    target = Path(OUTPUT) / f"{slug(handle.name)}-{handle.id}.{format}" if path is None else path
    return export_multiple([experiment], format, target)


def export_multiple(
    experiments: Sequence[ExperimentHandle | str], format: str, path: str | Path
) -> Path:
    """Write the events of several experiments to one file, in order of time.

    Args:
        experiments: handles or ids.
        format: csv, jsonl or parquet.
        path: the file; its folder is made.

    Raises:
        DefinitionError: unknown format.
        LookupError: there is no such experiment.
        OutputError: the folder cannot be made.
    """
    check_formats([format], FORMATS)
    found = [_find(each) for each in experiments]
    target = Path(path)
    make_output_folder(target.parent)
    return export_events(lambda: merge([_node(each) for each in found]), target, FORMATS[format])


def cleanup(experiment: ExperimentHandle | str) -> None:
    """Stop an experiment, if it is running, and forget all it recorded.

    Raises:
        LookupError: there is no such experiment.
    """
    found = _find(experiment)
    if found.opened.state != CLOSED:
        stop(experiment)
    del _started[found.handle.id]


def _find(experiment: ExperimentHandle | str) -> _Started:
    key = experiment if isinstance(experiment, str) else experiment.id
    found = _started.get(key)
    if found is None:
        raise LookupError(f"no experiment with the id {key!r}; `list_experiments()` tells them")
    return found


def _node(found: _Started) -> Node:
    return Node("main", found.store.frames(), run=found.handle.id)
