"""Adapters: where logged numbers go in addition to the record.

``experiment.log_to(adapter)`` attaches one. `JSONLMetrics` writes lines of JSON; any other
object with the three methods of `MetricsAdapter` can write to a database or an experiment tracker.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_crucible._clock import iso_from_us
from pytest_crucible._errors import ArtifactError
from pytest_crucible._files import local_path
from pytest_crucible.exports.rows import to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One logged number.

    Attributes:
        run: id of the run (``experiment.id``).
        experiment, condition, case, trial, attempt: the trial that logged it; the last three are
            None outside pytest.
        name, value, step: the arguments of ``log``.
        time_us: wall time, µs since the epoch.
        metadata: further keywords of ``log``.
    """

    run: str
    experiment: str
    condition: str
    name: str
    value: float
    step: int
    time_us: int
    case: str | None = None
    trial: int | None = None
    attempt: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class MetricsAdapter(Protocol):
    """A destination for logged numbers.

    Its methods run in the thread that logs. If one raises, the adapter is detached, the summary
    reports it, and the run is marked as incomplete; nobody takes back earlier numbers.
    """

    def record(self, entry: LogEntry, /) -> object:
        """Take one number. The adapter may write it as late as `flush`."""

    def flush(self) -> object:
        """Write everything taken so far; called when a trial ends."""

    def read(self, run: str, /) -> Iterable[LogEntry]:
        """Return the numbers of one run, in order."""


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class JSONLMetrics:
    """Appends one line of JSON per number to a file, at once; several processes may share it.

    JSON has no NaN and no infinity: they are written as the strings ``"NaN"``, ``"Infinity"`` and
    ``"-Infinity"``, and read back as numbers.

    Args:
        path: the file; its folder must exist.

    Raises:
        DefinitionError: ``path`` is the address of a storage, such as ``s3://…``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Absolute: code under test may change the working directory.
        self.path = Path(os.path.abspath(local_path(path)))

    def record(self, entry: LogEntry) -> None:
        """Append a line.

        Raises:
            OSError: the file cannot be written.
        """
        line = to_json(_row(entry)) + b"\n"
        # One write to a file opened for appending: lines of several processes stay whole.
        with open(self.path, "ab", buffering=0) as file:
            file.write(line)

    def flush(self) -> None:
        """Nothing to do: every line is written at once."""

    def read(self, run: str) -> list[LogEntry]:
        """Return the numbers of one run, in the order of their lines; none if the file is missing.

        Raises:
            ArtifactError: `record` did not write this line; the message has its number.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        entries = []
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                try:
                    entry = _entry(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise ArtifactError(
                        f"{self.path}:{number}: not a logged number: {error!r}"
                    ) from error
                if entry.run == run:
                    entries.append(entry)
        return entries


def _row(entry: LogEntry) -> dict[str, Any]:
    value: float | str = entry.value
    if not math.isfinite(entry.value):
        value = next(
            text for text, number in _NOT_FINITE.items() if str(number) == str(entry.value)
        )
    return {
        "run_id": entry.run,
        "experiment": entry.experiment,
        "condition": entry.condition,
        "case": entry.case,
        "trial": entry.trial,
        "attempt": entry.attempt,
        "metric": entry.name,
        "value": value,
        "step": entry.step,
        "timestamp": iso_from_us(entry.time_us),
        "time_us": entry.time_us,
        "metadata": dict(entry.metadata),
    }


def _entry(line: dict[str, Any]) -> LogEntry:
    value = line["value"]
    return LogEntry(
        run=line["run_id"],
        experiment=line["experiment"],
        condition=line["condition"],
        case=line["case"],
        trial=line["trial"],
        attempt=line["attempt"],
        name=line["metric"],
        value=_NOT_FINITE[value] if isinstance(value, str) else value,
        step=line["step"],
        time_us=line["time_us"],
        metadata=line["metadata"],
    )
