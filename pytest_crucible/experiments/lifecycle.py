"""The life of an experiment: running, paused, stopped; when, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from pytest_crucible._errors import LifecycleError
from pytest_crucible.capture.open_scope import CLOSED, PAUSED, OpenScope
from pytest_crucible.capture.recorder import pause_scope, resume_scope
from pytest_crucible.runs.experiment_definition import Definition

Status = Literal["running", "paused", "stopped", "archived"]


class Lifecycle:
    """What a handle knows about the life of its experiment.

    Attributes:
        definition: the experiment as its author described it.
        opened: the scope that the handle records into. For this package's use.
        archived_to: the archive of the experiment; None without one.
    """

    definition: Definition
    opened: OpenScope
    archived_to: Path | None

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.definition.name

    def pause(self) -> None:
        """Record nothing until `resume`.

        Raises:
            LifecycleError: the experiment is paused or stopped.
        """
        if self.opened.state in (PAUSED, CLOSED):
            raise LifecycleError(f"experiment {self.name!r} cannot be paused: it is {self.status}")
        pause_scope(self.opened)

    def resume(self) -> None:
        """Record again after `pause`.

        Raises:
            LifecycleError: the experiment is not paused.
        """
        if self.opened.state != PAUSED:
            raise LifecycleError(f"experiment {self.name!r} cannot be resumed: it is {self.status}")
        resume_scope(self.opened)

    @contextmanager
    def paused(self) -> Iterator[Self]:
        """Record nothing in this block; raises what `pause` raises."""
        self.pause()
        try:
            yield self
        finally:
            if self.opened.state == PAUSED:  # the block may have resumed or stopped it
                self.resume()

    @property
    def status(self) -> Status:
        """running, paused, stopped or archived (stopped, and written to an archive)."""
        state = self.opened.state
        if state == CLOSED:
            return "stopped" if self.archived_to is None else "archived"
        return "paused" if state == PAUSED else "running"

    @property
    def is_paused(self) -> bool:
        """Whether the experiment is paused: it records nothing until `resume`."""
        return self.opened.state == PAUSED

    @property
    def reason(self) -> str | None:
        """Why it was stopped: the argument of `stop`, or the type of the exception."""
        return self.opened.timeline.reason

    @property
    def started_at(self) -> datetime:
        """When it began, in UTC."""
        return _moment(self.opened.timeline.began_wall_ns)

    @property
    def paused_at(self) -> datetime | None:
        """When the present pause began, in UTC; None if it is not paused."""
        since = self.opened.timeline.paused_wall_ns
        return None if since is None else _moment(since)

    @property
    def stopped_at(self) -> datetime | None:
        """When it ended, in UTC; None if it has not."""
        ended = self.opened.timeline.ended_wall_ns
        return None if ended is None else _moment(ended)

    @property
    def duration_s(self) -> float:
        """Seconds from the start to the end, or until now; by a monotonic clock."""
        return self.opened.timeline.durations()[0] / 1e9

    @property
    def active_s(self) -> float:
        """Seconds of `duration_s` in which it recorded."""
        duration, paused = self.opened.timeline.durations()
        return (duration - paused) / 1e9

    @property
    def paused_s(self) -> float:
        """Seconds of `duration_s` in which it was paused."""
        return self.opened.timeline.durations()[1] / 1e9

    @property
    def pause_count(self) -> int:
        """How often it was paused."""
        return self.opened.timeline.pauses


def _moment(time_ns: int) -> datetime:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=rest // 1000)
