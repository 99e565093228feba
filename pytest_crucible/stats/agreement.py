"""Agreement of raters on arrays: Cohen's kappa and Krippendorff's alpha, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pytest_crucible._errors import DefinitionError
from pytest_crucible.metrics.agreement import Ratings
from pytest_crucible.metrics.formula import ALPHA, ALPHA_INTERVAL, ALPHA_ORDINAL, KAPPA
from pytest_crucible.stats.agreement_samples import sample_of_ratings
from pytest_crucible.stats.formula_samples import formula_bounds
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.samples import refuse_unusable

Level = Literal["nominal", "ordinal", "interval"]
_KINDS: dict[str, str] = {"nominal": ALPHA, "ordinal": ALPHA_ORDINAL, "interval": ALPHA_INTERVAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far raters agree beyond chance; ``print`` shows it in a line.

    Attributes:
        method: name of the coefficient.
        value: 1 for complete agreement, 0 for that of chance.
        low, high: confidence interval; None without one.
        n: number of units with at least two labels.
        observed: share of units on which both agree; of alpha, None.
        expected: the same by chance.
        reason: why there is no interval; None if there is one.
    """

    method: str
    value: float
    low: float | None
    high: float | None
    n: int
    observed: float | None = None
    expected: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        interval = f"no interval: {self.reason}"
        if self.low is not None:
            interval = f"[{self.low:.3f}, {self.high:.3f}]"
        parts = [f"{self.method} {self.value:.3f} {interval}"]
        if self.observed is not None:
            parts.append(f"agreement {self.observed:.1%}, by chance {self.expected:.1%}")
        return ", ".join([*parts, f"n = {self.n:,}"]).replace("%", " %")


def cohen_kappa(a: Iterable[object], b: Iterable[object], *, confidence: float = 0.95) -> Agreement:
    """Return the agreement of two raters on categories, beyond chance: kappa (Cohen 1960).

    Args:
        a, b: the labels that each gave, in the same order: numbers or text. None and NaN: no label;
            then the unit is left out.
        confidence: of the interval.

    Raises:
        DefinitionError: the numbers of labels differ, or there is nothing to measure.
    """
    ratings = _ratings(KAPPA, "cohen_kappa", [a, b])
    both = ratings.codes[:, 0] == ratings.codes[:, 1]
    found = _agreement("Cohen's kappa", "cohen_kappa", ratings, confidence)
    table = ratings.parts.total / ratings.cases.size
    expected = float(table.sum(axis=0) @ table.sum(axis=1))
    return replace(found, observed=float(both.mean()), expected=expected)


def krippendorff_alpha(
    ratings: Iterable[Iterable[object]], *, level: Level = "nominal", confidence: float = 0.95
) -> Agreement:
    """Return the agreement of two or more raters, with labels missing: alpha (Krippendorff 2011).

    Args:
        ratings: one sequence of labels per rater, all of the same units in the same order: numbers,
            or text for ``nominal``. None and NaN: no label.
        level: what a disagreement weighs: ``nominal``, all the same; ``ordinal``, by the ranks
            between; ``interval``, by the squared difference.
        confidence: of the interval.

    Raises:
        DefinitionError: the numbers of labels differ, or there is nothing to measure.
    """
    if level not in _KINDS:
        raise DefinitionError(f"level={level!r} is not one of {', '.join(_KINDS)}")
    found = _ratings(_KINDS[level], "krippendorff_alpha", list(ratings))
    return _agreement(f"Krippendorff's alpha, {level}", "krippendorff_alpha", found, confidence)


def _agreement(method: str, caller: str, ratings: Ratings, confidence: float) -> Agreement:
    if not 0 < confidence < 1:
        raise DefinitionError(f"confidence={confidence!r} is not between 0 and 1")
    sample = sample_of_ratings(ratings)
    if not sample.n:
        raise DefinitionError(f"{caller}: {sample.refusal}")
    n, value, error = ratings.cases.size, sample.mean(), (1 - confidence) / 2
    try:
        refuse_unusable(sample)
        low, high = formula_bounds(sample, error, error)
    except NoIntervalError as problem:
        return Agreement(method=method, value=value, low=None, high=None, n=n, reason=str(problem))
    return Agreement(method=method, value=value, low=low, high=high, n=n)


def _ratings(kind: str, caller: str, raters: Sequence[Iterable[object]]) -> Ratings:
    """Make ratings of labels of any kind; text gets numbers, which only nominal levels may have."""
    columns = [list(labels) for labels in raters]
    sizes = {len(column) for column in columns}
    if len(columns) < 2 or len(sizes) != 1:
        counts = " and ".join(str(len(column)) for column in columns) or "no"
        raise DefinitionError(f"{caller} takes as many labels of each rater, not {counts}")
    given = [label for column in columns for label in column if not _missing(label)]
    if all(isinstance(label, (int, float, np.number, np.bool_)) for label in given):
        numbers = {label: float(label) for label in given}  # type: ignore[arg-type]
    elif kind in (KAPPA, ALPHA):
        numbers = {label: float(place) for place, label in enumerate(dict.fromkeys(given))}
    else:
        raise DefinitionError(f"{caller}: labels of this level must be numbers")
    values = [
        [np.nan if _missing(label) else numbers[label] for label in column] for column in columns
    ]
    table: NDArray[np.float64] = np.array(values, dtype=np.float64).T
    return Ratings.of(kind, table, np.arange(len(table)))


def _missing(label: Any) -> bool:
    return label is None or bool(label != label)
