"""Judge comparison rows, each at the level that its family leaves it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_crucible.stats.comparison import (
    BETTER,
    INCONCLUSIVE,
    LACKING,
    TOO_FEW,
    Comparison,
    with_verdict,
)
from pytest_crucible.stats.detectable import Measured, detectable, found_rate, needs
from pytest_crucible.stats.family import SIDE, Decision, Levels, levels_of
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.metric_changes import at_any_look, change_of
from pytest_crucible.stats.row_drafts import Draft


@dataclass(frozen=True, slots=True)
class RowLevels:
    """The levels of the rows that decide, and of those that are only shown."""

    primary: Levels
    shown: Levels

    @classmethod
    def of(cls, drafts: Iterable[Draft], others: Iterable[Decision] = ()) -> RowLevels:
        """Return the levels for the rows of one exit code.

        Args:
            drafts: all rows.
            others: what else decides with them.
        """
        drafts, others = tuple(drafts), tuple(others)
        primary = [draft.decision for draft in drafts if draft.row.primary]
        everything = [draft.decision for draft in drafts]
        return cls(levels_of([*primary, *others]), levels_of([*everything, *others]))

    def shared(self, slices: int) -> RowLevels:
        """Return the levels if each row is there once per slice."""
        return RowLevels(self.primary.shared(slices), self.shown.shared(slices))


def judge_rows(drafts: Iterable[Draft], levels: RowLevels) -> list[Comparison]:
    """Judge rows, each at its level."""
    return [_judge(draft, levels) for draft in drafts]


def _judge(draft: Draft, levels: RowLevels) -> Comparison:
    if draft.samples is None:
        return draft.row
    kind = draft.decision.kind
    own = levels.primary if draft.row.primary else levels.shown
    alpha = 2 * own.of(kind)
    row = replace(draft.row, level=1 - alpha, decisions=own.count(kind))
    try:
        change = change_of(*draft.samples, alpha, draft.question)
    except NoIntervalError as error:
        return replace(row, reason=str(error), open=TOO_FEW)
    row = replace(
        row,
        scale=change.scale,
        change=change.estimate,
        low=change.low,
        high=change.high,
        p=min(1.0, change.p * 2 * SIDE / alpha),
        effect=change.effect,
        n=change.n,
        method=change.method,
        alike=change.alike,
    )
    measured = Measured(row, draft.samples, draft.question, change, alpha)
    one_look = not at_any_look(*draft.samples)  # else nobody knows how many cases there will be
    if one_look:
        row = replace(row, mde=detectable(measured), regresses_at=found_rate(measured))
    if draft.lacking:
        return replace(row, verdict=INCONCLUSIVE, reason=draft.lacking, open=LACKING)
    row = with_verdict(row, change, alpha)
    if row.verdict == INCONCLUSIVE and row.open != BETTER and row.primary and one_look:
        row = replace(row, needs=needs(measured))
    return row
