"""A comparison of runs for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pytest_crucible._text import one_line, plural
from pytest_crucible.analysis.run_comparison import WORST_FIRST, ArmComparison, RunComparison
from pytest_crucible.report.lines import STYLES, Line
from pytest_crucible.report.next_steps import advice
from pytest_crucible.report.numbers import format_of, show_change
from pytest_crucible.report.verdict_rows import comparison_lines
from pytest_crucible.stats.change import RATIO
from pytest_crucible.stats.comparison import (
    ADDED,
    BETTER,
    CHANGED,
    DIFFERENT,
    INCONCLUSIVE,
    LACKING,
    NO_INTERVAL,
    REGRESSED,
    REMOVED,
    TOO_FEW,
    UNSEEN,
    WORSE,
)

_MAX_CASES = 3
_WORDS = {NO_INTERVAL: "without an interval"}
_KNOWN = {
    WORSE: "maybe worse", DIFFERENT: "maybe changed", LACKING: "data missing",
    BETTER: "maybe better", UNSEEN: "no certain difference", TOO_FEW: "too few",
}  # fmt: skip
"""What an INCONCLUSIVE metric knows, the most alarming first."""


def render_comparison(comparison: RunComparison) -> Iterator[Line]:
    """Yield the lines of a comparison, the verdict first."""
    yield verdict_line(comparison)
    yield Line(f"  {comparison.title}")
    for difference in comparison.differences:
        yield Line(f"  differs: {difference}", "yellow")
    for drift in comparison.drifts:
        yield Line(f"  drift: {one_line(drift)}", "yellow")
    for reason in comparison.incomplete:
        yield Line(f"  incomplete: {reason}", "yellow")
    for arm in comparison.arms:
        yield Line("")
        yield from _arm(arm)
    for text in conclusions(comparison):
        yield Line("")
        yield Line(text)


def conclusions(comparison: RunComparison) -> Iterator[str]:
    """Yield what is said about all arms together: the geometric mean, advice for small suites."""
    means = comparison.geometric_means
    if means:
        most = max(mean.n for mean in means.values())
        told = (
            f"{one_line(metric)} {show_change(mean.ratio, RATIO, '', 0)}"
            + (f" ({mean.n} of them)" if mean.n < most else "")
            for metric, mean in means.items()
        )
        yield f"geometric mean over {most} experiments or arms: {', '.join(told)}"
    yield from advice(row for arm in comparison.arms for row in arm.comparisons)


def verdict_line(comparison: RunComparison) -> Line:
    """``REGRESSED  1 regressed, 1 inconclusive (maybe worse); 1 regressed, shown only``."""
    counts = {verdict: comparison.count(verdict) for verdict in WORST_FIRST}
    parts = [f"{count} {_words(verdict, comparison)}" for verdict, count in counts.items() if count]
    removed = sum(arm.removed for arm in comparison.arms)
    if removed:
        parts.append(f"{plural(removed, 'experiment')} removed")
    others = comparison.count(REGRESSED, primary=False)
    aside = [f"{others} regressed, shown only"] if others else []
    if not comparison.comparable:
        shown = any(arm.comparisons for arm in comparison.arms)
        why = ["no metric decides: name one with primary= or --metric"] if shown else []
        return Line(f"NOTHING TO COMPARE  {'; '.join([*parts, *why, *aside])}".rstrip(), "red")
    if removed and not counts[REGRESSED]:
        worst = REMOVED
    else:
        worst = next(verdict for verdict, count in counts.items() if count)
    return Line(f"{worst}  {'; '.join([', '.join(parts), *aside])}", STYLES[worst])


def _words(verdict: str, comparison: RunComparison) -> str:
    """``regressed``; ``inconclusive (1 maybe worse, 2 no certain difference)``."""
    word = _WORDS.get(verdict, verdict.lower())
    if verdict != INCONCLUSIVE:
        return word
    rows = (row for arm in comparison.arms for row in arm.comparisons if row.primary)
    found = Counter(row.open for row in rows if row.verdict == INCONCLUSIVE)
    known = [(found[what], text) for what, text in _KNOWN.items() if found[what]]
    if len(known) == 1 and len(found) == 1:
        return f"{word} ({known[0][1]})"
    return f"{word} ({', '.join(f'{count} {text}' for count, text in known)})" if known else word


def _arm(arm: ArmComparison) -> Iterator[Line]:
    if arm.reason is not None:
        yield Line(f"{arm.verdict}  {arm.name}: {arm.reason}", STYLES[arm.verdict])
        return
    cases = f", {plural(arm.matched, 'matched case')}" if arm.matched else ""
    moved = f" ({arm.moved} of them by content, under another id)" if arm.moved else ""
    yield Line(f"{arm.name}{cases}{moved}", "bold")
    for word, text in case_notes(arm):
        yield Line(f"  {word}  {text}", "yellow")
    yield from comparison_lines(arm.comparisons, "  ")
    for name, rows in arm.slices.items():
        yield Line("")
        yield Line(f"  {sliced_title(name)}")
        yield from comparison_lines(rows, "    ")


def sliced_title(name: str) -> str:
    """What stands above the comparisons of the slices by ``name``."""
    return one_line(f"by {name}, corrected for the number of slices; none decides the verdict")


def case_notes(arm: ArmComparison) -> Iterator[tuple[str, str]]:
    """Yield what the two runs do not have in common: a word, and a text.

    ``REMOVED``, ``2 cases: a, b (success_rate 50.0 %, cost $0.01)``.
    """
    if arm.conflicts:
        have = "id stands" if len(arm.conflicts) == 1 else "ids stand"
        text = f"{len(arm.conflicts):,} {have} for other content than before, not compared"
        yield CHANGED, f"{text}: {some(arm.conflicts)}"
    for word, names, numbers in (
        (REMOVED, arm.removed_cases, arm.removed_numbers),
        (ADDED, arm.added_cases, arm.added_numbers),
    ):
        if names:
            shown = ", ".join(
                f"{one_line(metric)} {format_of(unit, [value]).show(value)}"
                for metric, (value, unit) in numbers.items()
            )
            text = f"{plural(len(names), 'case')}: {some(names)}"
            yield word, f"{text} ({shown})" if shown else text


def some(names: tuple[str, ...]) -> str:
    """``a, b, c and 4 more``: the first few names."""
    more = f" and {len(names) - _MAX_CASES} more" if len(names) > _MAX_CASES else ""
    return ", ".join(map(one_line, names[:_MAX_CASES])) + more
