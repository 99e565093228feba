"""What repeated trials of a case say: pass@k, pass^k, the flip rate, ``pass_if``."""

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
    """Per case: trials that passed, and trials that have an outcome."""
    found: dict[str, tuple[int, int]] = {}
    for trial in trials:
        if trial.outcome in SUCCESSES or trial.outcome in FAILURES:
            passed, n = found.get(trial.case, (0, 0))
            found[trial.case] = (passed + (trial.outcome in SUCCESSES), n + 1)
    return found


def pass_at_k(passed: int, n: int, k: int) -> float:
    """Probability that one of ``k`` trials passes: 1 − C(n−c, k)/C(n, k) (Chen et al. 2021)."""
    return 1.0 - math.comb(n - passed, k) / math.comb(n, k)


def pass_hat_k(passed: int, n: int, k: int) -> float:
    """Probability that all of ``k`` trials pass: C(c, k)/C(n, k) (Yao et al. 2024, τ-bench)."""
    return math.comb(passed, k) / math.comb(n, k)


def flips(group: Group, _: Metric) -> Sample:
    """Of each case with several trials: 1 if some passed and some failed."""
    found = {
        case: float(0 < passed < n)
        for case, (passed, n) in counts_by_case(group.trials).items()
        if n > 1
    }
    return _by_case(found)


def passes(group: Group, metric: Metric) -> Sample:
    """``pass_at_3``, ``pass_hat_3``: one value per case; cases with fewer trials are left out."""
    match = PASSES.match(metric.path)
    assert match is not None
    k, statistic = int(match[2]), pass_at_k if match[1] == "at" else pass_hat_k
    counts = counts_by_case(group.trials).items()
    return _by_case({case: statistic(passed, n, k) for case, (passed, n) in counts if 1 <= k <= n})


def _by_case(values: Mapping[str, float]) -> Sample:
    # Judged like rates: values between 0 and 1 never spread more than passes and failures with the
    # same mean.
    return Sample(np.array(list(values.values())), np.arange(len(values)), tuple(values), RATE)


def failing_cases(trials: Iterable[Trial], needed: int) -> list[str]:
    """The cases of which fewer than ``needed`` trials passed."""
    return [case for case, (passed, _) in counts_by_case(trials).items() if passed < needed]


def parse_pass_if(text: str, trials: int) -> int:
    """How many trials must pass, from ``"8/10"``.

    Raises:
        ValueError: one line that says what would be valid.
    """
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if match is None:
        raise ValueError(f"pass_if={text!r} is not of the form '8/10'")
    needed, of = int(match[1]), int(match[2])
    if of != trials:
        raise ValueError(f"pass_if={text!r} speaks of {of} trials, but trials={trials}")
    if not 1 <= needed <= of:
        raise ValueError(f"pass_if={text!r}: between 1 and {of} of {of} trials can be asked for")
    return needed
