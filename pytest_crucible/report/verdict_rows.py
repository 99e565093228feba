"""Comparisons and expectations as rows of text, the verdict first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tabulate import tabulate

from pytest_crucible._text import one_line
from pytest_crucible.metrics.catalog import CURVE_STATISTICS, STATISTICS
from pytest_crucible.report.lines import STYLES, Line
from pytest_crucible.report.next_steps import next_steps
from pytest_crucible.report.numbers import Format, format_of
from pytest_crucible.stats.change import RATIO, unseen_share
from pytest_crucible.stats.claim_needs import ClaimNeeds
from pytest_crucible.stats.comparison import (
    CHANGED,
    INCONCLUSIVE,
    LACKING,
    TOO_FEW,
    UNSEEN,
    Comparison,
    limits_of,
    margin_size,
)
from pytest_crucible.stats.verdict import CONFIRMED, REJECTED, Verdict


def comparison_lines(
    comparisons: Sequence[Comparison], indent: str, values: bool = True
) -> Iterator[Line]:
    """Yield a table of changes, the verdict first: rows that decide, then the others.

    Args:
        comparisons: one per row.
        indent: written before every line.
        values: also show the metric on both sides.
    """
    rows = [row for row in comparisons if not folded(row)]
    yield Line(indent + head_note(rows))
    header = change_header(values)
    align = ["left", "left", *["right"] * (len(header) - 3), "left"]
    table = tabulate(
        [change_cells(row, values) for row in rows],
        headers=header, tablefmt="plain", disable_numparse=True, colalign=align,
    )  # fmt: skip
    head, *lines = table.splitlines()
    yield Line((indent + head).rstrip())
    aside = not any(row.primary for row in rows)  # of slices none decides: their title says so
    for row, line in zip(rows, lines, strict=True):
        if not row.primary and not aside:
            aside = True
            yield Line(indent + ASIDE)
        yield Line((indent + line).rstrip(), STYLES[row.verdict] if row.primary else "")
    for note in footnotes(comparisons):
        yield Line(indent + note)


ASIDE = "shown only; these decide nothing (name one with primary= or --metric):"


def folded(row: Comparison) -> bool:
    """Whether a row has nothing to show but a reason, which becomes a footnote."""
    return not row.primary and row.open in (TOO_FEW, LACKING) and row.low is None


def head_note(rows: Sequence[Comparison]) -> str:
    """Say what the table means: the margin, and how far its intervals hold."""
    judged = [row for row in rows if row.low is not None]
    decided = [row for row in judged if row.primary] or judged
    margins: dict[str, list[str]] = {}
    for row in decided:
        margins.setdefault(margin_text(row), []).append(one_line(row.metric))
    texts = [
        margin if len(margins) == 1 else f"{margin} ({', '.join(metrics)})"
        for margin, metrics in margins.items()
    ]
    levels = sorted({round(row.level * 100, 2) for row in decided})
    parts = [f"margin {', '.join(texts)}"] if texts else []
    if levels and levels[-1] > 95:
        most = f"{levels[0]:g} %" if len(levels) == 1 else f"{levels[0]:g} to {levels[-1]:g} %"
        parts.append(f"{most} intervals, so that all hold together")
    else:
        parts.append("95 % intervals")
    return "; ".join([*parts, FINDS])


FINDS = "finds: what 4 of 5 such runs would find"


def margin_text(row: Comparison) -> str:
    """``5 %``, ``5 pp``, ``0.05``: the margin of a row, in the unit of its change."""
    if row.scale == RATIO:
        return f"{row.margin * 100:.4g} %"
    if row.unit == "%":
        return f"{row.margin * 100:.4g} pp"
    if row.absolute or row.width is not None:
        return f"{margin_size(row):.4g}{f' {row.unit}' if row.unit else ''}"
    return f"{row.margin * 100:.4g} %"


def footnotes(rows: Sequence[Comparison]) -> Iterator[str]:
    """Yield what is said once for several rows."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if folded(row):
            reasons.setdefault(reason_text(row), []).append(one_line(row.metric))
    for reason, metrics in reasons.items():
        yield f"no verdict on {', '.join(metrics)}: {reason}"
    undeclared = undeclared_note(rows)
    if undeclared:
        yield undeclared
    yield from next_steps(rows)


