"""Agreement of recorded labels: Cohen's kappa, and Krippendorff's alpha.

Both are functions of sums over cases (a table of counts, or moments), so that leaving out a case
is a subtraction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.metrics.formula import ALPHA, ALPHA_INTERVAL, ALPHA_ORDINAL, KAPPA
from pytest_crucible.metrics.groups import NO_CASE, Series

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MISSING = -1
MOST_LABELS = 100
_LEVELS = {ALPHA: "nominal", ALPHA_ORDINAL: "ordinal", ALPHA_INTERVAL: "interval"}


@dataclass(frozen=True)
class Ratings:
    """The labels that several raters gave to the same units.

    Attributes:
        kind: which agreement: one of `formula.AGREEMENTS`.
        labels: all labels in order, shape ``(labels,)``.
        codes: index of the label of each unit and rater, shape ``(units, raters)``; `MISSING`.
        cases: index of the case of each unit, shape ``(units,)``; all from 0 on occur.
        numbers: what numbers the cases had before, shape ``(cases,)``.
    """

    kind: str
    labels: Floats
    codes: Ints
    cases: Ints
    numbers: Ints

    @classmethod
    def of(cls, kind: str, values: Floats, cases: Ints) -> Ratings:
        """Make ratings of numbers; units that show no agreement are left out.

        Args:
            kind: which agreement.
            values: shape ``(units, raters)``; NaN: the rater gave no label.
            cases: number of the case of each unit, shape ``(units,)``.
        """
        given = np.isfinite(values).sum(axis=1)
        keep = given == values.shape[1] if kind == KAPPA else given > 1
        values, cases = values[keep], cases[keep]
        labels, codes = np.unique(values, return_inverse=True)
        found = np.isfinite(labels)
        codes = np.where(np.isfinite(values), codes.reshape(values.shape), MISSING)
        numbers, index = np.unique(cases, return_inverse=True)
        return cls(kind, labels[found], codes.astype(np.int64), index.astype(np.int64), numbers)

    @property
    def case_count(self) -> int:
        """Number of cases."""
        return int(self.numbers.size)

    def problem(self) -> str | None:
        """Say why there is no agreement to measure; None if there is."""
        if not self.cases.size:
            return "no unit has two labels"
        if self.kind != ALPHA_INTERVAL and self.labels.size > MOST_LABELS:
            return f"{self.labels.size} different labels, up to {MOST_LABELS} count as categories"
        if self.labels.size < 2:
            return "all labels are alike: agreement by chance is certain"
        return None

    @cached_property
    def parts(self) -> Parts:
        """What each case adds to the sums."""
        return _moments(self) if self.kind == ALPHA_INTERVAL else _tables(self)

    def value(self) -> float:
        """Return the agreement; NaN if chance alone would make it perfect."""
        return self._value_of(self.parts.total)

    def without(self, extra: Ratings | None = None) -> Floats:
        """Return the agreement without each case in turn, shape ``(cases,)``.

        Args:
            extra: further ratings with the same labels, which are also left out in turn; the
                result has the shape ``(cases + extra cases,)``.
        """
        parts = [self.parts] if extra is None else [self.parts, extra.parts]
        total = sum(each.total for each in parts)
        found = [
            np.array([self._value_of(total - each.part(i)) for i in range(each.different)])[
                each.which
            ]
            for each in parts
        ]
        return np.concatenate(found)

    def chance(self) -> float:
        """Return the disagreement that chance would make, as a share of the largest possible."""
        total = self.parts.total
        if self.kind == KAPPA:
            return 1 - float(total.sum(axis=0) @ total.sum(axis=1)) / float(total.sum()) ** 2
        if self.kind == ALPHA_INTERVAL:
            n, center, squares, _ = (float(each) for each in total)
            return 2 * (n * squares - center**2) / n**2 / float(np.ptp(self.labels)) ** 2
        counts = total.sum(axis=0)
        apart = _distances(counts, ordinal=self.kind == ALPHA_ORDINAL)
        return float(counts @ apart @ counts) / float(counts.sum()) ** 2 / float(apart.max())

    def shares(self) -> Floats:
        """Return how often each label occurs among all, shape ``(labels,)``."""
        counts = np.bincount(self.codes[self.codes != MISSING], minlength=self.labels.size)
        return np.asarray(counts / counts.sum(), dtype=np.float64)

    def imagined(self) -> Ratings:
        """Return cases that could have been, as large as the usual one.

        One per label, on which all agree; where disagreements have sizes, also one of a usual size:
        between the quartiles of all labels.
        """
        size = math.ceil(self.cases.size / self.case_count)
        raters = max(2, round(float((self.codes != MISSING).sum(axis=1).mean())))
        codes = np.repeat(np.arange(self.labels.size)[:, None], raters, axis=1)
        if self.kind in (ALPHA_ORDINAL, ALPHA_INTERVAL):
            reached = np.cumsum(self.shares())
            apart = np.searchsorted(reached, (0.25, 0.75))
            codes = np.vstack([codes, np.resize(apart, raters)])
        cases = np.arange(len(codes))
        return Ratings(
            self.kind, self.labels, np.repeat(codes, size, axis=0), np.repeat(cases, size), cases
        )

    def _value_of(self, sums: Floats) -> float:
        if self.kind == KAPPA:
            return _kappa(sums)
        if self.kind == ALPHA_INTERVAL:
            return _alpha_of_moments(sums)
        return _alpha(sums, ordinal=self.kind == ALPHA_ORDINAL)


@dataclass(frozen=True)
class Parts:
    """What cases add to sums, each different one once.

    Attributes:
        total: the sums over all cases.
        cells: indices into the flat sums, one array per different case.
        amounts: what it adds there.
        which: for every case the index of what it adds, shape ``(cases,)``.
    """

    total: Floats
    cells: Sequence[Ints]
    amounts: Sequence[Floats]
    which: Ints

    @property
    def different(self) -> int:
        """Number of different cases."""
        return len(self.cells)

    def part(self, index: int) -> Floats:
        """Return what a case adds, in the shape of the sums."""
        part = np.zeros(self.total.size)
        np.add.at(part, self.cells[index], self.amounts[index])
        return part.reshape(self.total.shape)


def _tables(ratings: Ratings) -> Parts:
    """Return counts of pairs of labels: of kappa the table, of alpha the coincidences."""
    k = ratings.labels.size
    contents: dict[tuple[tuple[int, ...], ...], int] = {}
    which = []
    units = np.split(
        ratings.codes[np.argsort(ratings.cases, kind="stable")],
        np.cumsum(np.bincount(ratings.cases))[:-1],
    )
    for case in units:
        rows = [
            tuple(row) if ratings.kind == KAPPA else tuple(sorted(row)) for row in case.tolist()
        ]
        which.append(contents.setdefault(tuple(sorted(rows)), len(contents)))
    cells, amounts = [], []
    for content in contents:
        places, weights = [], []
        for row in content:
            given = [code for code in row if code != MISSING]
            if ratings.kind == KAPPA:
                pairs = [(given[0], given[1])]
            else:
                pairs = [(a, b) for i, a in enumerate(given) for j, b in enumerate(given) if i != j]
            places += [a * k + b for a, b in pairs]
            weights += [1.0 if ratings.kind == KAPPA else 1 / (len(given) - 1)] * len(pairs)
        cells.append(np.array(places, dtype=np.int64))
        amounts.append(np.array(weights))
    index = np.array(which, dtype=np.int64)
    total = np.zeros(k * k)
    for place, amount, times in zip(cells, amounts, np.bincount(index), strict=True):
        np.add.at(total, place, amount * times)
    return Parts(total.reshape(k, k), cells, amounts, index)


def _moments(ratings: Ratings) -> Parts:
    """Return number, sum, sum of squares and weighted squared differences of the labels."""
    values = np.where(
        ratings.codes == MISSING, 0.0, (ratings.labels - ratings.labels.mean())[ratings.codes]
    )
    m = (ratings.codes != MISSING).sum(axis=1).astype(np.float64)
    sums, squares = values.sum(axis=1), (values**2).sum(axis=1)
    apart = 2 * (m * squares - sums**2) / (m - 1)
    rows = [np.bincount(ratings.cases, weights=each) for each in (m, sums, squares, apart)]
    by_case = np.stack(rows, axis=1)
    four = np.arange(4)
    return Parts(by_case.sum(axis=0), [four] * len(by_case), list(by_case), np.arange(len(by_case)))


def _kappa(table: Floats) -> float:
    """Return Cohen's kappa (Cohen 1960) of a table: a row per label of the first rater."""
    n = float(table.sum())
    expected = float(table.sum(axis=0) @ table.sum(axis=1)) / n / n
    return (
        math.nan
        if expected > 1 - 1e-12
        else (float(np.trace(table)) / n - expected) / (1 - expected)
    )


