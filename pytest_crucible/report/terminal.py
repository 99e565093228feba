"""The summary for the terminal: one compact table per experiment, ready to be pasted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tabulate import tabulate

from pytest_crucible.metrics.summary import Metrics, Tests, flatten
from pytest_crucible.metrics.trials import MISSING, UNFINISHED
from pytest_crucible.report.results import ExperimentResult, Results
from pytest_crucible.stats.expectations import CONFIRMED, INCONCLUSIVE, REJECTED, Judgement

_STYLES = {CONFIRMED: "green", REJECTED: "red", INCONCLUSIVE: "yellow"}
_INDENT = "  "
_MAX_ERRORS = 3
MISSING_VALUE = "–"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and how to colour it: green, red, yellow, bold, or not at all."""

    text: str
    style: str = ""


def render(results: Results) -> Iterator[Line]:
    """The summary of a run, line by line."""
    for experiment in results.experiments:
        yield from render_experiment(experiment)
        yield Line("")
    yield from _completeness(results)


def render_experiment(experiment: ExperimentResult) -> Iterator[Line]:
    """One experiment: verdict, claim, completeness, table, expectations, errors."""
    definition, verdict = experiment.definition, experiment.verdict
    claim = f": {definition.hypothesis}" if definition.hypothesis else ""
    head = f"{definition.name}{claim}"
    if verdict is None:
        yield Line(head, "bold")
    else:
        yield Line(f"{verdict}  {head}", _STYLES[verdict])
    yield Line(_INDENT + _recorded(experiment), "" if _all_recorded(experiment) else "yellow")
    yield Line("")
    for line in _table(experiment).splitlines():
        yield Line((_INDENT + line).rstrip())
    if experiment.judgements:
        yield Line("")
        yield from _judgements(experiment.judgements)
    yield from _errors(experiment)


# --- how complete -----------------------------------------------------------------------------


def _all_recorded(experiment: ExperimentResult) -> bool:
    return experiment.recorded == len(experiment.trials)


def _recorded(experiment: ExperimentResult) -> str:
    trials = experiment.trials
    events = sum(metrics.summary.total_events for metrics in experiment.metrics.values())
    parts = []
    if trials:
        parts.append(f"recorded {experiment.recorded}/{len(trials)} trials{_design(experiment)}")
        for outcome, word in (
            (UNFINISHED, "crashed"),
            ("skipped", "skipped"),
            (MISSING, "missing"),
        ):
            hit = [trial for trial in trials if trial.outcome == outcome]
            if hit:
                nodes = sorted({trial.attempts[-1].node for trial in hit if trial.attempts})
                where = f" ({', '.join(nodes)})" if outcome == UNFINISHED else ""
                parts.append(f"{len(hit)} {word}{where}")
    parts.append(plural(events, "event"))
    return " · ".join(parts)


def _design(experiment: ExperimentResult) -> str:
    trials = experiment.trials
    cases, repeats = {t.case for t in trials}, {t.trial for t in trials}
    conditions = {t.condition for t in trials}
    if len(cases) * len(repeats) * len(conditions) != len(trials) or len(trials) == len(cases):
        return ""
    factors = [plural(len(cases), "case")]
    if len(conditions) > 1:
        factors.append(plural(len(conditions), "condition"))
    if len(repeats) > 1:
        factors.append(f"{len(repeats)} repeats")
    return f" ({' × '.join(factors)})"


def _completeness(results: Results) -> Iterator[Line]:
    for reason in results.incomplete:
        yield Line(f"incomplete: {reason}", "yellow")
    if results.unattributed:
        yield Line(
            f"{plural(results.unattributed, 'event')} not attributed: emitted without context "
            "while several experiments were open (use experiment.execute, or copy_context().run)",
            "yellow",
        )
    if results.late:
        yield Line(f"{plural(results.late, 'event')} arrived after their trial had ended", "yellow")
    if results.degraded:
        yield Line(
            f"{plural(results.degraded, 'value')} could not be encoded and kept as text", "yellow"
        )


def plural(count: int, noun: str) -> str:
    """``1 event``, ``2,000 events``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


# --- the table --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the table: how to read a number from metrics, show it, and show its change."""

    label: str
    read: Callable[[Metrics], float | None]
    show: Callable[[float, int], str]
    change: Callable[[float, float], str]


def _table(experiment: ExperimentResult) -> str:
    conditions = experiment.conditions
    body = [
        cells
        for row in _rows(experiment)
        if (cells := _cells(row, [experiment.metrics[condition] for condition in conditions]))
    ]
    header = ["", *conditions]
    if len(conditions) == 2:
        header.append("change")
    return tabulate(
        body, headers=header, tablefmt="plain", disable_numparse=True,
        colalign=["left", *["right"] * (len(header) - 1)],
    )  # fmt: skip