def undeclared_note(comparisons: Iterable[Comparison]) -> str:
    """Say once for all CHANGED metrics how to declare which direction is better; empty if none."""
    changed = [row.metric for row in comparisons if row.verdict == CHANGED]
    names = dict.fromkeys(_declarable(path) for path in changed)
    if not names:
        return ""
    entries = ", ".join(f'{_quoted(name)}: "lower"' for name in names)
    return f'CHANGED: better or worse? Declare it, "lower" or "higher": metrics={{{entries}}}'


def _quoted(name: str) -> str:
    return f'"{one_line(name)}"'


def _declarable(path: str) -> str:
    """``words`` for ``words.mean``: the name that a declaration has."""
    name, _, statistic = path.rpartition(".")
    return name if statistic in (*STATISTICS, *CURVE_STATISTICS) and name else path


def change_header(values: bool = True) -> list[str]:
    """Return the names of the columns of `change_cells`."""
    sides = ["before", "after"] if values else []
    return ["", "metric", *sides, "change", "interval", "finds", "n", ""]


def change_cells(row: Comparison, values: bool = True) -> list[str]:
    """Return the comparison of one metric as text, one cell per column.

    The verdict of a row that decides nothing is in small letters.

    Args:
        row: the comparison.
        values: also show the metric on both sides.
    """
    sides, form = (row.baseline, row.candidate), comparison_format(row)
    return [
        row.verdict if row.primary else row.verdict.lower(),
        one_line(row.metric),
        *(map(form.show, sides) if values else []),
        form.change(row.change, row.scale),
        form.change_interval(row.low, row.high, row.scale),
        "" if row.mde is None else form.change(row.mde, row.scale),
        " + ".join(f"{n:,}" for n in row.n),
        comparison_note(row),
    ]


def comparison_format(row: Comparison) -> Format:
    """Return how the numbers of a comparison are shown, its change included."""
    bounds = (row.low, row.high) if row.scale != RATIO else ()
    return format_of(row.unit, (row.baseline, row.candidate), bounds)


def comparison_note(row: Comparison) -> str:
    """Say in words why there is no better verdict."""
    parts = [_verdict_note(row)]
    sides = row.baseline, row.candidate
    if row.change is not None and row.scale == RATIO and None not in sides:
        before, after = (side for side in sides if side is not None)
        if (row.change - 1) * (after - before) < 0:
            # The median of the ratios of pairs is not the ratio of the medians.
            parts.append("change: of the typical pair")
    return "; ".join(part for part in parts if part)


def _verdict_note(row: Comparison) -> str:
    if row.reason:
        return reason_text(row)
    if row.alike is not None and row.open == UNSEEN and _unchanged(row) and min(row.n) > 1:
        share = unseen_share(row.alike, 1 - row.level) * 100
        pairs = "pairs" if len(row.n) == 1 else "values per side"
        return f"{row.alike} {pairs} alike; up to {share:.2g} % of cases could still differ"
    within = f"maybe within your margin of {margin_text(row)}"
    match row.open:
        case "worse" | "better" | "different":
            return f"{row.open}, {within}"
        case "unseen":
            seen = "no difference seen" if _small(row) else CHANCE
            if row.mde is None:
                return seen
            beyond = _beyond(row)
            if beyond is not None:
                return f"{seen}, but up to {beyond} is possible"
            if seen == CHANCE:
                return f"{seen}; more than {effect_text(row)} would have been found"
            return f"{seen}; one of more than {effect_text(row)} would have been"
        case _:
            return ""


CHANCE = "may be chance"


def _unchanged(row: Comparison) -> bool:
    return row.change == (1.0 if row.scale == RATIO else 0.0)


def _small(row: Comparison) -> bool:
    """Whether what was seen lies within the margin: no difference, in a layman's eyes."""
    lower, upper = limits_of(row)
    return row.change is not None and lower <= row.change <= upper


def reason_text(row: Comparison) -> str:
    """``too few for p95: 40 of 132 at 99.2 %``: how many are needed depends on the level."""
    reason = row.reason or ""
    if row.open == TOO_FEW and round(row.level, 6) > 0.95:
        return f"{reason} at {row.level * 100:.4g} %"
    return reason


