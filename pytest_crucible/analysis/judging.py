"""Judge all experiments of a run together: claims, and the rows between arms.

What can turn one session red is one family (`stats.family`), so nothing can be judged before
everything is known: first all claims and rows are drafted, then each is judged at its level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_crucible._text import did_you_mean
from pytest_crucible.analysis.results import ExperimentResult
from pytest_crucible.analysis.trial_verdicts import not_run, nothing_ran, pass_if, too_many_errors
from pytest_crucible.runs.experiment_definition import Definition
from pytest_crucible.stats.comparison_options import Options, row_of, rows_of
from pytest_crucible.stats.expectations import Claim, claims_of, judge_claim
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.family import Decision
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.row_drafts import Draft, draft_rows


@dataclass(frozen=True, slots=True)
class Drafted:
    """One experiment before its verdicts.

    Attributes:
        result: the experiment, without verdicts and comparisons.
        claims: one per expectation and condition.
        rows: per condition except the baseline, the rows of its comparison with the baseline.
    """

    result: ExperimentResult
    claims: Sequence[Claim]
    rows: Mapping[str, Sequence[Draft]]

    def decisions(self) -> list[Decision]:
        """Return what decides beside the rows: claims on numbers, and claims without a row."""
        baseline = self.result.baseline
        rows = {
            (draft.row.metric, baseline, condition)
            for condition, drafts in self.rows.items()
            for draft in drafts
            if draft.row.primary
        }
        return [
            claim.decision
            for claim in self.claims
            if claim.arms is None or claim.arms.row not in rows
        ]


def judged(
    experiments: Sequence[ExperimentResult],
    others: Iterable[Decision] = (),
    only: Sequence[str] = (),
) -> tuple[ExperimentResult, ...]:
    """Return the experiments with their verdicts and comparisons.

    Args:
        experiments: all experiments of a run; verdicts that they have are worked out again.
        others: what else decides on the same exit code.
        only: the metrics whose claims decide; empty: all.
    """
    drafted = [_drafted(result, only) for result in experiments]
    levels = _levels(drafted, others)
    return tuple(_judged(each, levels) for each in drafted)


def decisions_of(experiments: Sequence[ExperimentResult]) -> list[Decision]:
    """Return what the claims of experiments add to a family, and their rows that decide."""
    drafted = [_drafted(result) for result in experiments]
    rows = (draft for each in drafted for drafts in each.rows.values() for draft in drafts)
    return [
        *(decision for each in drafted for decision in each.decisions()),
        *(draft.decision for draft in rows if draft.row.primary),
    ]


def comparison_options(definition: Definition) -> Options:
    """Return the options of a comparison that an experiment's marker gives."""
    margin = definition.margin
    options = Options(primary=primary_of(definition))
    if margin is None:
        return options
    if isinstance(margin, Mapping):
        return replace(options, margins=margin)
    return replace(options, margin=margin)


def primary_of(definition: Definition) -> tuple[str, ...]:
    """Return the metrics that an experiment's author asks about: ``primary`` and ``expect``."""
    claimed = (parse(text, _arms_in(definition)).metric for text in definition.expect)
    return tuple(dict.fromkeys([*definition.primary, *claimed]))


def unknown_primary(result: ExperimentResult) -> list[str]:
    """Return a sentence for every metric of ``primary=`` that nothing recorded.

    Its row would be missing, and a misspelt name would make a comparison that is always green.
    """
    if not result.trials or nothing_ran(result.trials):
        return []
    groups = list(result.groups.values())
    recorded = dict.fromkeys(name for group in groups for name in (*group.recorded, *group.logged))
    known = dict.fromkeys(metric.path for metric in result.catalog.compared(groups, recorded))
    known.update(dict.fromkeys(name for each in result.metrics.values() for name in each.custom))
    known.update(dict.fromkeys(f"{name}.last" for group in groups for name in group.logged))
    return [
        f"experiment {result.definition.name!r}: primary={name!r} was not recorded; "
        f"{did_you_mean(name, [*known, *recorded])}valid: {', '.join(known)}"
        for name in result.definition.primary
        if not rows_of([name]) & {*known}
    ]


def _arms_in(definition: Definition) -> tuple[str, ...]:
    return definition.conditions or ((definition.condition,) if definition.condition else ())


def _drafted(result: ExperimentResult, only: Sequence[str] = ()) -> Drafted:
    definition = result.definition
    subjects = {condition: result.subject(condition) for condition in result.arms}
    named = tuple(dict.fromkeys([*_arms_in(definition), *result.conditions]))
    options = comparison_options(definition)
    if only:
        options = replace(options, primary=tuple(only))
    claims = [
        claim for text in definition.expect for claim in claims_of(parse(text, named), subjects)
    ]
    if only:
        wanted = rows_of(only)
        claims = [
            claim.aside() if row_of(claim.verdict.metric) not in wanted else claim
            for claim in claims
        ]
    first, *rest = subjects
    rows = {
        condition: draft_rows(subjects[first], subjects[condition], options) for condition in rest
    }
    return Drafted(result, claims, rows)


def _levels(drafted: Sequence[Drafted], others: Iterable[Decision]) -> RowLevels:
    rows = (draft for each in drafted for drafts in each.rows.values() for draft in drafts)
    claims = [decision for each in drafted for decision in each.decisions()]
    return RowLevels.of(rows, [*claims, *others])


def _judged(drafted: Drafted, levels: RowLevels) -> ExperimentResult:
    result, definition = drafted.result, drafted.result.definition
    verdicts = [judge_claim(claim, levels) for claim in drafted.claims]
    if definition.pass_if:
        verdicts += [
            pass_if(definition, result.groups[condition]) for condition in result.conditions
        ]
    if nothing_ran(result.trials):
        verdicts = not_run(verdicts, result.trials)
    excess = too_many_errors(definition, result.conditions, result.trials)
    return replace(
        result,
        verdicts=(*((excess,) if excess else ()), *verdicts),
        comparisons={
            condition: tuple(judge_rows(drafts, levels))
            for condition, drafts in drafted.rows.items()
        },
    )
