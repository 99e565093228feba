"""Comparing runs: which arms, cases and metrics of a baseline stand beside which of a candidate.

A draft becomes a `RunComparison` when it is known what else decides with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_crucible.analysis.arm_pairs import Key, Pair, arm_name, same_arms
from pytest_crucible.analysis.drifts import Look, looks_between, sentences
from pytest_crucible.analysis.environment import environment_differences
from pytest_crucible.analysis.judging import comparison_options
from pytest_crucible.analysis.results import ExperimentResult, Results
from pytest_crucible.analysis.run_comparison import (
    BASELINE,
    CANDIDATE,
    ONLY_BASELINE,
    ONLY_CANDIDATE,
    ArmComparison,
    RunComparison,
)
from pytest_crucible.analysis.slices import SliceDrafts, draft_slices
from pytest_crucible.metrics.observations import Group
from pytest_crucible.runs.run import RecordedRun
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.family import Decision
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.matching import match
from pytest_crucible.stats.row_drafts import Draft, draft_rows, numbers_of
from pytest_crucible.stats.subject import Subject


@dataclass(frozen=True, slots=True)
class ArmDraft:
    """An arm comparison before its rows are judged.

    Attributes:
        arm: the comparison, without rows.
        rows: its rows.
        slices: the rows of its slices, by what they are sliced by, with the number of slices.
        looks: where drift of latency was looked for.
    """

    arm: ArmComparison
    rows: Sequence[Draft] = ()
    slices: Mapping[str, SliceDrafts] = field(default_factory=dict)
    looks: Sequence[Look] = ()

    def judged(self, levels: RowLevels) -> ArmComparison:
        """Return the comparison with its rows."""
        return replace(
            self.arm,
            comparisons=tuple(judge_rows(self.rows, levels)),
            slices={name: drafts.judged(levels) for name, drafts in self.slices.items()},
        )


@dataclass(frozen=True, slots=True)
class RunDraft:
    """A comparison of two runs before anything is judged."""

    comparison: RunComparison
    arms: Sequence[ArmDraft]

    @property
    def rows(self) -> list[Draft]:
        """The rows of all arms."""
        return [row for arm in self.arms for row in arm.rows]

    @property
    def decisions(self) -> list[Decision]:
        """What it adds to a family."""
        return [row.decision for row in self.rows if row.row.primary]


def judge_drafts(
    drafts: Sequence[RunDraft], others: Sequence[Decision] = ()
) -> list[RunComparison]:
    """Judge comparisons that decide on one exit code, as one family.

    Args:
        drafts: the comparisons.
        others: what else decides.
    """
    levels = RowLevels.of((row for draft in drafts for row in draft.rows), others)
    return [
        replace(
            draft.comparison,
            arms=tuple(arm.judged(levels) for arm in draft.arms),
            drifts=sentences([look for arm in draft.arms for look in arm.looks]),
        )
        for draft in drafts
    ]


def draft_runs(
    base: tuple[RecordedRun, Results],
    cand: tuple[RecordedRun, Results],
    adjust: Callable[[Options], Options] = lambda options: options,
    pair: Pair = same_arms,
    by: Sequence[str] = (),
) -> RunDraft:
    """Draft the comparison of two runs that have been read.

    Args:
        base: the baseline, and its results.
        cand: the candidate, and its results; the very same object, if arms of one run are compared.
        adjust: takes the options of the candidate's marker, returns those to use.
        pair: which arms are compared with which.
        by: properties of cases by which the arms are compared, too.

    Raises:
        DefinitionError: ``pair`` finds no arms that it could compare, or neither run has one of
            ``by`` on record.
    """
    within = base is cand
    before, after = _arms(base[1]), _arms(cand[1])
    arms = [_compare_arm(old, new, before, after, adjust, by) for old, new in pair(before, after)]
    incomplete = [
        f"{which}: {reason}"
        for which, (_, results) in ((BASELINE, base), (CANDIDATE, cand))
        if which == CANDIDATE or not within
        for reason in results.incomplete
    ]
    comparison = RunComparison(
        baseline=base[0].id,
        candidate=cand[0].id,
        title=f"arms of {_named(cand[0])}" if within else _title(base[0], cand[0]),
        arms=(),
        differences=() if within else tuple(environment_differences(base, cand)),
        incomplete=tuple(incomplete),
    )
    return RunDraft(comparison, arms)


def _title(base: RecordedRun, cand: RecordedRun) -> str:
    if base.id == cand.id:
        return f"{_named(cand)} against itself"
    return f"{_named(cand)} against {_named(base)}"


def _named(run: RecordedRun) -> str:
    git = (run.manifest or {}).get("git") or {}
    return f"{run.id} ({str(git['commit'])[:10]})" if git.get("commit") else run.id


_Arm = tuple[ExperimentResult, Group]


def _arms(results: Results) -> dict[tuple[str, str], _Arm]:
    return {
        (experiment.definition.name, condition): (experiment, experiment.groups[condition])
        for experiment in results.experiments
        for condition in experiment.conditions
    }


def _compare_arm(
    old_key: Key | None,
    new_key: Key | None,
    old_arms: Mapping[Key, _Arm],
    new_arms: Mapping[Key, _Arm],
    adjust: Callable[[Options], Options],
    by: Sequence[str],
) -> ArmDraft:
    experiment, condition = new_key or old_key or ("", "")
    before = None if old_key is None else old_arms[old_key]
    after = None if new_key is None else new_arms[new_key]
    if before is None or after is None:
        present = before or after
        assert present is not None
        return ArmDraft(
            ArmComparison(
                experiment=experiment,
                condition=condition,
                location=_location(present[1]),
                reason=ONLY_BASELINE if after is None else ONLY_CANDIDATE,
            )
        )
    return draft_arms(before, after, adjust, by)


def draft_arms(
    before: _Arm,
    after: _Arm,
    adjust: Callable[[Options], Options] = lambda options: options,
    by: Sequence[str] = (),
) -> ArmDraft:
    """Draft the comparison of two arms, which may have other names; it bears the candidate's.

    Args:
        before, after: baseline and candidate: the result of the experiment, and the observations of
            one of its conditions.
        adjust: takes the options of the candidate's marker, returns those to use.
        by: properties of cases by which they are compared, too.
    """
    old_key, new_key = ((side[0].definition.name, side[1].condition) for side in (before, after))
    options = adjust(comparison_options(after[0].definition))
    matching = match(before[1], after[1])
    old, new = _subject(before), _subject(after)
    arm = ArmComparison(
        experiment=new_key[0],
        condition=new_key[1],
        matched=len(matching.names),
        moved=matching.moved,
        conflicts=matching.conflicts,
        removed_cases=matching.removed,
        added_cases=matching.added,
        removed_numbers=numbers_of(old, new, matching.removed),
        added_numbers=numbers_of(new, old, matching.added),
        location=_location(after[1]),
        against=None if old_key == new_key else arm_name(old_key),
    )
    slices = {
        new_slices.name: draft_slices(old_slices, new_slices, new_key[1], old_key[1], options)
        for new_slices in after[0].slices(by)
        for old_slices in before[0].slices([new_slices.name])
    }
    looks = tuple(looks_between(arm.name, before[1], after[1], matching))
    return ArmDraft(arm, draft_rows(old, new, options, matching), slices, looks)


def _subject(arm: _Arm) -> Subject:
    result, group = arm
    return result.subject(group.condition)


def _location(group: Group) -> tuple[str, int] | None:
    return next((trial.location for trial in group.trials if trial.location), None)
