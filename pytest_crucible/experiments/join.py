"""Joining: a subprocess, or a process of multiprocessing, records into a trial."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from pytest_crucible._errors import DefinitionError, LifecycleError, OutputError
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.handle import TICKET, Experiment
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.runs.experiment_definition import JOIN, Definition, check_keywords, define


def join(ticket: str | None = None) -> AbstractContextManager[Experiment | None]:
    """Record into the trial of another process, which made a ticket.

    ::

        # the test                                       # child.py
        subprocess.run([sys.executable, "child.py"],     with crucible.join():
                       env=experiment.child_env())           main()

        Process(target=work, args=(experiment.ticket,))  def work(ticket):
                                                             with crucible.join(ticket): ...

    A forked child needs none of this: it inherits the experiment.

    Args:
        ticket: from ``experiment.ticket``; default: from the environment. Without a ticket, nothing
            is recorded and the block gets None, so that a script also runs on its own.

    Raises:
        LifecycleError: the text is not a ticket of this version.
        OutputError: this process cannot write to the run folder.
    """
    ticket = ticket or os.environ.get(TICKET)
    if ticket is None:
        return nullcontext()
    try:
        entries = json.loads(ticket)
        folder, scope = Path(entries["folder"]), Scope(**entries["scope"])
        parent, run = str(entries["node"]), str(entries["run"])
        keywords = dict(entries["definition"])
        name = keywords.pop("name")
        check_keywords(keywords, JOIN)
        definition = define(name, **keywords)
    except DefinitionError as error:  # most likely a ticket of another version
        raise LifecycleError(f"not a ticket of an experiment: {error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise LifecycleError(f"not a ticket of an experiment: {ticket[:80]!r}") from error
    return _joined(definition, folder, scope, run, parent)


@contextmanager
def _joined(
    definition: Definition, folder: Path, scope: Scope, run: str, parent: str
) -> Iterator[Experiment]:
    node = f"{parent}-{os.getpid()}-{secrets.token_hex(2)}"
    try:
        recording = NodeRecording(folder, run, node, parent=parent)
    except OSError as error:
        raise OutputError(f"cannot join the run in {folder}: {error.strerror}") from error
    opened = recording.open(scope, definition.sampling)
    handle = recording.handle(definition, opened)
    try:
        with handle.active():
            yield handle
    finally:
        handle.settle()
        recording.close()
