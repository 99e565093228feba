"""Tables of promises: how often something happened in simulated runs, and how often it may."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

SEED = 20_240_601
AGREE, FAMILIES, GATES, COVERAGE, UNSEEN, PLANS, DRIFT = PARTS = (
    "rows and claims",
    "families",
    "gates",
    "coverage",
    "unseen",
    "plans",
    "drift",
)
"""What docs/statistics.md promises, by the names that it uses."""


@dataclass(frozen=True, slots=True)
class Table:
    """A promise, and the title of the table of situations in which it was tried.

    Attributes:
        part: one of `PARTS`.
        title: what the shares are of.
        most, least: limits of the promised share; None: there is no such limit.
        answer: what the runs that count have in common: a reason instead of a number is no answer.
    """

    part: str
    title: str
    most: float | None = None
    least: float | None = None
    answer: str = "runs"

    @property
    def promise(self) -> str:
        """The promise in words."""
        if self.least is None:
            return "no promise" if self.most is None else f"at most {self.most:.1%}"
        if self.most is None:
            return f"at least {self.least:.1%}"
        return f"{self.least:.0%} to {self.most:.0%}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        table: its table.
        what: the simulated situation.
        hits: number of answers in which the event of the table happened.
        answers: number of runs that gave an answer; the others gave a reason.
        runs: number of all runs.
    """

    table: Table
    what: str
    hits: int
    answers: int
    runs: int

    @property
    def share(self) -> float:
        """Hits / answers."""
        return self.hits / max(1, self.answers)

    @property
    def kept(self) -> bool:
        """Whether the promise is kept, within three standard errors of the simulation."""
        most, least = self.table.most, self.table.least
        above = most is None or self.share <= most + self._error(most)
        return above and (least is None or self.share >= least - self._error(least) or self.silent)

    @property
    def silent(self) -> bool:
        """Whether no run gave an answer."""
        return not self.answers

    def _error(self, promise: float) -> float:
        return 3 * math.sqrt(promise * (1 - promise) / max(1, self.answers))


Simulate = Callable[[np.random.Generator, int], Iterable[Row]]
Answer = Callable[[np.random.Generator], bool | None]
"""Simulates one run: did it happen? None: there was no answer."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to simulate.

    Attributes:
        what: the situation; it seeds the random numbers, so that a task always says the same.
        runs: how many runs the full simulation makes.
        simulate: makes so many runs and returns the rows.
    """

    what: str
    runs: int
    simulate: Simulate

    def rows(self, share: float = 1.0) -> list[Row]:
        """Simulate; ``share`` of the runs."""
        rng = np.random.default_rng([SEED, zlib.crc32(self.what.encode())])
        return list(self.simulate(rng, max(1, round(share * self.runs))))


def counted(table: Table, what: str, runs: int, once: Answer) -> Task:
    """Return a task that makes one row of answers."""

    def simulate(rng: np.random.Generator, runs: int) -> Iterable[Row]:
        return [row_of(table, what, [once(rng) for _ in range(runs)])]

    return Task(f"{table.title}: {what}", runs, simulate)


def row_of(table: Table, what: str, answers: Sequence[bool | None]) -> Row:
    """Return the row of the answers of all runs."""
    given = [answer for answer in answers if answer is not None]
    return Row(table, what, sum(given), len(given), len(answers))


def as_markdown(rows: Sequence[Row]) -> str:
    """Return all rows as Markdown, one table per promise, by parts."""
    lines: list[str] = []
    tables = sorted(
        dict.fromkeys(row.table for row in rows), key=lambda each: PARTS.index(each.part)
    )
    for number, table in enumerate(tables):
        if not number or table.part != tables[number - 1].part:
            lines += [f"## {_capital(table.part)}", ""]
        lines += [f"### {_capital(table.title)}", ""]
        lines += [f"Promised: {table.promise}.", ""]
        lines += [f"| | share | {table.answer} | no answer | kept |", "|---|--:|--:|--:|---|"]
        lines += [_line(row) for row in rows if row.table == table]
        lines.append("")
    return "\n".join(lines)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _line(row: Row) -> str:
    none = f"{row.runs - row.answers:,}" if row.runs > row.answers else ""
    if row.silent:
        return f"| {row.what} | – | 0 | {none} | no answer |"
    kept = "yes" if row.kept else "**no**"
    if row.table.most is row.table.least is None:
        kept = ""
    return f"| {row.what} | {row.share:.1%} | {row.answers:,} | {none} | {kept} |"
