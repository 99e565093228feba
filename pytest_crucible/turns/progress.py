"""What a user sees while two sessions take turns: a status line on a terminal, else plain lines."""

from __future__ import annotations

import shutil
from typing import TextIO

from pytest_crucible import _clock
from pytest_crucible._text import one_line
from pytest_crucible.turns.schedule import Step

NAMES = ("base", "head")
_REDRAW_NS = 100_000_000
_PLAIN_NS = 10_000_000_000
_CLEAR = "\r\033[K"


class Progress:
    """Tells the user how far it is.

    Args:
        stream: standard error, as a rule: standard output is for the table.
        rounds: how often each case runs.
    """

    def __init__(self, stream: TextIO, rounds: int) -> None:
        self._stream = stream
        self._rounds = rounds
        self._live = stream.isatty()
        self._drawn = False
        self._began_ns = _clock.monotonic_ns()
        self._last_ns = self._began_ns

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        print(one_line(text), file=self._stream, flush=True)

    def wait(self, text: str) -> None:
        """On a terminal, say what is waited for."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(_CLEAR + one_line(text)[:width])
            self._stream.flush()
            self._drawn = True

    def begin(self) -> None:
        """The first test is about to run: time is counted from here."""
        self._began_ns = self._last_ns = _clock.monotonic_ns()

    def tell(self, step: Step, test: str, number: int, total: int) -> None:
        """Say what runs; as often as one can read it.

        Args:
            step: what runs.
            test: its name.
            number: of runs before it.
            total: of all runs.
        """
        now = _clock.monotonic_ns()
        if now - self._last_ns < (_REDRAW_NS if self._live else _PLAIN_NS):
            return
        self._last_ns = now
        left = (now - self._began_ns) / 1e9 / max(1, number) * (total - number)
        parts = [f"{number:,} of {total:,} runs", f"about {_duration(left)} left"]
        if self._live:
            parts.append(f"{NAMES[step.side]}, round {step.round} of {self._rounds}: {test}")
            self.wait(" · ".join(parts))
        else:
            print(" · ".join(parts), file=self._stream, flush=True)

    def clear(self) -> None:
        """Remove the status line."""
        if self._drawn:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._drawn = False


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5_400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
