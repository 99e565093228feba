"""Metrics of repeated trials of a case: pass@k, pass^k, the flip rate, ``pass_if``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import numpy as np

from pytest_crucible.metrics.catalog import PASSES, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.trials import FAILURES, SUCCESSES, Trial
from pytest_crucible.stats.samples import RATE, Sample


def counts_by_case(trials: Iterable[Trial]) -> dict[str, tuple[int, int]]:
    """Return by case: how many trials passed, and how many passed or failed."""
    counts: dict[str, tuple[int, int]] = {}
    for trial in trials:
        if trial.outcome in SUCCESSES or trial.outcome in FAILURES:
            passed, n = counts.get(trial.case, (0, 0))
            counts[trial.case] = (passed + (trial.outcome in SUCCESSES), n + 1)
    return counts


def pass_at_k(passed: int, n: int, k: int) -> float:
    """Estimate the probability that at least one of ``k`` trials passes.

    1 − C(n − c, k) / C(n, k), where c of n trials passed (Chen et al. 2021).

    Args:
        passed: c, trials of the case that passed.
        n: all trials of the case, at least ``k``.
        k: trials.
    """
    return 1.0 - math.comb(n - passed, k) / math.comb(n, k)


def pass_hat_k(passed: int, n: int, k: int) -> float:
    """Estimate the probability that all of ``k`` trials pass.

    C(c, k) / C(n, k), where c of n trials passed (Yao et al. 2024, τ-bench). Arguments as for
    `pass_at_k`.
    """
    return math.comb(passed, k) / math.comb(n, k)


def flips(group: Group, _: Metric) -> Sample:
    """Return one value per case with several trials: 1 if some passed and some failed, else 0."""
    flipped = {
        case: float(0 < passed < n)
        for case, (passed, n) in counts_by_case(group.trials).items()
        if n > 1
    }
    return _by_case(flipped)


def passes(group: Group, metric: Metric) -> Sample:
    """Return one value per case for ``pass_at_3`` or ``pass_hat_3``.

    Cases with fewer trials are left out.
    """
    match = PASSES.match(metric.path)
    assert match is not None
    k, statistic = int(match[2]), pass_at_k if match[1] == "at" else pass_hat_k
    counts = counts_by_case(group.trials).items()
    return _by_case({case: statistic(passed, n, k) for case, (passed, n) in counts if 1 <= k <= n})


def _by_case(values: Mapping[str, float]) -> Sample:
    # RATE is safe: values between 0 and 1 never vary more than zeros and ones with the same mean.
    return Sample(np.array(list(values.values())), np.arange(len(values)), tuple(values), RATE)


def failing_cases(trials: Iterable[Trial], needed: int) -> list[str]:
    """Return the cases of which fewer than ``needed`` trials passed."""
    return [case for case, (passed, _) in counts_by_case(trials).items() if passed < needed]


def parse_pass_if(text: str, trials: int) -> int:
    """Read from ``"8/10"`` how many trials must pass.

    Args:
        text: as the user wrote it.
        trials: number of trials of every case.

    Raises:
        ValueError: the text has another form, or does not fit the number of trials.
    """
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if match is None:
        raise ValueError(f"pass_if={text!r} is not of the form '8/10'")
    needed, total = int(match[1]), int(match[2])
    if total != trials:
        raise ValueError(f"pass_if={text!r} speaks of {total} trials, but trials={trials}")
    if not 1 <= needed <= total:
        raise ValueError(f"pass_if={text!r}: needs between 1 and {total} of {total} trials")
    return needed
