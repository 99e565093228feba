"""One family per exit code: at which level each of many decisions is made.

Everything that can turn one session (or one command) red shares 5 %: on unchanged code it turns red
in at most 5 % of runs, however many claims, metrics, arms and experiments there are.

The 5 % are divided equally among the kinds of decisions that there are, within a kind by their
number (Bonferroni). Success rates are a kind of their own, so that latencies, which nobody asked
about, cannot hide a broken suite. A decision that could not be reached with so few observations
takes nothing from the others (Tarone 1990).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ALPHA = 0.05
"""Chance of a false alarm of a whole session."""
SIDE = 0.025
"""Most that a row may take on its bad side: its interval is never narrower than a 95 % one."""

CLAIM, SUCCESS, OTHER = "claims on numbers", "success rates", "other metrics"
KINDS = (CLAIM, SUCCESS, OTHER)


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that can turn a session red.

    Attributes:
        kind: one of `KINDS`.
        floor: the smallest one-sided p that its number of observations allows; 1: it cannot.
    """

    kind: str
    floor: float


@dataclass(frozen=True, slots=True)
class Levels:
    """One-sided levels of decisions, by kind, and how many share them.

    Attributes:
        claims: of the rejection of a claim on a number.
        success, other: of the bad side of a row.
        counts: number of decisions per kind that can be reached.
    """

    claims: float = ALPHA
    success: float = SIDE
    other: float = SIDE
    counts: tuple[int, int, int] = (1, 1, 1)

    def of(self, kind: str) -> float:
        """Return the one-sided level of one decision of a kind."""
        return (self.claims, self.success, self.other)[KINDS.index(kind)]

    def count(self, kind: str) -> int:
        """Return how many decisions of a kind share its part."""
        return self.counts[KINDS.index(kind)]

    def shared(self, slices: int) -> Levels:
        """Return the levels if each decision is made once per slice."""
        return Levels(
            self.claims / slices, self.success / slices, self.other / slices, self.counts
        )  # fmt: skip


def levels_of(decisions: Iterable[Decision], alpha: float = ALPHA) -> Levels:
    """Return at which level each decision of a family is made.

    Args:
        decisions: all that can turn the session red.
        alpha: chance of a false alarm, of the whole family.
    """
    by_kind: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for decision in decisions:
        if decision.floor < 1:
            by_kind[decision.kind].append(decision.floor)
    present = sum(bool(floors) for floors in by_kind.values()) or 1
    levels, counts = [], []
    for kind, floors in by_kind.items():
        part = alpha / present
        if kind != CLAIM:
            part = min(part, alpha / 2)
        count = reachable(floors, part)
        levels.append(part / count)
        counts.append(count)
    return Levels(levels[0], levels[1], levels[2], (counts[0], counts[1], counts[2]))


def reachable(floors: Sequence[float], part: float) -> int:
    """Return the number of decisions that share a part: those that can reach their share of it.

    The smallest k such that at most k of them can reach ``part / k`` (Tarone 1990); at least 1.
    """
    ordered = sorted(floors)
    for k in range(1, len(ordered) + 1):
        able = sum(floor <= part / k for floor in ordered)
        if able <= k:
            return k
    return max(1, len(ordered))