def _beyond(row: Comparison) -> str | None:
    """Return the end of the interval for the worse, if it lies beyond what the row finds.

    What varies between the cases that were seen tells what would have been found; that a few cases
    which were not seen differ (the rule of three) may leave more possible.
    """
    if row.mde is None or row.low is None or row.high is None:
        return None
    up = row.mde > (1.0 if row.scale == RATIO else 0.0)
    end = row.high if up else row.low
    if (end > row.mde) != up or end == row.mde:
        return None
    return comparison_format(row).change(end, row.scale)


def effect_text(row: Comparison) -> str:
    """``12.0 pp``, ``29.8 %``: the minimal detectable effect, without a sign."""
    assert row.mde is not None
    size = row.mde if row.scale == RATIO and row.mde > 1 else abs(row.mde)
    return comparison_format(row).change(size, row.scale).lstrip("+-")


def verdict_lines(
    verdicts: Sequence[Verdict], indent: str, said: Sequence[Line] = ()
) -> Iterator[Line]:
    """Yield a table of expectations, the verdict first, and below it what their bounds assume.

    Args:
        verdicts: one per row.
        indent: written before every line.
        said: lines that the reader has seen; what they say of a metric is not said again.
    """
    cells = [
        [
            verdict.verdict if verdict.primary else verdict.verdict.lower(),
            one_line(verdict.condition),
            one_line(verdict.expectation),
            one_line(verdict_text(replace(verdict, note=None))),
        ]
        for verdict in verdicts
    ]
    table = tabulate(cells, tablefmt="plain", disable_numparse=True)
    for verdict, line in zip(verdicts, table.splitlines(), strict=True):
        yield Line((indent + line).rstrip(), STYLES[verdict.verdict] if verdict.primary else "")
    notes: dict[str, list[str]] = {}
    for verdict in verdicts:
        metric, note = one_line(verdict.metric), verdict.note
        known = (line.text.endswith(f": {note}") and metric in line.text for line in said)
        if note and metric not in notes.get(note, ()) and not any(known):
            notes.setdefault(note, []).append(metric)
    for note, metrics in notes.items():
        yield Line(f"{indent}{', '.join(metrics)}: {note}")


def verdict_text(verdict: Verdict) -> str:
    """``83.3 %, at least 66.4 % · …``: the metric, the bound that decides, what is missing.

    For claims between arms ``90.0 % against 80.0 %, change +10.0 pp [+1.2, +18.8]``: the change and
    interval that the row of their comparison has.
    """
    relative = verdict.scale is not None
    bounds = () if verdict.scale == RATIO else (verdict.low, verdict.high)
    shown = (verdict.observed, verdict.against)
    form = format_of(verdict.unit, shown, bounds)
    parts = []
    if verdict.observed is not None:
        parts.append(form.show(verdict.observed))
    if relative:
        scale = verdict.scale or RATIO
        change = form.change(verdict.change, scale)
        interval = form.change_interval(verdict.low, verdict.high, scale)
        parts[-1] += f" against {form.show(verdict.against)}, change {change} {interval}"
    else:
        side = deciding_bound(verdict)
        if side is not None:
            word, bound = side
            parts[-1] += f", {word} {form.show(bound)}"
    if verdict.reason:
        parts.append(verdict.reason)
    if verdict.needs is not None:
        parts.append(_claim_needs(verdict.needs, form.show(verdict.observed)))
    if verdict.note:
        parts.append(verdict.note)
    if not verdict.primary:
        parts.append("shown only")
    return " · ".join(parts)


def _claim_needs(needs: ClaimNeeds, seen: str) -> str:
    if needs.cases is None:
        return "too close to the threshold: 20 times as many cases would not decide it"
    does = "confirm" if needs.outcome == CONFIRMED else "reject"
    return f"about {needs.cases:,} cases {does} it, if {seen} is true"


def deciding_bound(verdict: Verdict) -> tuple[str, float] | None:
    """Return the bound that gave the verdict on a number, and on which side it lies.

    That which confirms, at 95 %; for a rejected claim, and one that looks wrong, that which
    rejects. One-sided, so it is nearer than the end of the two-sided interval in the table.
    """
    lower = ("at least", verdict.low)
    upper = ("at most", verdict.high)
    wants_more = ">" in verdict.expectation
    wrong = verdict.verdict == REJECTED
    if verdict.verdict == INCONCLUSIVE and None not in (verdict.observed, verdict.bound):
        wrong = (verdict.observed < verdict.bound) == wants_more  # type: ignore[operator]
    word, bound = lower if wants_more != wrong else upper
    return None if bound is None else (word, bound)
