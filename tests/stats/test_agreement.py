"""Agreement on arrays: published examples, other implementations, and what bad input gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pytest_crucible import DefinitionError, cohen_kappa, krippendorff_alpha
from pytest_crucible.stats.agreement import Level

COHEN_1960 = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
"""Two psychologists on 200 patients: personality disorder, neurosis, psychosis."""
NAN = math.nan
KRIPPENDORFF_2011 = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
"""Four observers, twelve units, labels missing (Computing Krippendorff's alpha-reliability)."""
HAYES_2007 = [
    [1, 1, 2, 0, 0, 1, 1, 1, 0, 1, 1, 2, 1, 1, 1, 2, 1, 0, 0, 1],
    [2, 1, 2, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1],
]


def expanded(table: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    cells = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return [i for i, _ in cells], [j for _, j in cells]


def test_cohens_own_example() -> None:
    """.70 observed, .41 by chance: kappa = .492 (Cohen 1960, table 1)."""
    found = cohen_kappa(*expanded(COHEN_1960))
    assert found.value == pytest.approx(0.29 / 0.59)
    assert found.observed == pytest.approx(0.7)
    assert found.expected == pytest.approx(0.41)
    assert found.n == 200


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorffs_own_example(level: Level, alpha: float) -> None:
    """.743 nominal, .815 ordinal, .849 interval; the unit with one label is left out."""
    found = krippendorff_alpha(KRIPPENDORFF_2011, level=level)
    assert found.value == pytest.approx(alpha, abs=5e-4)
    assert found.n == 11


def test_labels_may_be_text() -> None:
    """Nominal ones; None and NaN are missing."""
    words = [[None if v is None else "abcdef"[v] for v in row] for row in KRIPPENDORFF_2011]
    assert krippendorff_alpha(words) == krippendorff_alpha(KRIPPENDORFF_2011)
    holes = [[NAN if v is None else v for v in row] for row in KRIPPENDORFF_2011]
    assert krippendorff_alpha(np.array(holes)) == krippendorff_alpha(KRIPPENDORFF_2011)
    first, second = expanded(COHEN_1960)
    names = ["personality", "neurosis", "psychosis"]
    found = cohen_kappa([names[i] for i in first], [names[i] for i in second])
    assert found.value == pytest.approx(0.29 / 0.59)
    assert cohen_kappa([True, False] * 9, [1, 0] * 9).value == 1


def fleiss_cohen_everitt(table: Sequence[Sequence[int]]) -> float:
    """The large-sample standard error of kappa (Fleiss, Cohen and Everitt 1969, equation 13)."""
    p = np.array(table) / np.sum(table)
    rows, columns, k = p.sum(axis=1), p.sum(axis=0), len(p)
    expected = float(rows @ columns)
    kappa = (float(np.trace(p)) - expected) / (1 - expected)
    diagonal = sum(p[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(k))
    others = (1 - kappa) ** 2 * sum(
        p[i, j] * (columns[i] + rows[j]) ** 2 for i in range(k) for j in range(k) if i != j
    )
    variance = diagonal + others - (kappa - expected * (1 - kappa)) ** 2
    return math.sqrt(variance / np.sum(table)) / (1 - expected)


@pytest.mark.parametrize("factor", [1, 5])
def test_the_interval_is_that_of_the_large_sample_error(factor: int) -> None:
    """With many cases the interval is kappa ± 1.96 of that error, to 3 % of its width."""
    table = [[factor * n for n in row] for row in COHEN_1960]
    found = cohen_kappa(*expanded(table))
    error = fleiss_cohen_everitt(table)
    assert found.low is not None
    assert found.high is not None
    tolerance = 0.06 * 1.96 * error if factor > 1 else 0.1 * 1.96 * error
    assert found.value - found.low == pytest.approx(1.96 * error, abs=tolerance)
    assert found.high - found.value == pytest.approx(1.96 * error, abs=tolerance)


def test_a_result_is_a_line() -> None:
    """Value, interval, what is behind kappa, and n; or why there is no interval."""
    assert str(cohen_kappa(*expanded(COHEN_1960))) == (
        "Cohen's kappa 0.492 [0.382, 0.591], agreement 70.0 %, by chance 41.0 %, n = 200"
    )
    rare = cohen_kappa([0] * 28 + [1, 1], [0] * 28 + [1, 0])
    assert (rare.low, rare.high) == (None, None)
    assert "no interval: too few: only about 2 cases have another label than 0, 5 needed" in str(
        rare
    )
    assert str(krippendorff_alpha(HAYES_2007, level="ordinal")).startswith(
        "Krippendorff's alpha, ordinal 0."
    )


def test_confidence_makes_it_wider() -> None:
    """99 % encloses 95 %, which encloses 80 %."""
    found = [cohen_kappa(*expanded(COHEN_1960), confidence=c) for c in (0.8, 0.95, 0.99)]
    lows, highs = [each.low for each in found], [each.high for each in found]
    assert lows == sorted(lows, reverse=True)  # type: ignore[type-var]
    assert highs == sorted(highs)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: cohen_kappa([1, 0], [1]), "as many labels of each rater, not 2 and 1"),
        (lambda: krippendorff_alpha([]), "krippendorff_alpha takes as many labels .* not no"),
        (lambda: krippendorff_alpha([[1, 2]]), "of each rater, not 2"),
        (lambda: cohen_kappa([1, 1], [1, 1]), "cohen_kappa: all labels are alike"),
        (lambda: cohen_kappa([None, 1], [1, None]), "cohen_kappa: no unit has two labels"),
        (lambda: krippendorff_alpha([["a"], ["b"]], level="ordinal"), "must be numbers"),
        (lambda: krippendorff_alpha([[1], [2]], level="ratio"),  # type: ignore[arg-type]
         "level='ratio' is not one of nominal, ordinal, interval"),
        (lambda: cohen_kappa([1, 0], [1, 0], confidence=95), "confidence=95 is not between"),
    ],
)  # fmt: skip
def test_bad_input_is_a_line(call: Any, problem: str) -> None:
    """Who refuses what, and what would be valid."""
    with pytest.raises(DefinitionError, match=problem):
        call()
