"""Comparing runs: a baseline artifact against others, experiment by experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_crucible._html import table
from pytest_crucible._text import plural
from pytest_crucible.analysis.arm_pairs import Key, Pair, arm_name, same_arms
from pytest_crucible.analysis.judging import comparison_options
from pytest_crucible.analysis.results import COMPARED, ExperimentResult, Results, comparison_cells
from pytest_crucible.analysis.slices import SliceDrafts, draft_slices
from pytest_crucible.capture.frames import SCHEMA
from pytest_crucible.metrics.observations import Group
from pytest_crucible.runs.run import RecordedRun
from pytest_crucible.stats.comparison import (
    ADDED,
    BETTER,
    CHANGED,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    NO_INTERVAL,
    REGRESSED,
    REMOVED,
    TOO_FEW,
    UNSEEN,
    Comparison,
)
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.family import Decision
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.matching import match
from pytest_crucible.stats.row_drafts import Draft, draft_rows, numbers_of
from pytest_crucible.stats.subject import Subject

_FAILING = {
    "regression": REGRESSED, "missing": REMOVED, "inconclusive": INCONCLUSIVE, "changed": CHANGED,
}  # fmt: skip
ONLY_BASELINE, ONLY_CANDIDATE = "only in the baseline", "only in the candidate"
_HARMLESS = (UNSEEN, BETTER, TOO_FEW)
"""Of INCONCLUSIVE: nothing speaks against the candidate. Two recordings of one commit are this."""
ANY = "any"
"""For ``--fail-on``: regressions of any metric fail, not only of those that decide."""
FAIL_ON = ("regression", "inconclusive", "missing", "changed", ANY)
MISSING = "MISSING"

WORST_FIRST = (
    REGRESSED, REMOVED, INCONCLUSIVE, CHANGED, IMPROVED, EQUIVALENT, ADDED, NO_INTERVAL,
)  # fmt: skip
"""All verdicts on a metric; the first of those that occur is the verdict on the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmComparison:
    """One condition of one experiment, baseline against candidate.

    Attributes:
        comparisons: one per metric.
        matched: number of cases that both runs have.
        moved: how many of them have another id than before, and were matched by their content.
        conflicts: ids that stand for different content in the two runs; they are not compared.
        removed_cases, added_cases: cases only in the baseline, and only in the candidate.
        removed_numbers, added_numbers: value and unit of every metric, of these cases alone.
        location: file and line of the first test; None if unknown.
        reason: why the arm could not be compared: only one run has it. None if both have it.
        against: name of the baseline's arm, if it is another one.
        slices: comparisons of the slices of the cases, by what they are sliced by. They decide
            nothing: the verdict is that of the whole.
    """

    experiment: str
    condition: str
    comparisons: tuple[Comparison, ...] = ()
    matched: int = 0
    moved: int = 0
    conflicts: tuple[str, ...] = ()
    removed_cases: tuple[str, ...] = ()
    added_cases: tuple[str, ...] = ()
    removed_numbers: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    added_numbers: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    location: tuple[str, int] | None = None
    reason: str | None = None
    against: str | None = None
    slices: Mapping[str, tuple[Comparison, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The experiment, and its condition if it has several; what it is compared with."""
        own = arm_name((self.experiment, self.condition))
        return own if self.against is None else f"{own} against {self.against}"

    @property
    def removed(self) -> bool:
        """Whether the candidate no longer has this arm."""
        return self.reason == ONLY_BASELINE

    @property
    def verdict(self) -> str:
        """The worst verdict of the metrics that decide; REMOVED or ADDED if one run lacks it."""
        if self.reason is not None:
            return REMOVED if self.removed else ADDED
        verdicts = {each.verdict for each in self.comparisons if each.primary}
        return next((verdict for verdict in WORST_FIRST if verdict in verdicts), INCONCLUSIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """The comparison of two runs.

    Attributes:
        baseline, candidate: ids of the runs.
        title: both ids, with commits if the manifests have them.
        arms: one per experiment and condition of either run.
        differences: how machines, versions and code of the two runs differ.
        incomplete: why a record is incomplete, one sentence per reason.
    """

    baseline: str
    candidate: str
    title: str
    arms: tuple[ArmComparison, ...]
    differences: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()

    def __repr__(self) -> str:
        counts = ((verdict, self.count(verdict)) for verdict in WORST_FIRST)
        shown = ", ".join(f"{count} {verdict}" for verdict, count in counts if count)
        return f"<comparison of {self.title}: {shown or 'nothing to compare'}>"

    def _repr_html_(self) -> str:
        rows = (
            (arm.name, *comparison_cells(each)) for arm in self.arms for each in arm.comparisons
        )
        alone = [(arm.name, arm.reason) for arm in self.arms if arm.reason is not None]
        compared = table(self.title, ("experiment", *COMPARED), rows)
        return compared + (table("on one side only", (), alone) if alone else "")

    @property
    def comparable(self) -> bool:
        """Whether both runs have an arm in common, with a metric."""
        return any(arm.reason is None and arm.comparisons for arm in self.arms)

    def count(self, verdict: str, *, primary: bool = True) -> int:
        """Return how many metrics that decide have this verdict, or how many of the others."""
        return sum(
            each.verdict == verdict and each.primary == primary
            for arm in self.arms
            for each in arm.comparisons
        )

    def failures(self, fail_on: Sequence[str]) -> list[str]:
        """Return why a gate fails, one sentence per reason; empty if it passes.

        Args:
            fail_on: some of `FAIL_ON`.
        """
        reasons = [
            f"{verdict}: {each.metric} of {arm.name}"
            for verdict in failing(fail_on)
            for arm in self.arms
            for each in arm.comparisons
            if each.verdict == verdict and fails(each, fail_on)
        ]
        if "missing" in fail_on:
            reasons += [f"{REMOVED}: {arm.name}" for arm in self.arms if arm.removed]
            reasons += [
                f"{REMOVED}: {plural(len(arm.removed_cases), 'case')} of {arm.name}"
                for arm in self.arms
                if arm.removed_cases
            ]
            reasons += [
                f"{MISSING}: {each.metric} of {arm.name}, {each.reason}"
                for arm in self.arms
                for each in arm.comparisons
                if each.primary and (each.reason or "").startswith("missing in")
            ]
            reasons += [
                f"{MISSING}: {each}" for each in self.incomplete if each.startswith(_CANDIDATE)
            ]
        return reasons

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as a dictionary, for ``--json``."""
        return {
            "schema": SCHEMA,
            "baseline": self.baseline,
            "candidate": self.candidate,
            "comparable": self.comparable,
            "differences": list(self.differences),
            "incomplete": list(self.incomplete),
            "arms": [{**asdict(arm), "verdict": arm.verdict} for arm in self.arms],
        }


@dataclass(frozen=True, slots=True)
class ArmDraft:
    """An arm comparison before its rows are judged.

    Attributes:
        arm: the comparison, without rows.
        rows: its rows.
        slices: the rows of its slices, by what they are sliced by, with the number of slices.
    """

    arm: ArmComparison
    rows: Sequence[Draft] = ()
    slices: Mapping[str, SliceDrafts] = field(default_factory=dict)

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
        replace(draft.comparison, arms=tuple(arm.judged(levels) for arm in draft.arms))
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
        cand: the candidate, and its results.
        adjust: takes the options of the candidate's marker, returns those to use.
        pair: which arms are compared with which.
        by: properties of cases by which the arms are compared, too.

    Raises:
        DefinitionError: ``pair`` finds no arms that it could compare, or neither run has one of
            ``by`` on record.
    """
    before, after = _arms(base[1]), _arms(cand[1])
    arms = [_compare_arm(old, new, before, after, adjust, by) for old, new in pair(before, after)]
    incomplete = [
        f"{which}: {reason}"
        for which, (_, results) in ((_BASELINE, base), (_CANDIDATE, cand))
        for reason in results.incomplete
    ]
    comparison = RunComparison(
        baseline=base[0].id,
        candidate=cand[0].id,
        title=_title(base[0], cand[0]),
        arms=(),
        differences=tuple(environment_differences(base, cand)),
        incomplete=tuple(incomplete),
    )
    return RunDraft(comparison, arms)


def compare_runs(
    base: tuple[RecordedRun, Results],
    cand: tuple[RecordedRun, Results],
    adjust: Callable[[Options], Options] = lambda options: options,
) -> RunComparison:
    """Compare two runs, if nothing else is decided with them; arguments as for `draft_runs`."""
    return judge_drafts([draft_runs(base, cand, adjust)])[0]


def failing(fail_on: Sequence[str]) -> tuple[str, ...]:
    """Return the verdicts that fail a gate, the worst first."""
    kinds = {*fail_on, "regression"} if ANY in fail_on else fail_on
    return tuple(verdict for kind, verdict in _FAILING.items() if kind in kinds)


def fails(row: Comparison, fail_on: Sequence[str]) -> bool:
    """Whether a row fails a gate: it decides, and something speaks against the candidate."""
    return row.primary and row.verdict in failing(fail_on) and row.open not in _HARMLESS


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
    return ArmDraft(arm, draft_rows(old, new, options, matching), slices)


def _subject(arm: _Arm) -> Subject:
    result, group = arm
    return result.subject(group.condition)


def _location(group: Group) -> tuple[str, int] | None:
    return next((trial.location for trial in group.trials if trial.location), None)


# --- is it fair to compare them? --------------------------------------------------------------


_ASPECTS = ("machine", "cpu_count", "platform", "python", "implementation")
_MAX_PACKAGES = 8
_BASELINE, _CANDIDATE = "baseline", "candidate"


def environment_differences(
    base: tuple[RecordedRun, Results], cand: tuple[RecordedRun, Results]
) -> list[str]:
    """Return how the environments of two runs differ, one line per difference."""
    old, new = base[0].manifest or {}, cand[0].manifest or {}
    differences = []
    if not old or not new:
        sides = [side for side, manifest in ((_BASELINE, old), (_CANDIDATE, new)) if not manifest]
        differences.append(f"environment of the {' and the '.join(sides)} unknown: no manifest")
    differences += [
        f"{aspect}: {old[aspect]} → {new[aspect]}"
        for aspect in _ASPECTS
        if old.get(aspect) != new.get(aspect) and old.get(aspect) and new.get(aspect)
    ]
    differences += _package_differences(old.get("packages") or {}, new.get("packages") or {})
    before, after = _models(base[1]), _models(cand[1])
    if before != after:
        change = f"{', '.join(before) or 'none'} → {', '.join(after) or 'none'}"
        differences.append(f"models: {change}")
    for side, manifest in ((_BASELINE, old), (_CANDIDATE, new)):
        git = manifest.get("git") or {}
        if git.get("dirty"):
            commit = str(git.get("commit"))[:10]
            differences.append(f"{side}: recorded from a dirty tree at {commit}")
    return differences


def _package_differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    changed = [
        f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if not old or not new or not changed:
        return []
    more = f" and {len(changed) - _MAX_PACKAGES} more" if len(changed) > _MAX_PACKAGES else ""
    return [f"packages: {', '.join(changed[:_MAX_PACKAGES])}{more}"]


def _models(results: Results) -> list[str]:
    return sorted(
        {
            model
            for experiment in results.experiments
            for group in experiment.groups.values()
            for model in group.models
        }
    )
