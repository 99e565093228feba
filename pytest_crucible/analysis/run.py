"""Run: a recorded run, with its metrics and results."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_crucible.runs.run import RecordedRun, open_recorded

# Imported where it is used: code that only reads events needs no statistics.
if TYPE_CHECKING:
    from pytest_crucible.analysis.results import Arm, Results
    from pytest_crucible.metrics.values import Metrics


@dataclass(repr=False)
class Run(RecordedRun):
    """A recorded run: its events, metrics and verdicts.

    Attributes:
        id: id of the run; for an exported file, the run of its first event.
        path: run folder or file; None for a run in memory.
        manifest: the manifest that the run wrote at its end; None without one.
        nodes: one per process. Their tables are filled once `events` has been read.
    """

    _results: Results | None = field(default=None, init=False, repr=False, compare=False)

    def results(self) -> Results:
        """Work out the results of the run: metrics, comparisons, and verdicts on expectations.

        Only the first call reads the record: to see events that were recorded after it, open the
        run again.

        Raises:
            ArtifactError: the record cannot be read.
        """
        from pytest_crucible.analysis.analyse import analyse

        if self._results is None:
            self._results = analyse(self)
        return self._results

    def metrics(self, experiment: str | None = None, condition: str | None = None) -> Metrics:
        """Return the metrics of one experiment under one condition, from the whole record.

        Args:
            experiment: name of the experiment; may be left out if the run has only one.
            condition: the condition; may be left out if there is only one.

        Raises:
            LookupError: no condition matches, or several do; the message names the valid ones.
            ArtifactError: the record cannot be read.
        """
        return self._find("metrics", experiment, condition).metrics

    def arm(self, experiment: str | None = None, condition: str | None = None) -> Arm:
        """Return one experiment under one condition, for `compare` and `judge`.

        Takes and raises what `metrics` does.
        """
        return self._find("arm", experiment, condition)

    def arms(self) -> list[Arm]:
        """Return every experiment under each of its conditions; raises what `results` does."""
        from pytest_crucible.analysis.results import Arm

        return [
            Arm(self.id, result, condition)
            for result in self.results().experiments
            for condition in result.conditions
        ]

    def _find(self, wanted: str, experiment: str | None, condition: str | None) -> Arm:
        arms = self.arms()
        matching = [
            arm
            for arm in arms
            if experiment in (None, arm.experiment) and condition in (None, arm.condition)
        ]
        if len(matching) == 1:
            return matching[0]
        arguments = ", ".join(
            f"{key}={value!r}"
            for key, value in (("experiment", experiment), ("condition", condition))
            if value is not None
        )
        problem = "which one?" if matching else "there is none"
        valid = ", ".join(f"({arm.experiment!r}, {arm.condition!r})" for arm in arms) or "none"
        raise LookupError(f"run {self.id}: {wanted}({arguments}): {problem}; valid: {valid}")


def open_run(path: str | Path) -> Run:
    """Open a run folder, an output folder (its newest run), an archive, or an exported file.

    ``open_run("crucible-results").results()`` has the metrics, ``.events`` the events.

    Raises:
        ArtifactError: there is no record at this path, or this version cannot read it.
        DefinitionError: ``path`` is the address of a storage, such as ``s3://…``.
    """
    record = open_recorded(path)
    return Run(record.id, record.path, record.nodes, record.manifest, record._events)
