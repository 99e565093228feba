"""Claims that are judged trial by trial, to know when no more trials are needed.

The same bets as in `sequential`, one unit at a time, so that a claim that is decided here is
decided when the session ends: money that was won once is not lost.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pytest_crucible.metrics.catalog import BUILT_IN, SHARE, Catalog, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.betting import Bettor
from pytest_crucible.stats.bounded_changes import reach
from pytest_crucible.stats.comparison_options import row_of
from pytest_crucible.stats.expression import Expectation
from pytest_crucible.stats.family import CLAIM, OTHER, SUCCESS, Decision, levels_of
from pytest_crucible.stats.metric_samples import QUANTILES, sample_of
from pytest_crucible.stats.samples import FORMULA, RATE, RECORDED
from pytest_crucible.stats.verdict import ALPHA

_TINY = 1e-12
_OF_WHOLE_CASES = ("passes", "flips")
"""Draws that look at all trials of a case together."""
Part = tuple[int, float]
"""Number of values, and their sum."""
NONE: Part = (0, 0.0)


@dataclass(frozen=True, slots=True)
class Begun:
    """A trial has begun.

    Attributes:
        unit: the cluster of its case, or the case: what is independent of all others.
        at_us: when, in µs since the epoch.
        node: the process that runs it.
        split: whether that process goes on with another unit of the experiment before all trials
            of this one have begun: another process has the others.
    """

    unit: str
    at_us: float
    node: str
    split: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """What the trials of one case under one condition, that have just ended, say.

    Attributes:
        condition, case: of the trials.
        unit: as in `Begun`.
        at_us: when the last of them ended, in µs since the epoch.
        trials: how many they are, with those that were skipped.
        parts: by text of the expectation, number and sum of the values between 0 and 1 that it bets
            on; None: values outside of its range.
        inside: of blocks of a loop, the unit that the test around them would be; nobody knows how
            many blocks there will be.
    """

    condition: str
    case: str
    unit: str
    at_us: float
    trials: int
    parts: Mapping[str, Part | None]
    inside: str | None = None


class LiveClaim:
    """A claim about one condition.

    Attributes:
        expectation: the expectation.
        condition: the condition that it is about.
        against: the condition that it is compared with; None for a number.

    Args:
        metric: that the claim is about.
        level: one-sided error of the rejection; between arms of the confirmation, too.
    """

    def __init__(
        self, expectation: Expectation, condition: str, metric: Metric, level: float
    ) -> None:
        bound = expectation.bound
        self.expectation = expectation
        self.condition = condition
        self.against = bound.condition
        self._metric = metric
        self._q = QUANTILES.get(metric.statistic)
        self._low, self._high = _ends(metric)
        width = self._high - self._low
        self._least, self._most = 0.0, 1.0
        threshold = (bound.offset - self._low) / width
        up = expectation.wants_more
        if self._q is not None:
            threshold, up = (1 - self._q if up else self._q), True
        elif self.against is not None:
            self._least, self._most = reach((0.0, 1.0), bound.factor)
            threshold = (bound.offset - self._low * (1 - bound.factor)) / width
            threshold = (threshold - self._least) / (self._most - self._least)
        self._up = up
        self._for = Bettor(max(_TINY, threshold if up else 1 - threshold))
        self._versus = Bettor(max(_TINY, 1 - threshold if up else threshold))
        self._goals = (-math.log(level if self.against else ALPHA), -math.log(level))

    @property
    def decided(self) -> bool:
        """Whether it is confirmed or rejected, whatever comes."""
        confirmed, rejected = self._goals
        return self._for.log_money >= confirmed or self._versus.log_money >= rejected

    def parts(self, group: Group) -> dict[str, Part | None]:
        """Return number and sum of the values that a group has for the claim, by case."""
        sample = sample_of(group, self._metric)
        if sample is None or sample.cases is None or not sample.n:
            return {}
        if self._q is None:
            values = (sample.values - self._low) / (self._high - self._low)
        else:
            holds = self.expectation.holds
            kept = [holds(value, self.expectation.bound.offset) for value in sample.values.tolist()]
            values = np.array(kept, dtype=np.float64)
        found: dict[str, Part | None] = {}
        for case, value in zip(sample.cases.tolist(), values.tolist(), strict=True):
            name = sample.names[case]
            n, total = found.get(name, NONE) or NONE
            found[name] = (n + 1, total + value) if 0 <= value <= 1 else None
        return found

    def add(self, own: Mapping[str, Part], other: Mapping[str, Part]) -> None:
        """Bet on a unit that is complete.

        Args:
            own: values of the condition that the claim is about, by case.
            other: of the condition that it is compared with.
        """
        if self.against is None:
            size = sum(n for n, _ in own.values())
            if size:
                self._bet(sum(total for _, total in own.values()) / size, size)
            return
        both = [case for case in own if own[case][0] and other.get(case, NONE)[0]]
        if both:
            factor = self.expectation.bound.factor
            changes = [_mean(own[case]) - factor * _mean(other[case]) for case in both]
            change = sum(changes) / len(changes)
            self._bet((change - self._least) / (self._most - self._least), len(both))

    def _bet(self, value: float, size: int) -> None:
        self._for.bet(value if self._up else 1 - value, size)
        self._versus.bet(1 - value if self._up else value, size)


def _mean(part: Part) -> float:
    return part[1] / part[0]


class LiveClaims:
    """The claims of one experiment, and the units that are not complete yet.

    Claims bet on units in the order in which they began (`metrics.trials.begun`), so only on those
    before the first that still runs.

    Attributes:
        hopeless: whether they cannot be decided before the end: values outside of a range, or
            blocks that run at once.

    Args:
        claims: those that have to be decided.
        planned: how many trials each unit has.
        conditions: under which a block has to be seen.
    """

    def __init__(
        self,
        claims: Sequence[LiveClaim],
        planned: Mapping[str, int],
        conditions: Collection[str] = (),
    ) -> None:
        self._claims = claims
        self._planned = planned
        self._conditions = set(conditions)
        self._units: dict[str, _Unit] = {}
        self._waiting: dict[str, None] = {}  # in the order in which they began
        self._newest: dict[str, str] = {}  # the unit of the last block, by condition
        self.hopeless = False

    @property
    def decided(self) -> bool:
        """Whether all are decided, and there are any."""
        if self.hopeless or not self._claims:
            return False
        return all(claim.decided for claim in self._claims)

    def begin(self, begun: Begun) -> None:
        """Note that a trial has begun."""
        unit = self._units.setdefault(begun.unit, _Unit())
        unit.begun += 1
        if unit.done:
            return
        if begun.node not in unit.nodes:  # with the last part that begins, so does the unit
            unit.nodes.add(begun.node)
            self._waiting.pop(begun.unit, None)
            self._waiting[begun.unit] = None
        if unit.begun >= self._planned.get(begun.unit, 0):
            self._waiting.setdefault(begun.unit)
        elif begun.split:
            self._waiting.pop(begun.unit, None)  # until its other part begins
            self._advance()

    def add(self, ended: Ended) -> None:
        """Add what trials say; bet on what is complete now."""
        if ended.inside is not None:
            self._add_block(ended, ended.inside)
        unit = self._units.setdefault(ended.unit, _Unit())
        unit.ended += ended.trials
        for text, part in ended.parts.items():
            self.hopeless |= part is None
            cases = unit.parts.setdefault((text, ended.condition), {})
            n, total = cases.get(ended.case, NONE)
            more, added = part or NONE
            cases[ended.case] = (n + more, total + added)
        self._advance()

    def _add_block(self, ended: Ended, inside: str) -> None:
        self._waiting.pop(inside, None)  # the test around it is no trial itself
        unit = self._units.setdefault(ended.unit, _Unit())
        if not (unit.conditions or unit.done):
            self._waiting.setdefault(ended.unit)
        unit.conditions.add(ended.condition)
        self._newest[ended.condition] = ended.unit

    def _advance(self) -> None:
        while self._waiting:
            name = next(iter(self._waiting))
            unit = self._units[name]
            if not self._complete(name, unit):
                return
            del self._waiting[name]
            unit.done = True
            for claim in self._claims:
                text = claim.expectation.text
                own, other = (
                    unit.parts.get((text, each), {})
                    for each in (claim.condition, claim.against or claim.condition)
                )
                claim.add(own, other)

    def _complete(self, name: str, unit: _Unit) -> bool:
        if unit.conditions:  # blocks: when the loop goes on with another one
            gone_on = name not in self._newest.values()
            return gone_on and unit.conditions >= self._conditions
        return unit.ended >= self._planned.get(name, 0)


@dataclass(slots=True)
class _Unit:
    """A unit that has begun.

    Attributes:
        parts: its values by expectation and condition, then by case.
        begun, ended: number of its trials.
        nodes: processes that run them.
        conditions: under which it was seen, if it consists of blocks.
        done: whether it was bet on.
    """

    parts: dict[tuple[str, str], dict[str, Part]] = field(default_factory=dict)
    begun: int = 0
    ended: int = 0
    nodes: set[str] = field(default_factory=set)
    conditions: set[str] = field(default_factory=set)
    done: bool = False


# --- which claims, at which level -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claimed:
    """What decides in one experiment.

    Attributes:
        expectations: all of the experiment.
        conditions: the first is the baseline.
        rows: how many metrics decide comparisons beside the success rate.
    """

    expectations: Sequence[Expectation]
    conditions: Sequence[str]
    rows: int

    def claims(self) -> Iterable[tuple[Expectation, str]]:
        """Yield every expectation with every condition that it applies to."""
        for expectation in self.expectations:
            for condition in self.conditions:
                if expectation.concerns(condition):
                    yield expectation, condition


def kind_of(expectation: Expectation) -> str:
    """Return the kind of decision that a claim is."""
    if expectation.bound.condition is None:
        return CLAIM
    return SUCCESS if row_of(expectation.metric) == "success_rate" else OTHER


def levels_at_most(experiments: Iterable[Claimed], baselines: int) -> dict[str, float]:
    """Return at which level a decision of each kind is made, if all others count.

    When the session ends, those that too few observations could reach do not count: then levels are
    these or larger ones, so that what is decided stays so.

    Args:
        experiments: all of the session.
        baselines: how many baselines the session is compared with.
    """
    decisions = []
    for experiment in experiments:
        decisions += [Decision(kind_of(claim), 0.0) for claim, _ in experiment.claims()]
        pairs = len(experiment.conditions) * (1 + baselines) - 1
        decisions += [Decision(SUCCESS, 0.0)] * pairs
        decisions += [Decision(OTHER, 0.0)] * pairs * experiment.rows
    levels = levels_of(decisions)
    return {kind: levels.of(kind) for kind in (CLAIM, SUCCESS, OTHER)}


def live_metric(expectation: Expectation, catalog: Catalog) -> Metric | None:
    """Return the metric of a claim that can be judged trial by trial; None if it cannot."""
    path = expectation.metric
    metric = catalog[path]
    if "." not in path and path not in BUILT_IN and metric.drawn in (None, RECORDED):
        metric = catalog[f"{path}.mean"]
    if metric.drawn in (None, FORMULA, *_OF_WHOLE_CASES):
        return None
    if metric.statistic in QUANTILES:
        return metric if expectation.bound.condition is None else None
    if metric.statistic == RATE:
        return metric
    ends = sum(end is not None for end in metric.range)
    fits = ends == 2 or (ends == 0 and metric.drawn == RECORDED)
    return metric if metric.statistic == "mean" and fits else None


def _range(metric: Metric) -> tuple[float | None, float | None]:
    return SHARE if metric.statistic == RATE else metric.range


def _ends(metric: Metric) -> tuple[float, float]:
    """Return the range of the values; as elsewhere, an undeclared score is taken for 0 to 1."""
    low, high = _range(metric)
    return 0.0 if low is None else low, 1.0 if high is None else high
