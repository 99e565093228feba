"""Tests of tables of counts, by their names, for exploration: verdicts come from rows.

A table has a row per sample and a column per outcome; of pairs, a row per outcome of ``a`` and a
column per outcome of ``b``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pytest_crucible._errors import DefinitionError
from pytest_crucible.stats.intervals import clopper_pearson
from pytest_crucible.stats.significance import SignificanceResult, errors_of
from pytest_crucible.stats.tests import TWO_SIDED, Alternative, p_of

Counts = NDArray[np.int64]


def chi_square(table: Counts, *, correction: bool = False) -> SignificanceResult:
    """Test whether the outcomes are distributed alike in all samples (Pearson 1900).

    Args:
        table: counts, shape ``(samples, outcomes)``.
        correction: for continuity, of a 2 × 2 table (Yates 1934).

    Raises:
        DefinitionError: some sample or outcome never occurs, or there is only one.
    """
    from scipy.special import chdtrc

    counts = table.astype(np.float64)
    rows, columns, total = counts.sum(axis=1), counts.sum(axis=0), float(counts.sum())
    if min(counts.shape) < 2:
        raise DefinitionError("chi_square needs at least two samples and two outcomes")
    if not rows.all() or not columns.all():
        raise DefinitionError("chi_square: a sample is empty, or an outcome never occurs")
    expected = np.outer(rows, columns) / total
    apart = np.abs(counts - expected)
    if correction and counts.shape == (2, 2):
        apart = np.maximum(0.0, apart - 0.5)
    statistic = float((apart**2 / expected).sum())
    df = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    plain = float(((counts - expected) ** 2 / expected).sum())
    few = f"; {int((expected < 5).sum())} expected counts below 5" if (expected < 5).any() else ""
    return SignificanceResult(
        method=f"chi-square test{' with Yates correction' if correction else ''}{few}",
        statistic=("χ²", statistic),
        p=float(chdtrc(df, statistic)),
        n=tuple(int(row) for row in rows),
        df=float(df),
        effect=("Cramér's V", math.sqrt(plain / total / (min(counts.shape) - 1))),
    )


def fisher_exact(
    table: Counts, *, alternative: Alternative = TWO_SIDED, confidence: float = 0.95
) -> SignificanceResult:
    """Test two shares of independent samples: Fisher's exact test (Fisher 1935).

    The estimate is the conditional odds ratio, with its exact interval (Cornfield 1956).

    Args:
        table: counts, shape ``(2, 2)``: samples and outcomes.
        alternative: ``greater``: the first sample has more of the first outcome.
        confidence: of the interval.

    Raises:
        DefinitionError: the table is of another shape, or a sample is empty.
    """
    from scipy.stats import fisher_exact as fisher
    from scipy.stats.contingency import odds_ratio

    errors_of(alternative, confidence)
    two_by_two("fisher_exact", table)
    if not table.sum(axis=1).all():
        raise DefinitionError("fisher_exact: a sample is empty")
    ratio = odds_ratio(table, kind="conditional")
    interval = ratio.confidence_interval(confidence, alternative=alternative)
    shares = table[:, 0] / table.sum(axis=1)
    return SignificanceResult(
        method="Fisher's exact test",
        statistic=("first cell", float(table[0, 0])),
        p=float(fisher(table, alternative=alternative).pvalue),
        n=tuple(int(row) for row in table.sum(axis=1)),
        estimate=("odds ratio", float(ratio.statistic)),
        low=float(interval.low),
        high=float(interval.high),
        effect=("Cohen's h", float(np.subtract(*(2 * np.arcsin(np.sqrt(shares)))))),
        alternative=alternative,
    )


def mcnemar(
    table: Counts,
    *,
    alternative: Alternative = TWO_SIDED,
    confidence: float = 0.95,
    mid_p: bool = False,
) -> SignificanceResult:
    """Test two shares of pairs: McNemar's test (McNemar 1947), exact as a sign test.

    The statistic is the number of pairs in which only ``a`` has the first outcome. The estimate is
    the odds ratio of the discordant pairs, with Clopper and Pearson's interval.

    Args:
        table: counts of pairs, shape ``(2, 2)``: outcomes of ``a``, outcomes of ``b``.
        alternative: ``greater``: ``a`` has more of the first outcome.
        confidence: of the interval.
        mid_p: count half of the probability of what was observed: less conservative, and nearly
            never above its level (Fagerland, Lydersen and Laake 2013).

    Raises:
        DefinitionError: the table is of another shape.
    """
    from scipy.special import bdtr

    below, above = errors_of(alternative, confidence)
    two_by_two("mcnemar", table)
    first, second = int(table[0, 1]), int(table[1, 0])
    n = first + second
    less, greater = (float(bdtr(k, n, 0.5)) if n else 1.0 for k in (first, second))
    if mid_p and n:
        fewer = min(first, second)
        observed = min(less, greater) - (float(bdtr(fewer - 1, n, 0.5)) if fewer else 0.0)
        less, greater = less - observed / 2, greater - observed / 2
    low, high = 0.0, math.inf
    if n and below:
        low = _odds(clopper_pearson(first, n, 2 * below)[0])
    if n and above:
        high = _odds(clopper_pearson(first, n, 2 * above)[1])
    pairs = int(table.sum())
    return SignificanceResult(
        method=f"McNemar's test, {'mid-p' if mid_p else 'exact'}",
        statistic=("only a", float(first)),
        p=p_of((less, greater), alternative),
        n=(pairs,),
        estimate=("odds ratio", _odds(first / n)) if n else None,
        low=low if n else None,
        high=high if n else None,
        effect=("difference of shares", (first - second) / pairs) if pairs else None,
        alternative=alternative,
    )


def _odds(share: float) -> float:
    return share / (1 - share) if share < 1 else math.inf


def two_by_two(test: str, table: Counts) -> None:
    """Refuse a table of another shape.

    Raises:
        DefinitionError: it has one.
    """
    if table.shape != (2, 2):
        shape = " × ".join(map(str, table.shape))
        raise DefinitionError(f"{test} needs a table of 2 × 2 counts, not {shape}")
