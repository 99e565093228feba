"""Lines of a report for the terminal, and the colours of verdicts."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_crucible.stats.comparison import (
    ADDED,
    CHANGED,
    EQUIVALENT,
    IMPROVED,
    NO_INTERVAL,
    REGRESSED,
    REMOVED,
)
from pytest_crucible.stats.verdict import (
    CONFIRMED,
    ERRORED,
    INCONCLUSIVE,
    NOT_RUN,
    REJECTED,
)

STYLES = {
    ERRORED: "red", REJECTED: "red", INCONCLUSIVE: "yellow", CONFIRMED: "green", NOT_RUN: "yellow",
    IMPROVED: "green", REGRESSED: "red", EQUIVALENT: "", ADDED: "yellow", REMOVED: "yellow",
    CHANGED: "yellow", NO_INTERVAL: "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and its style: green, red, yellow, bold, or empty for none."""

    text: str
    style: str = ""


def has_sparklines(encoding: str | None) -> bool:
    """Whether this encoding has the characters of sparklines."""
    return (encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
