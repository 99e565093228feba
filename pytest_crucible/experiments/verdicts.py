"""Verdicts outside pytest: `compare` and `judge`, for handles, ids and recorded runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pytest_crucible._errors import DefinitionError
from pytest_crucible._html import table
from pytest_crucible._text import plural
from pytest_crucible.analysis.results import Arm
from pytest_crucible.analysis.run import Run
from pytest_crucible.analysis.run_comparison import WORST_FIRST, ArmComparison, RunComparison
from pytest_crucible.analysis.run_drafts import RunDraft, draft_arms, draft_runs, judge_drafts
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.library import get
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.report.compare_text import render_comparison
from pytest_crucible.report.lines import Line
from pytest_crucible.report.verdict_rows import (
    change_cells,
    change_header,
    verdict_lines,
    verdict_text,
)
from pytest_crucible.runs.experiment_definition import check_margin
from pytest_crucible.stats.comparison import Comparison
from pytest_crucible.stats.comparison_options import Options, unknown_metric
from pytest_crucible.stats.expectations import claims_of, judge_claims
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.verdict import CONFIRMED, INCONCLUSIVE, REJECTED, Verdict

Source = Experiment | Run | Arm | str
"""What `compare` and `judge` take: a handle or its id, a recorded run, or one arm of it."""


@dataclass(frozen=True, slots=True, repr=False)
class Comparisons:
    """What `compare` found. ``print`` and notebooks show it as ``crucible compare`` does.

    Iterating gives one `Comparison` per metric: of the first candidate, then of the next one.

    Attributes:
        runs: one comparison with the baseline per candidate; each has ``arms`` with their rows.
    """

    runs: tuple[RunComparison, ...]

    @property
    def arms(self) -> tuple[ArmComparison, ...]:
        """The arms that were compared, with matched cases and the rows of each."""
        return tuple(arm for run in self.runs for arm in run.arms)

    def __iter__(self) -> Iterator[Comparison]:
        return (row for arm in self.arms for row in arm.comparisons)

    def __len__(self) -> int:
        return sum(len(arm.comparisons) for arm in self.arms)

    @property
    def verdict(self) -> str:
        """The worst verdict of all arms, INCONCLUSIVE if there is nothing to compare."""
        found = {arm.verdict for arm in self.arms}
        return next((verdict for verdict in WORST_FIRST if verdict in found), INCONCLUSIVE)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON: what ``crucible compare --json`` writes of each."""
        return {"comparisons": [run.to_dict() for run in self.runs]}

    def __repr__(self) -> str:
        counts = ((verdict, sum(r.count(verdict) for r in self.runs)) for verdict in WORST_FIRST)
        shown = ", ".join(f"{count} {verdict}" for verdict, count in counts if count)
        titles = "; ".join(run.title for run in self.runs)
        return f"<comparison of {titles}: {shown or 'nothing to compare'}>"

    def __str__(self) -> str:
        return _text(line for run in self.runs for line in [*render_comparison(run), Line("")])

    def _repr_html_(self) -> str:
        return "".join(_html_of(run) for run in self.runs)


def _html_of(run: RunComparison) -> str:
    tables = []
    for arm in run.arms:
        facts = [run.title, arm.name] if len(run.arms) > 1 else [run.title]
        if arm.matched:
            facts.append(plural(arm.matched, "matched case"))
        alone = [(arm.verdict, arm.reason)] if arm.reason is not None else []
        rows = [*map(change_cells, arm.comparisons), *alone]
        columns = () if alone else change_header()
        tables.append(table(" · ".join(facts), columns, rows, "llrrrrrrl"))
    return "".join(tables)


@dataclass(frozen=True, slots=True, repr=False)
class Verdicts:
    """What `judge` found: one `Verdict` per expectation and condition; ``print`` shows a table.

    Attributes:
        all: the verdicts, which iterating gives, too.
    """

    all: tuple[Verdict, ...]

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, index: int) -> Verdict:
        return self.all[index]

    @property
    def verdict(self) -> str:
        """The worst of all: REJECTED, INCONCLUSIVE or CONFIRMED."""
        found = {each.verdict for each in self.all}
        return next(worst for worst in (REJECTED, INCONCLUSIVE, CONFIRMED) if worst in found)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return {"verdict": self.verdict, "verdicts": [asdict(each) for each in self.all]}

    def __repr__(self) -> str:
        return f"<{plural(len(self), 'verdict')}: {self.verdict}>"

    def __str__(self) -> str:
        return _text(verdict_lines(self.all, ""))

    def _repr_html_(self) -> str:
        rows = ((v.verdict, v.condition, v.expectation, verdict_text(v)) for v in self.all)
        return table(self.verdict, ("", "condition", "expectation", "is"), rows)


