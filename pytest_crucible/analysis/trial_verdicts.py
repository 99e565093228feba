"""Verdicts on trials themselves: too many errors, nothing run, ``pass_if``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pytest_crucible._text import one_line, plural
from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.trials import ERRORS, MISSING, SKIPPED, UNFINISHED, Trial
from pytest_crucible.runs.experiment_definition import MAX_ERRORS, Definition
from pytest_crucible.stats.passing import failing_cases, parse_pass_if
from pytest_crucible.stats.verdict import (
    CONFIRMED,
    ERRORED,
    NOT_RUN,
    REJECTED,
    Verdict,
)

_FACT = "a fact about this run"


def nothing_ran(trials: Sequence[Trial]) -> bool:
    """Whether there are trials, but none of them ran."""
    return bool(trials) and all(trial.outcome in (MISSING, SKIPPED) for trial in trials)


def not_run(verdicts: Sequence[Verdict], trials: Sequence[Trial]) -> list[Verdict]:
    """Return the verdicts of an experiment of which nothing ran: none is more than NOT RUN."""
    skipped = sum(trial.outcome == SKIPPED for trial in trials)
    counts = {"skipped": skipped, "never ran": len(trials) - skipped}
    how = ", ".join(f"{plural(n, 'trial')} {what}" for what, n in counts.items() if n)
    return [
        replace(
            verdict, verdict=NOT_RUN, observed=None, low=None, high=None, reason=how, basis=_FACT,
        )
        for verdict in verdicts
    ]  # fmt: skip


def too_many_errors(
    definition: Definition, conditions: Sequence[str], trials: Sequence[Trial]
) -> Verdict | None:
    """Return the verdict on an experiment with more errors than it may have, else None.

    Args:
        definition: with ``max_errors``; without it, `MAX_ERRORS` counts.
        conditions: the conditions of the experiment.
        trials: its trials, over all conditions.
    """
    limit = MAX_ERRORS if definition.max_errors is None else definition.max_errors
    ran = sum(trial.ran for trial in trials)
    errors = [trial for trial in trials if trial.outcome in ERRORS]
    if not errors or len(errors) / ran <= limit:
        return None
    return Verdict(
        expectation=f"max_errors {limit * 100:.4g}%",
        condition=conditions[0] if len(conditions) == 1 else "all",
        metric="errors",
        unit="%",
        verdict=ERRORED,
        observed=len(errors) / ran,
        bound=limit,
        basis=_FACT,
        reason=f"{len(errors)} of {plural(ran, 'trial')} {_verb(errors)}: {_most_frequent(errors)}",
    )


def _verb(errors: Sequence[Trial]) -> str:
    crashed = sum(trial.outcome == UNFINISHED for trial in errors)
    if not crashed:
        return "errored"
    return "crashed" if crashed == len(errors) else "errored or crashed"


def _most_frequent(errors: Sequence[Trial]) -> str:
    """``12 × ConnectionError at app.py:7``, and how many other errors there are."""
    texts = Counter(trial.attempts[-1].error or "it began and never ended" for trial in errors)
    text, count = min(texts.items(), key=lambda item: (-item[1], item[0]))
    others = len(errors) - count
    return f"{count} × {one_line(text)}" + (f", and {plural(others, 'other')}" if others else "")


def pass_if(definition: Definition, group: Group) -> Verdict:
    """Judge ``pass_if`` for one condition: do enough trials of every case pass?

    A case whose trials were all skipped does not count.
    """
    assert definition.pass_if is not None
    needed = parse_pass_if(definition.pass_if, definition.trials)
    ran = [trial for trial in group.trials if trial.outcome != SKIPPED]
    cases = dict.fromkeys(trial.case for trial in ran)
    failing = failing_cases(ran, needed)
    open_cases = [trial.case for trial in ran if trial.outcome == MISSING]
    passed = len(cases) - len(set(failing) | set(open_cases))
    reason = None
    if not cases:
        reason = "no case ran"
    elif failing or open_cases:
        reason = f"{passed} of {len(cases)} cases pass; not: {(failing + open_cases)[0]}"
    return Verdict(
        expectation=f"pass_if {definition.pass_if}",
        condition=group.condition,
        metric="pass_if",
        unit="%",
        verdict=REJECTED if reason else CONFIRMED,
        observed=passed / len(cases) if cases else None,
        bound=1.0,
        basis=_FACT,
        reason=reason,
    )
