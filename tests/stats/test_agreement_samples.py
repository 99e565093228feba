"""Agreement as a metric: jackknife values per case, their interval, claims and comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_crucible.events.event import RECORD
from pytest_crucible.metrics.agreement import Ratings
from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.declared import declared
from pytest_crucible.metrics.formula import ALPHA, ALPHA_INTERVAL, ALPHA_ORDINAL, KAPPA
from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.stats.agreement_samples import agreement_sample, sample_of_ratings
from pytest_crucible.stats.comparison import EQUIVALENT, INCONCLUSIVE, REGRESSED, Comparison
from pytest_crucible.stats.expectations import claims_of, judge_claim
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.formula_samples import formula_bounds
from pytest_crucible.stats.judged_rows import RowLevels
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.verdict import CONFIRMED, REJECTED
from pytest_crucible.stats.verdict import INCONCLUSIVE as OPEN
from tests.made_events import event
from tests.stats.support import Floats, cases, compare_subjects, events, group

CATALOG = Catalog(declared({"kappa": Metric(formula="kappa(judge, human)")}))


def recorded(judge: Floats, human: Floats, trials: int = 1, **more: object) -> Group:
    numbers = {"judge": judge.tolist(), "human": human.tolist()}
    return group(events(cases(len(judge) // trials, "p" * trials), numbers, **more))


def subject(each: Group) -> Subject:
    return Subject(each, dict(flatten(summarise(each, CATALOG))), CATALOG)


def labels(
    rng: np.random.Generator, n: int, kappa: float, share: float = 0.5
) -> tuple[Floats, Floats]:
    """Two raters of this kappa: a share of labels is copied, the others are drawn anew."""
    human = rng.random(n) < share
    judge = np.where(rng.random(n) < kappa, human, rng.random(n) < share)
    return judge.astype(float), human.astype(float)


def judged(each: Subject, claim: str) -> str:
    (found,) = claims_of(parse(claim, ["default"]), {"default": each})
    return judge_claim(found, RowLevels.of((), [found.decision])).verdict


# --- from the record to the verdict -----------------------------------------------------------


def test_a_declared_agreement_is_a_metric() -> None:
    """It has a range and a direction by itself, a value in the summary, and an interval."""
    metric = CATALOG["kappa"]
    assert (metric.range, metric.better) == ((-1, 1), "higher")
    each = subject(recorded(*labels(np.random.default_rng(1), 100, 0.8)))
    found = each.estimate("kappa")
    assert found.value is not None
    assert found.value == pytest.approx(each.numbers["kappa"])
    assert found.low is not None
    assert found.high is not None
    assert 0.5 < found.low < found.value < found.high < 0.95


def test_claims_about_agreement() -> None:
    """``kappa > 0.6`` is CONFIRMED, REJECTED or open, as its bounds say."""
    rng = np.random.default_rng(2)
    good, bad, few = (
        subject(recorded(*labels(rng, n, kappa)))
        for n, kappa in ((200, 0.9), (200, 0.2), (15, 0.7))
    )
    assert [judged(each, "kappa > 0.6") for each in (good, bad, few)] == [CONFIRMED, REJECTED, OPEN]


def row(before: Subject, after: Subject) -> Comparison:
    (found,) = (each for each in compare_subjects(before, after) if each.metric == "kappa")
    return found


def test_agreements_are_compared_case_by_case() -> None:
    """A worse judge is REGRESSED, the same one EQUIVALENT, a few cases leave it open."""
    rng = np.random.default_rng(3)
    judge, human = labels(rng, 300, 0.9)
    before = subject(recorded(judge, human))
    worse = np.where(rng.random(300) < 0.5, judge, rng.random(300) < 0.5).astype(float)
    assert row(before, subject(recorded(worse, human))).verdict == REGRESSED
    assert row(before, before).verdict == EQUIVALENT
    few = subject(recorded(judge[:20], human[:20]))
    assert row(few, subject(recorded(worse[:20], human[:20]))).verdict == INCONCLUSIVE


def test_a_part_may_be_labelled() -> None:
    """People label some of the cases: the others count for nothing, and forbid no verdict."""
    judge, human = labels(np.random.default_rng(4), 200, 0.95)
    whole = cases(300)
    numbers = {"judge": [*judge.tolist(), *([1.0] * 100)], "human": human.tolist()}
    some = subject(group(events(whole, numbers)))
    assert some.estimate("kappa").value == subject(recorded(judge, human)).estimate("kappa").value
    assert judged(some, "kappa > 0.8") == CONFIRMED
    assert row(some, some).verdict == EQUIVALENT


def test_trials_of_a_case_are_one() -> None:
    """Five alike trials of each case make nothing more certain."""
    judge, human = labels(np.random.default_rng(5), 40, 0.7)
    one = agreement_sample(recorded(judge, human), CATALOG["kappa"])
    five = recorded(np.repeat(judge, 5), np.repeat(human, 5), trials=5)
    repeated = agreement_sample(five, CATALOG["kappa"])
    assert repeated.n == one.n == 40
    assert repeated.mean() == pytest.approx(one.mean())
    assert formula_bounds(repeated, 0.025, 0.025) == pytest.approx(
        formula_bounds(one, 0.025, 0.025), abs=1e-6
    )


def test_clusters_of_cases_widen_the_interval() -> None:
    """Ten alike cases of each document are worth one."""
    judge, human = labels(np.random.default_rng(6), 30, 0.7)
    alone = subject(recorded(judge, human)).estimate("kappa")
    many = recorded(np.repeat(judge, 10), np.repeat(human, 10))
    bare = subject(many).estimate("kappa")
    many.clusters.update({f"c{i}": f"document {i // 10}" for i in range(300)})
    clustered = subject(many).estimate("kappa")
    widths = [each.high - each.low for each in (alone, bare, clustered)]  # type: ignore[operator]
    assert widths[1] < widths[0] / 2
    assert widths[2] > 0.95 * widths[0]


# --- why there is none ------------------------------------------------------------------------


def test_why_there_is_no_value_or_no_interval() -> None:
    """In words."""
    nobody = agreement_sample(group(events(cases(2), {"judge": [1, 0]})), CATALOG["kappa"])
    assert (nobody.n, nobody.refusal, nobody.absent) == (0, "nobody recorded human", True)
    alike = agreement_sample(recorded(np.ones(9), np.ones(9)), CATALOG["kappa"])
    assert (alike.n, alike.absent) == (0, False)
    assert alike.refusal == "all labels are alike: agreement by chance is certain"
    single = agreement_sample(recorded(np.array([1, 0.0]), np.array([1, 0.0]), 2), CATALOG["kappa"])
    assert (single.mean(), single.refusal) == (1, "one case: it says nothing about other cases")
    last = np.array([0.0] * 9 + [1])
    assert agreement_sample(recorded(last, last), CATALOG["kappa"]).refusal == (
        "too few cases: without one of them it has no value"
    )
    rare = np.array([0.0] * 17 + [1] * 3)
    assert agreement_sample(recorded(rare, rare), CATALOG["kappa"]).refusal == (
        "too few: only about 3 cases have another label than 0, 5 needed"
    )


def test_labels_that_nobody_can_match_give_a_reason() -> None:
    """And labels outside cases belong together by their order."""
    pairs = labels(np.random.default_rng(7), 40, 0.8)
    loose = [
        event(RECORD, {"judge": float(a), "human": float(b)}) for a, b in zip(*pairs, strict=True)
    ]  # fmt: skip
    found = agreement_sample(group(loose), CATALOG["kappa"])
    assert found.mean() == pytest.approx(subject(recorded(*pairs)).numbers["kappa"])
    assert found.cases is None
    assert found.n == 40
    torn = agreement_sample(group([*loose, event(RECORD, {"judge": 1})]), CATALOG["kappa"])
    assert torn.refusal == "one trial recorded judge 41 and human 40 times: which belong together?"
    assert "kappa" not in summarise(group([*loose, event(RECORD, {"judge": 1})]), CATALOG).custom
    mixed = [*loose, *events(cases(3), {"judge": [1, 0, 1], "human": [1, 0, 0]})]
    both = agreement_sample(group(mixed), CATALOG["kappa"])
    assert both.n == 43
    assert both.names[-1] == "outside trials 39"


# --- simulated --------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 0.6, 0.95])
@pytest.mark.parametrize(("n", "share"), [(30, 0.5), (30, 0.2), (100, 0.1)])
def test_intervals_hold_kappa(n: int, share: float, kappa: float) -> None:
    """At least 93 % hold the truth, with rare labels, too; 150 runs allow 4 % of luck."""
    rng = np.random.default_rng([n, int(100 * share), int(100 * kappa)])
    held = runs = 0
    while runs < 150:
        values = np.array(labels(rng, n, kappa, share)).T
        sample = sample_of_ratings(Ratings.of(KAPPA, values, np.arange(n)))
        if sample.refusal is None:
            low, high = formula_bounds(sample, 0.025, 0.025)
            held += low <= kappa <= high
            runs += 1
    assert held >= (0.93 - 0.04) * runs


@pytest.mark.parametrize("kind", [ALPHA, ALPHA_ORDINAL, ALPHA_INTERVAL])
@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_intervals_hold_alpha(kind: str, alpha: float) -> None:
    """Three raters of 40 cases with labels missing, some of them far off."""
    rng = np.random.default_rng([int(100 * alpha), len(kind)])
    shares = (0.2, 0.3, 0.3, 0.2)
    held = 0
    for _ in range(100):
        truth = rng.choice(4, 40, p=shares)
        other = rng.choice(4, (40, 3), p=shares)
        values = np.where(rng.random((40, 3)) < alpha**0.5, truth[:, None], other).astype(float)
        values[rng.random(values.shape) < 0.15] = np.nan
        sample = sample_of_ratings(Ratings.of(kind, values, np.arange(40)))
        low, high = formula_bounds(sample, 0.025, 0.025)
        held += low <= alpha <= high
    assert held >= 89


def test_complete_agreement_is_no_certainty() -> None:
    """The rarer the other label, the less complete agreement says about kappa."""
    lows = []
    for rare in (50, 20, 6):
        both = np.array([0.0] * (100 - rare) + [1] * rare)
        sample = sample_of_ratings(Ratings.of(KAPPA, np.array([both, both]).T, np.arange(100)))
        low, high = formula_bounds(sample, 0.025, 0.025)
        assert high == 1
        lows.append(low)
    assert lows[0] == pytest.approx(2 * 0.025 ** (1 / 100) - 1)
    assert lows[0] > lows[1] > lows[2] > 0
