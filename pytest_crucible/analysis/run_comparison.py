"""Comparing runs: a baseline artifact against others, experiment by experiment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_crucible._errors import DefinitionError
from pytest_crucible._html import table
from pytest_crucible._text import plural
from pytest_crucible.analysis.analyse import comparison_options
from pytest_crucible.analysis.results import COMPARED, ExperimentResult, Results, comparison_cells
from pytest_crucible.analysis.slices import compare_slices
from pytest_crucible.capture.frames import SCHEMA
from pytest_crucible.metrics.observations import Group
from pytest_crucible.runs.run import RecordedRun
from pytest_crucible.stats.comparison import (
    ADDED,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    REGRESSED,
    REMOVED,
    Comparison,
    Options,
    compare_subjects,
    numbers_of,
)
from pytest_crucible.stats.matching import match
from pytest_crucible.stats.subject import Subject

_FAILING = {"regression": REGRESSED, "missing": REMOVED, "inconclusive": INCONCLUSIVE}
ONLY_BASELINE, ONLY_CANDIDATE = "only in the baseline", "only in the candidate"
FAIL_ON = ("regression", "inconclusive", "missing")
MISSING = "MISSING"

_WORST_FIRST = (REGRESSED, REMOVED, INCONCLUSIVE, ADDED, IMPROVED, EQUIVALENT)


Key = tuple[str, str]
"""experiment, condition"""
Pair = Callable[[Collection[Key], Collection[Key]], Iterable[tuple[Key | None, Key | None]]]
"""From the arms of baseline and candidate to those that are compared; None: only one run has it."""


def arm_name(arm: Key) -> str:
    """``exp`` or ``exp (short)``."""
    experiment, condition = arm
    return experiment if condition == "default" else f"{experiment} ({condition})"


def same_arms(
    before: Collection[Key], after: Collection[Key]
) -> list[tuple[Key | None, Key | None]]:
    """Pair the arms with the same experiment and the same condition."""
    return [
        (arm if arm in before else None, arm if arm in after else None)
        for arm in dict.fromkeys([*before, *after])
    ]


def same_conditions(
    before: Collection[Key], after: Collection[Key]
) -> list[tuple[Key | None, Key | None]]:
    """Pair the arms with the same condition, whatever their experiments are called.

    Raises:
        DefinitionError: several experiments of a run have a condition, or no condition is in both.
    """
    sides = [
        _by_condition(side, arms) for side, arms in (("baseline", before), ("candidate", after))
    ]
    shared = [condition for condition in sides[1] if condition in sides[0]]
    if not shared:
        known = [", ".join(side) or "none" for side in sides]
        raise DefinitionError(
            f"no condition is in both runs: the baseline has {known[0]}, the candidate {known[1]}"
        )
    alone = [(arm, None) for c, arm in sides[0].items() if c not in sides[1]]
    new = [(None, arm) for c, arm in sides[1].items() if c not in sides[0]]
    return [*((sides[0][c], sides[1][c]) for c in shared), *alone, *new]


def _by_condition(side: str, arms: Collection[Key]) -> dict[str, Key]:
    found: dict[str, Key] = {}
    for arm in arms:
        other = found.setdefault(arm[1], arm)
        if other != arm:
            raise DefinitionError(
                f"the {side} has the condition {arm[1]!r} in {other[0]!r} and in {arm[0]!r}: "
                "name the arms to compare, with --arms"
            )
    return found


def these_arms(old: str, new: str) -> Pair:
    """Return a function that pairs two arms, given as ``EXPERIMENT.CONDITION``.

    An experiment with one condition needs no condition.
    """

    def pair(before: Collection[Key], after: Collection[Key]) -> list[tuple[Key, Key]]:
        return [(_named_arm(old, "baseline", before), _named_arm(new, "candidate", after))]

    return pair


def _named_arm(name: str, side: str, arms: Collection[Key]) -> Key:
    exact = [arm for arm in arms if f"{arm[0]}.{arm[1]}" == name]
    found = exact or [arm for arm in arms if arm[0] == name]
    if len(found) == 1:
        return found[0]
    valid = ", ".join(f"{experiment}.{condition}" for experiment, condition in arms)
    problem = "has several arms" if found else "is not in it"
    raise DefinitionError(f"arms of the {side}: {name!r} {problem}; valid: {valid}")


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
        """The worst verdict of its metrics; REMOVED or ADDED if only one run has the arm."""
        if self.reason is not None:
            return REMOVED if self.removed else ADDED
        verdicts = {comparison.verdict for comparison in self.comparisons}
        return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), INCONCLUSIVE)


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
        counts = ((verdict, self.count(verdict)) for verdict in _WORST_FIRST)
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

    def count(self, verdict: str) -> int:
        """Return how many metrics have this verdict."""
        return sum(each.verdict == verdict for arm in self.arms for each in arm.comparisons)

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
            if each.verdict == verdict
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
                if (each.reason or "").startswith("missing in")
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


def compare_runs(
    base: tuple[RecordedRun, Results],
    cand: tuple[RecordedRun, Results],
    adjust: Callable[[Options], Options] = lambda options: options,
    pair: Pair = same_arms,
    by: Sequence[str] = (),
) -> RunComparison:
    """Compare two runs that have been read.

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
    return RunComparison(
        baseline=base[0].id,
        candidate=cand[0].id,
        title=_title(base[0], cand[0]),
        arms=tuple(arms),
        differences=tuple(environment_differences(base, cand)),
        incomplete=tuple(incomplete),
    )


def failing(fail_on: Sequence[str]) -> tuple[str, ...]:
    """Return the verdicts that fail a gate, the worst first."""
    return tuple(verdict for kind, verdict in _FAILING.items() if kind in fail_on)


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
) -> ArmComparison:
    experiment, condition = key = new_key or old_key or ("", "")
    before = None if old_key is None else old_arms[old_key]
    after = None if new_key is None else new_arms[new_key]
    if before is None or after is None:
        present = before or after
        assert present is not None
        return ArmComparison(
            experiment=experiment,
            condition=condition,
            location=_location(present[1]),
            reason=ONLY_BASELINE if after is None else ONLY_CANDIDATE,
        )
    options = adjust(comparison_options(after[0].definition.margin))
    matching = match(before[1], after[1])
    old, new = _subject(before), _subject(after)
    return ArmComparison(
        experiment=experiment,
        condition=condition,
        comparisons=tuple(compare_subjects(old, new, options, matching)),
        matched=len(matching.names),
        moved=matching.moved,
        conflicts=matching.conflicts,
        removed_cases=matching.removed,
        added_cases=matching.added,
        removed_numbers=numbers_of(old, new, matching.removed),
        added_numbers=numbers_of(new, old, matching.added),
        location=_location(after[1]),
        against=None if old_key in (None, key) else arm_name(old_key or key),
        slices={
            new_slices.name: compare_slices(
                old_slices, new_slices, condition, before[1].condition, options
            )
            for new_slices in after[0].slices(by)
            for old_slices in before[0].slices([new_slices.name])
        },
    )


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
