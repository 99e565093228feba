"""Whole sessions of unchanged code: how often does anything turn them red?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.simulations.populations import only_at
from benchmarks.simulations.sessions import Cases, Design, result
from benchmarks.simulations.tables import FAMILIES, Table, Task, counted
from pytest_crucible.analysis.judging import judged
from pytest_crucible.stats.comparison import REGRESSED
from pytest_crucible.stats.comparison_options import MARGIN, Options
from pytest_crucible.stats.family import ALPHA
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.row_drafts import Draft, draft_rows
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.verdict import FATAL

RED = Table(FAMILIES, "sessions of unchanged code that turn red", most=ALPHA, answer="sessions")
TENFOLD = Table(
    FAMILIES,
    "a latency ten times as long that is found among other decisions",
    least=0.8,
    answer="sessions",
)
Designs = Callable[[np.random.Generator], Design]


def any_design(rng: np.random.Generator, most: int = 300) -> Design:
    """Draw any design."""
    return Design.drawn(rng, most)


def fixed(design: Design) -> Designs:
    """Return always the same design."""
    return lambda _: design


def drafts(
    design: Design,
    rng: np.random.Generator,
    arms: int,
    factor: float = 1.0,
    options: Options | None = None,
) -> list[Draft]:
    """Draft the rows of an experiment: every further arm, or the candidate, against the first.

    Args:
        design: of the experiment.
        rng: source of random numbers.
        arms: number of arms.
        factor: latency of the others, relative to the first.
        options: margin, and which metrics decide.
    """
    cases = Cases.of(design, rng)
    base = Subject(cases.arm("0", rng), {})
    rows = []
    for number in range(1, arms):
        if not design.paired:
            cases = Cases.of(design, rng)
        prefix = "case" if design.paired else f"other-{number}"
        arm = cases.arm(str(number), rng, factor, prefix=prefix)
        rows += draft_rows(base, Subject(arm, {}), options)
    return rows


def regressed(rows: Sequence[Draft]) -> list[str]:
    """Judge the rows that decide, as one family; return the metrics that regressed.

    The bounds of shares are only compared with the margin, which is all that this asks for.
    """
    levels = RowLevels.of(rows)
    deciding = [draft for draft in rows if draft.row.primary]
    margin = rows[0].row.margin
    with only_at(margin, -margin):
        judged_rows = judge_rows(deciding, levels)
    return [row.metric for row in judged_rows if row.verdict == REGRESSED]


def compared(
    experiments: int, arms: int, designs: Designs, rng: np.random.Generator, margin: float = MARGIN
) -> bool:
    """Simulate a comparison of several experiments: does any row regress?"""
    options = Options(margin=margin)
    return bool(
        regressed(
            [
                row
                for _ in range(experiments)
                for row in drafts(designs(rng), rng, arms, options=options)
            ]
        )
    )


def tenfold(others: int, sigma: float, rng: np.random.Generator) -> bool:
    """Simulate an experiment of six pairs that takes ten times as long, among unchanged ones."""
    slow = drafts(Design(6, 1.0, sigma), rng, 2, 10.0)
    slow = [draft for draft in slow if draft.row.metric == "latency"]
    rows = [row for _ in range(others) for row in drafts(Design(30), rng, 2)]
    rows = [row for row in rows if row.row.metric == "latency"]
    levels = RowLevels.of([*slow, *rows])
    return judge_rows(slow, levels)[0].verdict == REGRESSED


CLAIMS = (
    "success_rate > {rate}",
    "latency.p50 < {median}",
    "latency.mean < {mean}",
    "success_rate >= {rate}",
    "latency.p95 < {p95}",
)


def claimed(claims: int, designs: Designs, rng: np.random.Generator, arms: int = 1) -> bool:
    """Simulate a session whose claims all lie at the truth: is any REJECTED, or a row REGRESSED?

    With several arms, half of the claims are that the second is no worse than the first.
    """
    results = []
    for first in range(0, claims, len(CLAIMS)):
        design = designs(rng)
        design = replace(design, rate=min(design.rate, 0.98))  # no rate is above 1
        spread = np.hypot(design.sigma, design.sigma_case)
        truth = {
            "rate": design.rate,
            "median": 100.0,
            "mean": 100 * float(np.exp(spread**2 / 2)),
            "p95": 100 * float(np.exp(1.6448536 * spread)),
        }
        texts = [text.format(**truth) for text in CLAIMS[: claims - first]]
        cases = Cases.of(design, rng)
        groups = {str(arm): cases.arm(str(arm), rng) for arm in ("control", "other")[:arms]}
        if arms > 1:
            texts = [*texts[::2], "other.success_rate >= control", "other.latency.p50 <= control"]
        results.append(result(groups, texts))
    session = judged(results)
    return any(verdict.verdict in FATAL for each in session for verdict in each.verdicts) or any(
        row.primary and row.verdict == REGRESSED
        for each in session
        for rows in each.comparisons.values()
        for row in rows
    )


def tasks() -> Iterator[Task]:
    """Yield all sessions; the longest first."""
    small = partial(any_design, most=100)
    for experiments, arms, margin, runs in (
        (100, 2, MARGIN, 100),
        (100, 2, 0.0, 100),
        (30, 2, MARGIN, 100),
        (10, 6, MARGIN, 50),
        (1, 2, MARGIN, 500),
        (1, 2, 0.0, 500),
        (1, 6, MARGIN, 150),
        (1, 6, 0.0, 150),
    ):
        words = f"{_plural(experiments, 'experiment')}, {arms} arms, a mix"
        words += ", margin 0" if not margin else ""
        designs = any_design if experiments < 30 else small
        yield counted(
            RED, words, runs, partial(compared, experiments, arms, designs, margin=margin)
        )
    for design, runs in _designs():
        for margin in (MARGIN, 0.0):
            once = partial(compared, 1, 2, fixed(design), margin=margin)
            words = f"1 experiment, {design}" + (", margin 0" if not margin else "")
            yield counted(RED, words, runs, once)
    for n in (6, 10):
        once = partial(compared, 30, 2, fixed(Design(n)))
        yield counted(RED, f"30 experiments, {Design(n)}", 100, once)
    for claims, runs in ((100, 100), (10, 500), (1, 1_500)):
        yield counted(
            RED, f"{_plural(claims, 'claim')} at the truth", runs, partial(claimed, claims, small)
        )
    once = partial(claimed, 20, small, arms=2)
    yield counted(RED, "20 claims at the truth, 2 arms, with their rows", 80, once)
    for sigma in (0.1, 0.2, 0.3):
        for others, runs in ((0, 500), (9, 100), (99, 20)):
            what = f"6 pairs, σ {sigma:g}, {_plural(others + 1, 'decision')}"
            yield counted(TENFOLD, what, runs, partial(tenfold, others, sigma))


def _designs() -> Iterator[tuple[Design, int]]:
    for paired in (True, False):
        for n in (6, 10, 30, 100, 300):
            yield Design(n, paired=paired), 250
        yield Design(30, sigma=1.2, paired=paired), 250
        yield Design(30, rate=0.5, sigma=0.3, paired=paired), 250
        yield Design(20, repeats=5, paired=paired), 250


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
