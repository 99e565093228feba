"""What to do about rows that have no verdict: how many cases more, or another question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_crucible._text import one_line
from pytest_crucible.report.numbers import format_of
from pytest_crucible.stats.change import RATIO
from pytest_crucible.stats.comparison import BETTER, INCONCLUSIVE, Comparison, Needs

_SMALL = 72
"""With fewer cases, all alike, EQUIVALENT is never said at a margin of 5 pp (rule of three)."""
_TOO_FAR = "more than 20 times as many cases"


def next_steps(rows: Iterable[Comparison]) -> Iterator[str]:
    """Yield a line on the cases that would find twice the margin, if some rows would not."""
    told = "; ".join(_needs_text(row, needs) for row, needs in _short(rows))
    if told:
        yield f"to find twice the margin in 4 of 5 such runs: {told}"


def advice(rows: Iterable[Comparison]) -> Iterator[str]:
    """Yield what a small suite can do instead: once, for all arms."""
    for row, _ in _short(rows):
        n, at = min(row.n), row.regresses_at
        if row.metric == "success_rate" and n < _SMALL and row.open != BETTER and at is not None:
            found = f"a success_rate of {at * 100:.1f} % or less is" if at > 0 else "hardly any is"
            yield (
                f"with {n:,} cases {found} REGRESSED; to "
                'fail on less, claim a number (expect="success_rate >= 0.9") and let what is not '
                "certain fail (--crucible-inconclusive=fail)"
            )
            return


def _short(rows: Iterable[Comparison]) -> list[tuple[Comparison, Needs]]:
    """Return the rows without a verdict that would not find twice the margin."""
    return [
        (row, row.needs)
        for row in rows
        if row.verdict == INCONCLUSIVE and row.needs is not None and not _finds(row, row.needs)
    ]


def _finds(row: Comparison, needs: Needs) -> bool:
    """Whether the row could find the change already."""
    if row.mde is None:
        return False
    if row.scale == RATIO:
        return max(row.mde, 1 / row.mde) <= max(needs.effect, 1 / needs.effect)
    return abs(row.mde) <= abs(needs.effect)


def _needs_text(row: Comparison, needs: Needs) -> str:
    """``latency +10.0 % about 95 pairs (48–165)``."""
    bounds = (row.low, row.high, needs.effect) if row.scale != RATIO else ()
    form = format_of(row.unit, (row.baseline, row.candidate), bounds)
    what = f"{one_line(row.metric)} {form.change(needs.effect, row.scale)}"
    if needs.cases is None or needs.low is None or needs.high is None:
        return f"{what} {_TOO_FAR}"
    unit = "pairs" if len(row.n) == 1 else "cases per side"
    span = f" ({needs.low:,}–{needs.high:,})" if needs.low < needs.high else ""
    return f"{what} about {needs.cases:,} {unit}{span}"
