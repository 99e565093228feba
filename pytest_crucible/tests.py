"""The classical tests by name, on arrays and on arms, for exploration::

    from pytest_crucible import tests

    print(tests.t_test([1.9, 0.8, 1.1], [0.7, -1.6, -0.2], paired=True))
    print(tests.wilcoxon_signed_rank(run.arm("qa", "new"), run.arm("qa", "old"), metric="score"))

``a`` is compared with ``b``, as R and SciPy do: an estimate above 0 means more in ``a``. A side is
a sequence of values, or an arm: a handle, its id, or ``run.arm(…)``, with the ``metric`` to test.
Of an arm, each case is one value, the mean of its trials; paired tests take the cases that both
arms have.

Do not decide by these: of several p some are small by chance (`holm` and `benjamini_hochberg`
correct for that), and a small p says nothing about the size of a change. Verdicts come from the
rows of ``compare`` and from ``expect``, which have a margin and one level for all that decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_crucible._errors import DefinitionError
from pytest_crucible.analysis.results import Arm
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.verdicts import arm_of
from pytest_crucible.stats import contingency, significance
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.matching import match
from pytest_crucible.stats.samples import FORMULA, QUANTILE, Sample, refuse_unusable
from pytest_crucible.stats.significance import SignificanceResult as SignificanceResult
from pytest_crucible.stats.tests import Alternative as Alternative
from pytest_crucible.stats.tests import benjamini_hochberg as benjamini_hochberg
from pytest_crucible.stats.tests import holm as holm

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Side = Sequence[Any] | NDArray[Any] | Experiment | Arm | str
"""Values, or an arm: a handle, its id, or ``run.arm(…)``."""


def t_test(
    a: Side,
    b: Side,
    *,
    metric: str | None = None,
    paired: bool = False,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> SignificanceResult:
    """Test the difference of means: Student's t on pairs, or Welch's, which takes no equal spread.

    Args:
        a, b: values, or arms.
        metric: of arms, the number to test: ``score``, ``latency``, ``cost``.
        paired: whether the values belong together by place; cases of arms by their ids and content.
        alternative: ``two-sided``, ``greater`` (a has more) or ``less``.
        confidence: of the interval of the mean difference.

    Raises:
        DefinitionError: values are missing or not finite, or an argument is not valid.
    """
    x, y = _numbers("t_test", a, b, metric, paired)
    return significance.t_test(
        x, y, paired=paired, alternative=alternative, confidence=confidence
    )  # fmt: skip


def wilcoxon_signed_rank(
    a: Side,
    b: Side,
    *,
    metric: str | None = None,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> SignificanceResult:
    """Test pairs by the ranks of their differences: exact for up to 50 pairs, through ties.

    Arguments and errors as for `t_test`; the values are always paired.
    """
    x, y = _numbers("wilcoxon_signed_rank", a, b, metric, paired=True)
    return significance.wilcoxon_signed_rank(x, y, alternative=alternative, confidence=confidence)


def mann_whitney(
    a: Side,
    b: Side,
    *,
    metric: str | None = None,
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> SignificanceResult:
    """Test independent values by their ranks: exact for up to 25 values a side, through ties.

    Arguments and errors as for `t_test`; the values are never paired.
    """
    x, y = _numbers("mann_whitney", a, b, metric, paired=False)
    return significance.mann_whitney(x, y, alternative=alternative, confidence=confidence)


def chi_square(
    *samples: Side, metric: str = "success_rate", correction: bool = False
) -> SignificanceResult:
    """Test whether outcomes are distributed alike in independent samples: Pearson's χ².

    Args:
        samples: two or more samples of outcomes (``["yes", "no", …]``, or arms); or one table of
            counts, a row per sample, a column per outcome.
        metric: of arms, a rate.
        correction: Yates's, for a table of 2 × 2.

    Raises:
        DefinitionError: a sample is empty, or an argument is not valid.
    """
    return contingency.chi_square(_table("chi_square", samples, metric), correction=correction)


def fisher_exact(
    *samples: Side,
    metric: str = "success_rate",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
) -> SignificanceResult:
    """Test two shares of independent samples: Fisher's exact test, with the odds ratio.

    Args:
        samples: two samples of two outcomes (1 and 0, or arms); or one table of 2 × 2 counts.
        metric: of arms, a rate.
        alternative: ``greater``: the first sample has more of the larger outcome, as 1 and True;
            of a table, of the first column.
        confidence: of the interval of the odds ratio.

    Raises:
        DefinitionError: a sample is empty, or an argument is not valid.
    """
    table = _table("fisher_exact", samples, metric)
    return contingency.fisher_exact(table, alternative=alternative, confidence=confidence)


def mcnemar(
    *samples: Side,
    metric: str = "success_rate",
    alternative: Alternative = "two-sided",
    confidence: float = 0.95,
    mid_p: bool = False,
) -> SignificanceResult:
    """Test two shares of pairs: McNemar's test, exact or with mid-p.

    Args:
        samples: two samples of two outcomes (1 and 0) that belong together by place, or two arms;
            or one table of 2 × 2 counts of pairs: a row per outcome of the first.
        metric: of arms, a rate.
        alternative, confidence: as for `fisher_exact`.
        mid_p: count half of the probability of what was observed, which is less conservative.

    Raises:
        DefinitionError: the samples are no pairs, or an argument is not valid.
    """
    if len(samples) == 1:
        table = _counts("mcnemar", samples[0])
    else:
        a, b = _outcomes("mcnemar", samples, metric, paired=True)
        levels = _levels([a, b])
        places = [np.searchsorted(levels, side) for side in (a, b)]
        pairs = np.zeros((levels.size, levels.size), dtype=np.int64)
        np.add.at(pairs, tuple(places), 1)
        table = pairs[::-1, ::-1]
    return contingency.mcnemar(
        table, alternative=alternative, confidence=confidence, mid_p=mid_p
    )  # fmt: skip


# --- sides ------------------------------------------------------------------------------------


def _is_arm(side: Side) -> bool:
    return isinstance(side, (Experiment, Arm, str))


def _numbers(
    test: str, a: Side, b: Side, metric: str | None, paired: bool
) -> tuple[Floats, Floats]:
    """Return the numbers of both sides; of arms one per case, and in pairs those of both."""
    if _is_arm(a) and _is_arm(b):
        return _of_arms(test, a, b, metric, paired)
    if metric is not None or _is_arm(a) or _is_arm(b):
        raise DefinitionError(
            f"{test} takes two arms and a metric, or two sequences of numbers and none"
        )
    return _array(test, a), _array(test, b)


def _array(test: str, side: Any) -> Floats:
    try:
        values = np.asarray(side, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty((0, 0))
    if values.ndim != 1:
        raise DefinitionError(f"{test} takes sequences of numbers, or arms, not {side!r:.80}")
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DefinitionError(f"{test}: value {bad} is {values[bad]}; leave it out, with its pair")
    return values


def _of_arms(
    test: str, a: Side, b: Side, metric: str | None, paired: bool
) -> tuple[Floats, Floats]:
    first, second = arm_of(test, a), arm_of(test, b)
    samples = _sample(test, first, metric), _sample(test, second, metric)
    if not paired:
        x, y = (np.array([*each.by_case().values()] or each.values) for each in samples)
        return x, y
    means = [each.by_case() for each in match(first.group, second.group).align(*samples)]
    both = [name for name in means[0] if name in means[1]]
    if not both:
        raise DefinitionError(f"{test}: the arms have no case in common")
    x, y = (np.array([each[name] for name in both]) for each in means)
    return x, y


def _sample(test: str, arm: Arm, metric: str | None) -> Sample:
    """Return the observations of an arm, if their values per case are independent numbers."""
    subject = arm.result.subject(arm.condition)
    recorded = [*arm.group.recorded, *arm.group.logged, *arm.group.declared]
    path = f"{metric}.mean" if metric in recorded else metric
    sample = None if path is None else subject.sample(path)
    if sample is None or not sample.n or sample.kind in (FORMULA, QUANTILE):
        valid = ", ".join(["success_rate", "latency", "cost", "tokens", *recorded])
        why = "has no value per case" if sample is not None and sample.n else "is not recorded"
        said = f"metric={metric!r} {why} in {arm!r}" if metric else "which metric of the arms?"
        raise DefinitionError(f"{test}: {said}; metric= is one of {valid}")
    if sample.belongs is not None and sample.units != sample.case_count:
        raise DefinitionError(
            f"{test} takes cases for independent, and those of {arm!r} are in clusters; compare() "
            "accounts for them"
        )
    try:
        refuse_unusable(sample)
    except NoIntervalError as error:
        raise DefinitionError(f"{test}: {metric} of {arm!r}: {error}") from error
    return sample.by_process()


def _outcomes(
    test: str, samples: Sequence[Side], metric: str, paired: bool = False
) -> list[NDArray[Any]]:
    """Return the outcomes of samples; of arms, those of a rate per case."""
    arms = [_is_arm(side) for side in samples]
    if not any(arms):
        found = [np.asarray(side) for side in samples]
        for side in found:
            if side.ndim != 1 or not side.size:
                raise DefinitionError(f"{test}: a sample is empty, or no sequence of outcomes")
    elif not all(arms):
        raise DefinitionError(f"{test} takes arms, or sequences of outcomes, not both")
    elif paired:
        found = [*_of_arms(test, samples[0], samples[1], metric, paired=True)]
    else:
        rates = [_sample(test, arm_of(test, side), metric) for side in samples]
        found = [np.array([*each.by_case().values()] or each.values) for each in rates]
    if any(arms) and any(not np.isin(side, (0, 1)).all() for side in found):
        raise DefinitionError(
            f"{test}: {metric} of a case is not only 0 or 1: cases have several trials; "
            "t_test takes the means of cases"
        )
    if paired and found[0].size != found[1].size:
        raise DefinitionError(
            f"{test} needs pairs, not {found[0].size} and {found[1].size} outcomes"
        )
    return found


def _levels(samples: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return all outcomes in order; 0 and 1 if there is but one of them."""
    levels = np.unique(np.concatenate(samples))
    return np.array([0, 1]) if levels.size == 1 and levels[0] in (0, 1) else levels


def _table(test: str, samples: Sequence[Side], metric: str) -> Counts:
    """Return counts: a row per sample, a column per outcome, the largest outcome first."""
    if len(samples) == 1:
        return _counts(test, samples[0])
    if not samples:
        raise DefinitionError(f"{test} takes samples, or a table of counts")
    found = _outcomes(test, samples, metric)
    levels = _levels(found)
    counts = [np.bincount(np.searchsorted(levels, s), minlength=levels.size) for s in found]
    return np.array(counts, dtype=np.int64)[:, ::-1]


def _counts(test: str, side: Any) -> Counts:
    try:
        table = np.asarray(side, dtype=np.float64)
    except (TypeError, ValueError):
        table = np.empty(0)
    if table.ndim != 2 or (table < 0).any() or (table != np.round(table)).any():
        raise DefinitionError(f"{test} takes two samples, or a table of counts, not {side!r:.80}")
    return table.astype(np.int64)
