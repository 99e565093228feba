"""A line that changes on a terminal, few lines elsewhere."""

from __future__ import annotations

import io

import pytest

from pytest_crucible import _clock
from pytest_crucible.turns.messages import Run
from pytest_crucible.turns.progress import Progress
from pytest_crucible.turns.schedule import HEAD, Step

STEP = Step(HEAD, Run(0, None), 2)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seconds that the clock shows, as the last of the list."""
    seconds = [0]
    monkeypatch.setattr(_clock, "monotonic_ns", lambda: seconds[-1] * 1_000_000_000)
    monkeypatch.setenv("COLUMNS", "60")
    return seconds


def test_on_a_terminal_one_line_changes(sleep: list[int]) -> None:
    stream = Terminal()
    progress = Progress(stream, 5)
    progress.say("base: main")
    progress.wait("collecting")
    sleep.append(100)
    progress.begin()
    progress.tell(STEP, "test_a", 0, 300)  # too soon
    for number, second in ((1, 110), (1, 110), (100, 200)):
        sleep.append(second)
        progress.tell(STEP, f"test_a{'a' * 99}\n", number, 300)
    progress.say("done")
    progress.clear()
    first, *states = stream.getvalue().split("\r\033[K")
    assert first == "base: main\n"
    assert states == [
        "collecting",
        "1 of 300 runs · about 50 min left · head, round 2 of 5: tes",
        "100 of 300 runs · about 3 min left · head, round 2 of 5: te",
        "done\n",
    ]


def test_in_ci_a_line_now_and_then(sleep: list[int]) -> None:
    stream = io.StringIO()
    progress = Progress(stream, 5)
    progress.wait("collecting")
    progress.begin()
    for second in range(1, 31):
        sleep.append(second)
        progress.tell(STEP, "test_a", second, 30)
    progress.clear()
    assert stream.getvalue().splitlines() == [
        "10 of 30 runs · about 20 s left",
        "20 of 30 runs · about 10 s left",
        "30 of 30 runs · about 1 s left",
    ]


def test_long_ones_are_told_in_hours(sleep: list[int]) -> None:
    stream = io.StringIO()
    progress = Progress(stream, 5)
    progress.begin()
    sleep.append(3_600)
    progress.tell(STEP, "test_a", 10, 35)
    assert stream.getvalue() == "10 of 35 runs · about 2.5 h left\n"