def _cells(row: _Row, metrics: list[Metrics]) -> list[str] | None:
    values = [row.read(each) for each in metrics]
    present = [value for value in values if value is not None]
    if not present:
        return None
    digits = _decimals(present)
    cells = [MISSING_VALUE if value is None else row.show(value, digits) for value in values]
    if len(values) == 2:
        base, other = values
        known = base is not None and other is not None
        cells.append(row.change(base, other) if known else MISSING_VALUE)  # type: ignore[arg-type]
    return [row.label, *cells]


def _rows(experiment: ExperimentResult) -> Iterator[_Row]:
    every = list(experiment.metrics.values())
    if any(each.tests.trials for each in every):
        yield _Row("success_rate", lambda m: m.tests.pass_rate, _percent, _points)
        if any(each.tests.attempts > _started(each.tests) for each in every):
            yield _Row(
                "tests.first_pass_rate", lambda m: m.tests.first_pass_rate, _percent, _points
            )
    for name in dict.fromkeys(name for each in every for name in each.recorded):
        yield _Row(f"{name}.mean", _reader(f"{name}.mean"), _plain, _difference)
    if any(each.latency.count for each in every):
        yield _Row("latency.p50", lambda m: m.latency.p50, _ms, _ratio)
        yield _Row("latency.p95", lambda m: m.latency.p95, _ms, _ratio)
    else:
        yield _Row("tests.duration_ms.p50", lambda m: m.tests.duration_ms.p50, _ms, _ratio)
    yield _Row("reliability.success_rate", lambda m: m.reliability.success_rate, _percent, _points)
    yield _Row("cost.total", lambda m: m.cost.total, _usd, _ratio)
    yield _Row("tokens.total", lambda m: m.tokens.total, _count, _ratio)
    for name in dict.fromkeys(name for each in every for name in each.custom):
        yield _Row(name, _reader(name), _plain, _difference)


def _started(tests: Tests) -> int:
    return tests.trials - tests.missing


def _reader(path: str) -> Callable[[Metrics], float | None]:
    def read(metrics: Metrics) -> float | None:
        return dict(flatten(metrics)).get(path)

    return read


def _decimals(values: list[float]) -> int:
    """Decimals that show three significant digits of the smallest value, the same for a row."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        return 0
    return min(6, max(0, 2 - math.floor(math.log10(min(sizes)))))


def _plain(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _count(value: float, digits: int) -> str:
    return f"{value:,.0f}"


def _ms(value: float, digits: int) -> str:
    return f"{value:,.{digits}f} ms"


def _usd(value: float, digits: int) -> str:
    return f"${value:,.{max(2, digits)}f}"


def _percent(value: float, digits: int = 0) -> str:
    return f"{value:.1%}".replace("%", " %")


def _points(base: float, other: float) -> str:
    return f"{(other - base) * 100:+.1f} pp"


def _difference(base: float, other: float) -> str:
    return f"{other - base:+,.{_decimals([base, other])}f}"


def _ratio(base: float, other: float) -> str:
    if base == other:
        return "±0 %"
    if not base:
        return MISSING_VALUE
    return f"{(other / base - 1) * 100:+,.1f} %"


# --- verdicts and errors ----------------------------------------------------------------------


def _judgements(judgements: tuple[Judgement, ...]) -> Iterator[Line]:
    cells = [
        [each.verdict, each.condition, each.expectation, each.reason or _observed(each)]
        for each in judgements
    ]
    table = tabulate(cells, tablefmt="plain", disable_numparse=True)
    for judgement, line in zip(judgements, table.splitlines(), strict=True):
        yield Line((_INDENT + line).rstrip(), _STYLES[judgement.verdict])
    basis = ", ".join(dict.fromkeys(judgement.basis for judgement in judgements))
    yield Line(f"{_INDENT}judged by {basis}")


def _observed(judgement: Judgement) -> str:
    if judgement.observed is None or judgement.bound is None:
        return MISSING_VALUE
    digits = _decimals([judgement.observed, judgement.bound])
    return f"{judgement.observed:,.{digits}f} against {judgement.bound:,.{digits}f}"


def _errors(experiment: ExperimentResult) -> Iterator[Line]:
    failures: dict[str, int] = {}
    for trial in experiment.trials:
        for attempt in trial.attempts[-1:]:
            if attempt.error:
                failures[attempt.error] = failures.get(attempt.error, 0) + 1
    yield from _top("failed trials", failures)
    yield from _top("failed operations", experiment.errors)


def _top(title: str, counts: Mapping[str, int]) -> Iterator[Line]:
    if not counts:
        return
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = " · ".join(f"{count} × {what}" for what, count in ranked[:_MAX_ERRORS])
    more = f" · {len(ranked) - _MAX_ERRORS} more kinds" if len(ranked) > _MAX_ERRORS else ""
    yield Line(f"{_INDENT}{title}: {shown}{more}")
