"""Comparing runs: a baseline artifact against others, experiment by experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_crucible._html import table
from pytest_crucible._text import plural
from pytest_crucible.analysis.arm_pairs import arm_name
from pytest_crucible.analysis.results import COMPARED, comparison_cells
from pytest_crucible.capture.frames import SCHEMA
from pytest_crucible.stats.change import RATIO
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
from pytest_crucible.stats.geometric_mean import GeometricMean, geometric_mean_ratio

_FAILING = {
    "regression": REGRESSED, "missing": REMOVED, "inconclusive": INCONCLUSIVE, "changed": CHANGED,
}  # fmt: skip
BASELINE, CANDIDATE = "baseline", "candidate"
ONLY_BASELINE, ONLY_CANDIDATE = "only in the baseline", "only in the candidate"
HARMLESS = (UNSEEN, BETTER, TOO_FEW)
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
        drifts: one sentence per arm whose latency drifted, in either run.
    """

    baseline: str
    candidate: str
    title: str
    arms: tuple[ArmComparison, ...]
    differences: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    drifts: tuple[str, ...] = ()

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
        """Whether both runs have an arm in common, with a metric that decides."""
        return any(row.primary for arm in self.arms for row in arm.comparisons)

    def count(self, verdict: str, *, primary: bool = True) -> int:
        """Return how many metrics that decide have this verdict, or how many of the others."""
        return sum(
            each.verdict == verdict and each.primary == primary
            for arm in self.arms
            for each in arm.comparisons
        )

    @property
    def geometric_means(self) -> dict[str, GeometricMean]:
        """The geometric mean of the ratios of every metric that several arms have a ratio of."""
        ratios: dict[str, dict[str, float]] = {}
        for arm in self.arms:
            for each in arm.comparisons:
                if each.scale == RATIO and each.change is not None:
                    ratios.setdefault(each.metric, {})[arm.name] = each.change
        means = {
            metric: geometric_mean_ratio(dict.fromkeys(changes, 1.0), changes)
            for metric, changes in ratios.items()
        }
        return {metric: mean for metric, mean in means.items() if mean is not None and mean.n > 1}

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
                f"{MISSING}: {each}" for each in self.incomplete if each.startswith(CANDIDATE)
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
            "geometric_means": {
                metric: asdict(mean) for metric, mean in self.geometric_means.items()
            },
            "drifts": list(self.drifts),
            "arms": [{**asdict(arm), "verdict": arm.verdict} for arm in self.arms],
        }


def failing(fail_on: Sequence[str]) -> tuple[str, ...]:
    """Return the verdicts that fail a gate, the worst first."""
    kinds = {*fail_on, "regression"} if ANY in fail_on else fail_on
    return tuple(verdict for kind, verdict in _FAILING.items() if kind in kinds)


def fails(row: Comparison, fail_on: Sequence[str]) -> bool:
    """Whether a row fails a gate: it decides, and something speaks against the candidate."""
    return row.primary and row.verdict in failing(fail_on) and row.open not in HARMLESS
