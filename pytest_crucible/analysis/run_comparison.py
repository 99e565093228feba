"""Comparing runs: a baseline artifact against others, experiment by experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pytest_crucible._html import table
from pytest_crucible._text import plural
from pytest_crucible.analysis.analyse import comparison_options
from pytest_crucible.analysis.results import COMPARED, ExperimentResult, Results, comparison_cells
from pytest_crucible.capture.frames import SCHEMA
from pytest_crucible.metrics.observations import Group
from pytest_crucible.runs.run import RecordedRun
from pytest_crucible.stats.comparison import (
    ADDED,
    CHANGED,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    NO_INTERVAL,
    REGRESSED,
    REMOVED,
    Comparison,
    Options,
    compare_subjects,
)
from pytest_crucible.stats.subject import Subject

_FAILING = {
    "regression": REGRESSED, "missing": REMOVED, "inconclusive": INCONCLUSIVE, "changed": CHANGED,
}  # fmt: skip
ONLY_BASELINE, ONLY_CANDIDATE = "only in the baseline", "only in the candidate"
FAIL_ON = ("regression", "inconclusive", "missing", "changed")
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
        removed_cases, added_cases: cases only in the baseline, and only in the candidate.
        location: file and line of the first test; None if unknown.
        reason: why the arm could not be compared: only one run has it. None if both have it.
    """

    experiment: str
    condition: str
    comparisons: tuple[Comparison, ...] = ()
    matched: int = 0
    removed_cases: tuple[str, ...] = ()
    added_cases: tuple[str, ...] = ()
    location: tuple[str, int] | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        return (
            self.experiment
            if self.condition == "default"
            else (f"{self.experiment} ({self.condition})")
        )

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
) -> RunComparison:
    """Compare two runs that have been read.

    Args:
        base: the baseline, and its results.
        cand: the candidate, and its results.
        adjust: takes the options of the candidate's marker, returns those to use.
    """
    before, after = _arms(base[1]), _arms(cand[1])
    arms = [
        _compare_arm(key, before.get(key), after.get(key), adjust)
        for key in dict.fromkeys([*before, *after])
    ]
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
    key: tuple[str, str],
    before: _Arm | None,
    after: _Arm | None,
    adjust: Callable[[Options], Options],
) -> ArmComparison:
    experiment, condition = key
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
    old, new = _cases(before[1]), _cases(after[1])
    return ArmComparison(
        experiment=experiment,
        condition=condition,
        comparisons=tuple(compare_subjects(_subject(before), _subject(after), options)),
        matched=len(old & new),
        removed_cases=tuple(sorted(old - new)),
        added_cases=tuple(sorted(new - old)),
        location=_location(after[1]),
    )


def _subject(arm: _Arm) -> Subject:
    result, group = arm
    return result.subject(group.condition)


def _cases(group: Group) -> set[str]:
    return {*group.cases, *(trial.case for trial in group.trials)}


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