def _alpha(coincidences: Floats, *, ordinal: bool) -> float:
    """Return Krippendorff's alpha (Krippendorff 2011) of a matrix of coincidences."""
    counts = coincidences.sum(axis=0)
    n = float(counts.sum())
    apart = _distances(counts, ordinal=ordinal)
    by_chance = float(counts @ apart @ counts)
    if by_chance <= 0 or n <= 1:
        return math.nan
    return 1 - (n - 1) * float((coincidences * apart).sum()) / by_chance


def _distances(counts: Floats, *, ordinal: bool) -> Floats:
    """Return what it weighs to take one label for another; in ranks, squared, if ordinal."""
    if not ordinal:
        return np.asarray(1 - np.eye(counts.size))
    ranks = np.cumsum(counts) - counts / 2
    return np.asarray(np.subtract.outer(ranks, ranks) ** 2)


def _alpha_of_moments(moments: Floats) -> float:
    n, total, squares, apart = (float(each) for each in moments)
    by_chance = 2 * (n * squares - total**2)
    if n <= 1 or by_chance <= 1e-12 * max(1.0, n * squares):
        return math.nan
    return 1 - (n - 1) * apart / by_chance


# --- from what was recorded -------------------------------------------------------------------


class UnmatchedError(ValueError):
    """Labels were recorded so that nobody knows which belong together; the message says where."""


