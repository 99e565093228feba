"""Run: a recorded run, and what it amounts to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_crucible.runs.run import RecordedRun, open_recorded

# Imported where it is used: whoever only looks at the events of a run needs no statistics.
if TYPE_CHECKING:
    from pytest_crucible.analysis.results import Results
    from pytest_crucible.metrics.values import Metrics


@dataclass(repr=False)
class Run(RecordedRun):
    """A recorded run: its events, metrics and verdicts.

    Attributes:
        id: its id; for a single file, that of its first event.
        path: run folder or file; None for a run in memory.
        manifest: as written at its end, or None.
        nodes: what each process recorded. Their tables are known once `events` has been read.
    """

    _results: Results | None = field(default=None, init=False, repr=False, compare=False)

    def results(self) -> Results:
        """Everything that the run says: metrics, comparisons, and what became of expectations.

        The record is read the first time, and the answer kept: to see what was recorded since then,
        open the run again.

        Raises:
            ArtifactError: the record cannot be read.
        """
        from pytest_crucible.analysis.analyse import analyse

        if self._results is None:
            self._results = analyse(self)
        return self._results

    def metrics(self, experiment: str | None = None, condition: str | None = None) -> Metrics:
        """The metrics of one experiment under one condition, from the whole record.

        Args:
            experiment: its name; may be left out where only one is meant.
            condition: the same.

        Raises:
            LookupError: there is no such condition, or more than one; names those that there are.
            ArtifactError: the record cannot be read.
        """
        known = {
            (each.definition.name, arm): metrics
            for each in self.results().experiments
            for arm, metrics in each.metrics.items()
        }
        found = [
            metrics
            for (name, arm), metrics in known.items()
            if experiment in (None, name) and condition in (None, arm)
        ]
        if len(found) == 1:
            return found[0]
        asked = ", ".join(
            f"{key}={value!r}"
            for key, value in (("experiment", experiment), ("condition", condition))
            if value is not None
        )
        problem = "which one?" if found else "there is none"
        valid = ", ".join(f"({name!r}, {arm!r})" for name, arm in known) or "none"
        raise LookupError(f"run {self.id}: metrics({asked}): {problem}; valid: {valid}")


def open_run(path: str | Path) -> Run:
    """Open a run folder, an output folder (its newest run), an archive, or an exported file.

    ``open_run("crucible-results").results()`` is the way to numbers, ``.events`` to events.

    Raises:
        ArtifactError: there is nothing to read, or nothing that this version can read.
    """
    found = open_recorded(path)
    return Run(found.id, found.path, found.nodes, found.manifest, found._events)
