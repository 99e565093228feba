"""How often the 95 % interval of an agreement of raters holds the true value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from benchmarks.simulations.intervals import covered, rows_of
from benchmarks.simulations.populations import Floats
from benchmarks.simulations.tables import Row, Task
from pytest_crucible.metrics.agreement import Ratings
from pytest_crucible.metrics.formula import ALPHA, ALPHA_INTERVAL, ALPHA_ORDINAL, KAPPA
from pytest_crucible.stats.agreement_samples import sample_of_ratings

_MISSING = 0.15


def labels(
    rng: np.random.Generator, n: int, shares: Sequence[float], agreement: float, raters: int
) -> Floats:
    """Draw labels: each rater copies the truth, or draws one; shape ``(n, raters)``."""
    truth = rng.choice(len(shares), n, p=shares)
    drawn = rng.choice(len(shares), (n, raters), p=shares)
    if raters == 2:  # kappa = the share of labels that the second copies from the first
        copied = rng.random(n) < agreement
        return np.stack([truth, np.where(copied, truth, drawn[:, 1])], axis=1).astype(np.float64)
    copied = rng.random((n, raters)) < np.sqrt(agreement)
    found = np.where(copied, truth[:, None], drawn).astype(np.float64)
    found[rng.random(found.shape) < _MISSING] = np.nan
    return found


def agreement_covered(
    kind: str,
    n: int,
    shares: Sequence[float],
    agreement: float,
    what: str,
    rng: np.random.Generator,
    runs: int,
) -> Iterable[Row]:
    """Simulate intervals of kappa, or of alpha of three raters with labels missing."""
    found = []
    for _ in range(runs):
        values = labels(rng, n, shares, agreement, 2 if kind == KAPPA else 3)
        drawn = sample_of_ratings(Ratings.of(kind, values, np.arange(n)))
        found.append((None, False) if drawn.refusal else covered(drawn, agreement))
    yield from rows_of(what, found)


def tasks() -> Iterator[Task]:
    """Yield all agreements."""
    for shares in ((0.5, 0.5), (0.8, 0.2), (0.9, 0.1), (0.5, 0.3, 0.2)):
        for n in (20, 30, 60, 100, 300):
            for agreement in (0.0, 0.6, 0.9):
                named = "/".join(f"{100 * share:g}" for share in shares)
                what = f"kappa {agreement:g}, labels {named}, n = {n}"
                run = partial(agreement_covered, KAPPA, n, shares, agreement, what)
                yield Task(what, 300, run)
    for kind in (ALPHA, ALPHA_ORDINAL, ALPHA_INTERVAL):
        for n in (20, 60, 150):
            for agreement in (0.3, 0.8):
                what = f"{kind} {agreement:g}, three raters, labels missing, n = {n}"
                run = partial(agreement_covered, kind, n, (0.2, 0.3, 0.3, 0.2), agreement, what)
                yield Task(what, 200, run)