def ratings_of(kind: str, names: Sequence[str], recorded: Mapping[str, Series]) -> Ratings:
    """Return the labels that were recorded under some names, one name per rater.

    Labels of one trial belong together. If a trial (or code outside trials) recorded several of
    each name, they belong together by their order.

    Args:
        kind: which agreement.
        names: of the raters.
        recorded: the numbers by name; all of ``names`` are there.

    Raises:
        UnmatchedError: a trial has several labels of one rater, and another number of another.
    """
    columns = {name: _by_trial(recorded[name]) for name in names}
    units: list[list[float]] = []
    cases: list[int] = []
    loose = max((case for column in columns.values() for case, _ in column), default=0) + 1
    for trial in dict.fromkeys(key for column in columns.values() for key in column):
        given = [column.get(trial, []) for column in columns.values()]
        most = max(map(len, given))
        if most > 1 and any(len(values) != most for values in given):
            said = (f"{name} {len(values)}" for name, values in zip(names, given, strict=True))
            raise UnmatchedError(
                f"one trial recorded {' and '.join(said)} times: which belong together?"
            )
        for number in range(most):
            units.append([values[number] if values else math.nan for values in given])
            cases.append(loose + len(units) if trial[0] == NO_CASE else trial[0])
    values = np.array(units, dtype=np.float64).reshape(-1, len(names))
    return Ratings.of(kind, values, np.array(cases, dtype=np.int64))


def _by_trial(series: Series) -> dict[tuple[int, int], list[float]]:
    """Return the values of a number by case and trial."""
    found: dict[tuple[int, int], list[float]] = {}
    for case, trial, value in zip(series.cases, series.trials, series.values, strict=True):
        found.setdefault((case, trial), []).append(value)
    return found
