"""What repeated trials of a case say: pass@k, pass^k, the flip rate, ``pass_if``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from pytest_crucible.metrics.trials import FAILURES, SUCCESSES, Trial
from pytest_crucible.stats.samples import RATE, Sample

_PATH = re.compile(r"pass_(at|hat)_(\d+)$")
FLIP_RATE = "flip_rate"


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


def pass_statistic(trials: Iterable[Trial], path: str) -> Sample | None:
    """The sample, one value per case, behind ``pass_at_3``, ``pass_hat_3`` or ``flip_rate``.

    Cases with fewer than ``k`` trials are left out. None if the path is none of these. Judged like
    rates: values between 0 and 1 never spread more than passes and failures with the same mean.
    """
    match = _PATH.match(path)
    if match is None and path != FLIP_RATE:
        return None
    values: list[float] = []
    names: list[str] = []
    for case, (passed, n) in counts_by_case(trials).items():
        if match is None:
            if n > 1:
                names.append(case)
                values.append(float(0 < passed < n))
        elif 1 <= int(match[2]) <= n:
            statistic = pass_at_k if match[1] == "at" else pass_hat_k
            names.append(case)
            values.append(statistic(passed, n, int(match[2])))
    return Sample(np.array(values), np.arange(len(values)), tuple(names), RATE)


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