def _text(lines: Iterable[Line]) -> str:
    return "\n".join(line.text for line in lines).rstrip()


def compare(
    baseline: Source,
    *candidates: Source,
    margin: float | Mapping[str, float] | None = None,
    metric: str | Sequence[str] = (),
) -> Comparisons:
    """Compare experiments with a baseline: each metric's change, its interval, p and verdict.

    ``print(crucible.compare(short, long))`` prints what ``crucible compare`` would. Cases that both
    sides have are compared in pairs; without cases, every event is an observation.

    Args:
        baseline, candidates: handles, their ids, runs (`open_run`), or arms of runs
            (``run.arm("prompt", "short")``). Two that hold one arm each are compared whatever their
            names are. Else arms of one name and condition are compared.
        margin: the largest change that does not matter, as the marker's: relative to the baseline
            (rates: the difference itself), one number, or one per metric. Default: that of the
            candidate's marker, else 0.05.
        metric: the metric that decides, beside the success rate, or several: ``"score"``. The
            others are shown. Default: what the candidate's marker names, else success_rate,
            latency, cost and what was measured.

    Raises:
        DefinitionError: there is no candidate, the margin makes no sense, no row is about a metric,
            or something cannot be compared: `Metrics` have no observations.
        LookupError: there is no such experiment, or two runs have no arm in common.
        ArtifactError: a run cannot be read.
    """
    if not candidates:
        raise DefinitionError("compare takes a baseline and at least one other: compare(a, b)")
    check_margin(margin)
    names = _names_of(metric)
    base, *others = (_Side.of("compare", source) for source in (baseline, *candidates))
    drafts = [_draft(base, other, margin, names) for other in others]
    rows = dict.fromkeys(row.row.metric for draft in drafts for row in draft.rows)
    unknown = unknown_metric(names, rows)
    if unknown:
        raise DefinitionError(f"compare(metric=…): {unknown}")
    return Comparisons(tuple(judge_drafts(drafts)))


