"""Claims trial by trial: which can be, what they bet on, in which order, when they are decided."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.family import CLAIM, OTHER, SUCCESS
from pytest_crucible.stats.live_claims import (
    Begun,
    Claimed,
    Ended,
    LiveClaim,
    LiveClaims,
    Part,
    kind_of,
    levels_at_most,
    live_metric,
)
from pytest_crucible.stats.verdict import INCONCLUSIVE
from tests.stats.test_sequential import arm, verdict

DECLARED = Catalog([
    Metric("grade", range=(1, 5)),
    Metric("words", range=(0, None)),
    Metric("f1", formula="tp / fp"),
])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("success_rate > 0.9", True),
        ("b.success_rate > a - 0.05", True),
        ("score > 0.5", True),
        ("score.mean > 0.5", True),
        ("score.p50 > 0.5", True),
        ("grade > 3", True),
        ("b.grade > a", True),
        ("latency.p95 < 100", True),
        ("latency.mean < 100", False),
        ("b.latency.p95 < a", False),
        ("words.mean < 10", False),
        ("words.p95 < 10", True),
        ("score.max > 0.5", False),
        ("loss.last < 0.5", False),
        ("cost.total < 3", False),
        ("f1 > 0.5", False),
        ("flip_rate < 0.1", False),
        ("pass_at_2 > 0.5", False),
    ],
)
def test_which_claims_can_be_judged_trial_by_trial(text: str, can: bool) -> None:
    assert (live_metric(parse(text, ["a", "b"]), DECLARED) is not None) == can


def claim(text: str, level: float = 0.05, condition: str = "default") -> LiveClaim:
    expectation = parse(text, ["a", "b"] if condition != "default" else [condition])
    metric = live_metric(expectation, DECLARED)
    assert metric is not None
    return LiveClaim(expectation, condition, metric, level)


@given(st.text("pf", min_size=1, max_size=60), st.sampled_from([">", "<", ">=", "<="]))
@pytest.mark.parametrize("metric", ["success_rate {} 0.7", "latency.p50 {} 4", "latency.p50 {} 5"])
def test_what_is_decided_here_is_decided_at_the_end(
    metric: str, outcomes: str, comparison: str
) -> None:
    """The same bets: neither side decides without the other."""
    text = metric.format(comparison)
    subject = arm(outcomes)
    live = claim(text)
    found = live.parts(subject.group)
    for at in range(len(outcomes)):
        part = found[f"c{at}"]
        assert part is not None
        live.add({f"c{at}": part}, {})
    final, reason = verdict(text, subject)
    if reason is None or "early cases" not in reason:
        assert live.decided == (final != INCONCLUSIVE)


@given(st.text("pf", min_size=2, max_size=40), st.text("pf", min_size=2, max_size=40))
@pytest.mark.parametrize("text", ["b.success_rate > a", "b.success_rate > 0.9 * a - 0.05"])
def test_pairs_that_are_decided_here_are_decided_at_the_end(
    text: str, first: str, second: str
) -> None:
    n = min(len(first), len(second))
    arms = arm(first[:n], "a"), arm(second[:n], "b")
    live = claim(text, 0.025, "b")
    own, other = (live.parts(each.group) for each in reversed(arms))
    for at in range(n):
        live.add({"c": own[f"c{at}"] or (0, 0.0)}, {"c": other[f"c{at}"] or (0, 0.0)})
    final, reason = verdict(text, *arms)
    if reason is None or "early cases" not in reason:
        assert live.decided == (final != INCONCLUSIVE)


def test_values_outside_a_range_are_told() -> None:
    """An undeclared score above 1 is none; a declared one counts by its way between its ends."""
    assert claim("score > 0.5").parts(arm("pp", score=3.0).group) == {"c0": None, "c1": None}
    assert claim("grade > 3").parts(arm("p", grade=3.0).group) == {"c0": (1, 0.5)}
    assert claim("score > 0.5").parts(arm("p").group) == {}


# --- units, in order --------------------------------------------------------------------------


class Watched(LiveClaim):
    """A claim that tells what it bets on."""

    def __init__(self, text: str, condition: str = "default") -> None:
        plain = claim(text, 0.025, condition)
        super().__init__(plain.expectation, condition, DECLARED["success_rate"], 0.025)
        self.seen: list[tuple[dict[str, Part], dict[str, Part]]] = []

    def add(self, own, other) -> None:  # type: ignore[no-untyped-def]
        self.seen.append((dict(own), dict(other)))
        super().add(own, other)


ONE = "success_rate > 0.5"


def ended(case: str, trials: int = 1, inside: str | None = None, **more: object) -> Ended:
    given: dict[str, object] = {"condition": "default", "unit": case, **more}
    return Ended(
        str(given["condition"]), case, str(given["unit"]), 0, trials,
        {ONE: (trials, float(trials))}, inside,
    )  # fmt: skip


def cases(seen: Sequence[tuple[dict[str, Part], object]]) -> list[list[str]]:
    return [list(own) for own, _ in seen]


def test_units_wait_for_those_that_began_before_them() -> None:
    watched = Watched(ONE)
    live = LiveClaims([watched], {"x": 1, "y": 1, "z": 1})
    for at, unit in enumerate("xyz"):
        live.begin(Begun(unit, at, f"gw{at}"))
    live.add(ended("z"))
    live.add(ended("y"))
    assert watched.seen == []
    live.add(ended("x"))
    assert cases(watched.seen) == [["x"], ["y"], ["z"]]


def test_a_unit_is_complete_with_all_its_trials() -> None:
    watched = Watched(ONE)
    live = LiveClaims([watched], {"x": 2})
    for at in range(2):
        assert watched.seen == []
        live.begin(Begun("x", at, "main"))
        live.add(ended("x"))
    assert [own for own, _ in watched.seen] == [{"x": (2, 2.0)}]


def test_a_unit_that_two_processes_share_does_not_hold_up_the_others() -> None:
    """Until the other process begins its part, it has not begun; then it is the last."""
    watched = Watched(ONE)
    live = LiveClaims([watched], {"x": 2, "y": 1, "z": 1})
    live.begin(Begun("x", 0, "gw1", split=True))
    live.begin(Begun("y", 1, "gw0"))
    live.add(ended("y"))
    assert cases(watched.seen) == [["y"]]
    live.begin(Begun("z", 2, "gw1"))
    live.begin(Begun("x", 3, "gw0", split=True))
    live.add(ended("x"))
    live.add(ended("x"))
    assert cases(watched.seen) == [["y"]]
    live.add(ended("z"))
    assert cases(watched.seen) == [["y"], ["z"], ["x"]]


def test_a_trial_that_begins_again_is_no_new_unit() -> None:
    watched = Watched(ONE)
    live = LiveClaims([watched], {"x": 1})
    live.begin(Begun("x", 0, "main"))
    live.add(ended("x"))
    live.begin(Begun("x", 1, "main"))
    assert cases(watched.seen) == [["x"]]


def test_blocks_are_complete_when_the_loop_goes_on() -> None:
    """Only then is it known that no more cases of a cluster come; the test around is no trial."""
    watched = Watched(ONE)
    live = LiveClaims([watched], {"test": 1}, ["default"])
    live.begin(Begun("test", 0, "main"))
    live.add(ended("x", inside="test", unit="cluster k"))
    live.add(ended("y", inside="test", unit="cluster k"))
    assert watched.seen == []
    live.add(ended("z", inside="test"))
    assert cases(watched.seen) == [["x", "y"]]


def test_blocks_of_arms_wait_for_all_arms() -> None:
    text = "b.success_rate > a"
    watched = Watched(text, "b")
    live = LiveClaims([watched], {}, ["a", "b"])
    for condition in ("a", "b"):
        for case in "xyz":
            part = {text: (1, 1.0)}
            live.add(Ended(condition, case, case, 0, 1, part, "test"))
    assert watched.seen == [({"x": (1, 1.0)}, {"x": (1, 1.0)}), ({"y": (1, 1.0)}, {"y": (1, 1.0)})]


def test_values_outside_a_range_are_hopeless() -> None:
    sure = claim(ONE)
    for _ in range(20):
        sure.add({"y": (1, 1.0)}, {})
    live = LiveClaims([sure], {"x": 1})
    assert live.decided
    live.add(Ended("default", "x", "x", 0, 1, {ONE: None}))
    assert live.hopeless
    assert not live.decided


def test_without_claims_nothing_is_decided() -> None:
    """None of them is about an arm that there is."""
    assert not LiveClaims([], {}).decided


def test_units_without_values_say_nothing() -> None:
    """All trials of a case were skipped, or one arm has none."""
    plain, arms = claim(ONE), claim("b.success_rate > a", 0.05, "b")
    plain.add({"x": (0, 0.0)}, {})
    arms.add({"x": (1, 1.0)}, {"x": (0, 0.0)})
    assert not plain.decided
    assert not arms.decided


# --- levels -----------------------------------------------------------------------------------


def test_levels_are_never_larger_than_at_the_end() -> None:
    """Every claim, row and arm counts from the beginning."""
    one = Claimed([parse("success_rate > 0.9")], ["default"], 3)
    assert levels_at_most([one], 0)[CLAIM] == 0.05
    assert levels_at_most([one, one], 0)[CLAIM] == 0.025
    assert levels_at_most([one], 1) == pytest.approx(
        {CLAIM: 0.05 / 3, SUCCESS: 0.05 / 3, OTHER: 0.05 / 9}
    )
    arms = Claimed([parse("b.success_rate > a", ["a", "b"])], ["a", "b"], 3)
    assert list(arms.claims()) == [(arms.expectations[0], "b")]
    assert levels_at_most([arms], 0)[SUCCESS] == 0.0125
    assert kind_of(parse("b.score > a", ["a", "b"])) == OTHER