def _names_of(metric: object) -> tuple[str, ...]:
    names = (metric,) if isinstance(metric, str) else metric
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise DefinitionError(
            f"compare(metric={metric!r:.80}): it takes the name of a metric, or a list of names"
        )
    return tuple(names)


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a comparison.

    Attributes:
        arms: its arms, at least one.
        run: the recorded run; None for a handle or an arm.
    """

    arms: Sequence[Arm]
    run: Run | None = None

    @classmethod
    def of(cls, caller: str, source: object) -> _Side:
        if isinstance(source, Arm):
            return cls([source])
        if isinstance(source, Run):
            arms = source.arms()
            if not arms:
                raise LookupError(f"run {source.id} has no experiment")
            return cls(arms, source)
        if not isinstance(source, (Experiment, str)):
            hint = "; they have no observations: pass the handle, or run.arm(…)"
            raise DefinitionError(
                f"{caller} takes handles, ids, runs and arms of runs, not {source!r:.80}"
                f"{hint if isinstance(source, Metrics) else ''}"
            )
        handle = get(source)
        result = handle.everything.result(handle.definition)
        return cls([Arm(handle.id, result, handle.condition)])


def arm_of(caller: str, source: object) -> Arm:
    """Return the arm that a source holds.

    Raises:
        DefinitionError: it is no handle, id, run or arm.
        LookupError: there is no such experiment, or a run holds several arms.
    """
    arms = _Side.of(caller, source).arms
    if len(arms) > 1:
        valid = ", ".join(f"({arm.experiment!r}, {arm.condition!r})" for arm in arms)
        raise LookupError(f"{caller}: the run has several arms ({valid}); choose with run.arm(…)")
    return arms[0]


def _draft(
    base: _Side,
    other: _Side,
    margin: float | Mapping[str, float] | None,
    names: tuple[str, ...],
) -> RunDraft:
    def adjust(options: Options) -> Options:
        options = replace(options, primary=names or options.primary)
        if margin is None:
            return options
        if isinstance(margin, Mapping):
            return replace(options, margins={**(options.margins or {}), **margin})
        return replace(options, margin=margin, margins=None)

    before = {(arm.experiment, arm.condition): arm for arm in base.arms}
    after = {(arm.experiment, arm.condition): arm for arm in other.arms}
    pairs = [(before[key], after[key]) for key in before if key in after]
    if pairs and base.run is not None and other.run is not None:
        return draft_runs((base.run, base.run.results()), (other.run, other.run.results()), adjust)
    if len(before) == len(after) == 1:
        pairs = [(base.arms[0], other.arms[0])]
    if not pairs:
        raise LookupError(
            f"nothing to compare: {_names(base)} and {_names(other)} have no experiment and "
            "condition in common; choose one of each: run.arm(experiment, condition)"
        )
    comparison = RunComparison(
        baseline=base.arms[0].run,
        candidate=other.arms[0].run,
        title=_title(base, other),
        arms=(),
    )
    arms = [
        draft_arms((old.result, old.group), (new.result, new.group), adjust) for old, new in pairs
    ]
    return RunDraft(comparison, arms)


def _names(side: _Side) -> str:
    return ", ".join(f"({arm.experiment!r}, {arm.condition!r})" for arm in side.arms)


def _title(base: _Side, other: _Side) -> str:
    """``prompt (long) against prompt (short)``; with ids if only they differ."""
    names = [_named(side) for side in (base, other)]
    if names[0] == names[1]:
        names = [
            f"{name} of {side.arms[0].run}" for name, side in zip(names, (base, other), strict=True)
        ]
    return f"{names[1]} against {names[0]}"


def _named(side: _Side) -> str:
    if len(side.arms) > 1:
        return side.arms[0].run
    (arm,) = side.arms
    return arm.experiment if arm.condition == "default" else f"{arm.experiment} ({arm.condition})"


def judge(experiments: Source | Sequence[Source], *expectations: str) -> Verdicts:
    """Judge expectations of an experiment, as the marker's ``expect`` would: by confidence bounds.

    ``print(crucible.judge(exp, "score.mean > 0.8", "cost.total < 2"))``. Several handles, ids or
    arms are conditions of one experiment: ``judge([long, short], "short.latency.p95 < long")``.

    Args:
        experiments: what `compare` takes, or a list of such. A run must hold one experiment.
        expectations: at least one; see docs/statistics.md.

    Raises:
        ExpectationError: an expectation cannot be parsed, or names an unknown condition.
        DefinitionError: there is no expectation, or two of the experiments have one condition.
        LookupError: there is no such experiment, or a run has several.
        ArtifactError: a run cannot be read.
    """
    if not expectations:
        raise DefinitionError('judge takes expectations: judge(exp, "score.mean > 0.8")')
    for text in expectations:
        if not isinstance(text, str):
            raise DefinitionError(f"judge takes expectations as texts, not {text!r:.80}")
    given: object = experiments
    sources = given if isinstance(given, (list, tuple)) else [given]
    if not sources:
        raise DefinitionError("judge takes at least one experiment")
    arms: dict[str, Arm] = {}
    for source in sources:
        side = _Side.of("judge", source)
        names = dict.fromkeys(arm.experiment for arm in side.arms)
        if len(names) > 1:
            valid = ", ".join(map(repr, names))
            raise LookupError(
                f"judge: the run has several experiments ({valid}); choose with run.arm(…)"
            )
        for arm in side.arms:
            if arm.condition in arms:
                raise DefinitionError(
                    f"judge: two experiments have the condition {arm.condition!r}; "
                    "give each its own: start(name, condition=…)"
                )
            arms[arm.condition] = arm
    parsed = [parse(text, [*arms]) for text in expectations]
    subjects = {name: arm.result.subject(name) for name, arm in arms.items()}
    claims = []
    for expectation in parsed:
        found = claims_of(expectation, subjects)
        if not found:
            raise DefinitionError(
                f"judge: {expectation.text!r} compares a condition with itself; "
                "pass another one, too"
            )
        claims += found
    return Verdicts(tuple(judge_claims(claims)))
