"""The verdict on a change: its interval against the margin, and what is known of it if neither."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.stats.change import DIFFERENCE, RATIO, Change
from pytest_crucible.stats.comparison import (
    BETTER,
    CHANGED,
    DIFFERENT,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    REGRESSED,
    UNSEEN,
    WORSE,
    Comparison,
    limits_of,
    margin_size,
    with_verdict,
)

ALPHA = 0.05


def row(**more: object) -> Comparison:
    facts = {"metric": "m", "baseline": 10.0, "candidate": 11.0, "verdict": "", "better": "lower"}
    return Comparison(**{**facts, **more})  # type: ignore[arg-type]


def change(scale: str, low: float, high: float, *, alike: int | None = None) -> Change:
    middle = math.sqrt(low * high) if scale == RATIO and low > 0 else (low + high) / 2
    return Change(scale, middle, low, high, 0.5, 0.1, None, "by hand", (10,), alike=alike)


def judged(of: Comparison, low: float, high: float, alike: int | None = None) -> Comparison:
    return with_verdict(of, change(of.scale, low, high, alike=alike), ALPHA)


# --- verdicts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "lower", "higher", "nobody"),
    [
        (1.06, 1.2, REGRESSED, IMPROVED, CHANGED),
        (0.8, 0.94, IMPROVED, REGRESSED, CHANGED),
        (0.96, 1.04, EQUIVALENT, EQUIVALENT, EQUIVALENT),
        (1.01, 1.2, WORSE, BETTER, DIFFERENT),
        (1.051, 1.2, REGRESSED, IMPROVED, CHANGED),
        (1.0499, 1.2, WORSE, BETTER, DIFFERENT),
        (0.8, 0.99, BETTER, WORSE, DIFFERENT),
        (0.9, 1.2, UNSEEN, UNSEEN, UNSEEN),
        (1.0, 1.2, UNSEEN, UNSEEN, UNSEEN),
    ],
)
def test_ratios(low: float, high: float, lower: str, higher: str, nobody: str) -> None:
    """The interval beyond the margin, within it, or what it says if it is neither."""
    for better, expected in (("lower", lower), ("higher", higher), (None, nobody)):
        found = judged(row(scale=RATIO, better=better), low, high)
        named = found.open if found.verdict == INCONCLUSIVE else found.verdict
        assert named == expected, better


@given(st.floats(0.3, 3), st.floats(0, 1), st.floats(0, 0.5), st.sampled_from([RATIO, DIFFERENCE]))
def test_a_verdict_is_what_the_interval_shows(
    low: float, width: float, margin: float, scale: str
) -> None:
    """Whoever reads the interval and the margin comes to the verdict; only one fits."""
    low = low if scale == RATIO else low - 1.5
    found = judged(row(scale=scale, margin=margin, absolute=True), low, low + width)
    lower, upper = limits_of(found)
    same = 1.0 if scale == RATIO else 0.0
    expected = {
        REGRESSED: low > upper,
        IMPROVED: low + width < lower,
        EQUIVALENT: lower < low and low + width < upper,
    }
    true = [verdict for verdict, holds in expected.items() if holds]
    assert [found.verdict] == (true or [INCONCLUSIVE])
    assert (found.open is not None) == (found.verdict == INCONCLUSIVE)
    if found.open is not None:
        assert (found.open == UNSEEN) == (low <= same <= low + width)


@pytest.mark.parametrize("alike", [6, 71, 72, 1_000])
@pytest.mark.parametrize("scale", [RATIO, DIFFERENCE])
def test_what_never_varied_may_still_vary(scale: str, alike: int) -> None:
    """72 pairs that are all alike leave less than 5 % of cases that could differ; 71 do not."""
    same = 1.0 if scale == RATIO else 0.0
    found = judged(row(scale=scale, absolute=True), same, same, alike)
    assert (found.verdict == EQUIVALENT) == (alike >= 72)


def test_nothing_changed_from_nothing() -> None:
    """0 against 0, certain: EQUIVALENT, although no interval lies within 5 % of 0.

    Not if the margin itself is 0: then nothing is.
    """
    assert judged(row(scale=DIFFERENCE, baseline=0.0), 0.0, 0.0).verdict == EQUIVALENT
    found = judged(row(scale=DIFFERENCE, baseline=0.0, margin=0.0), 0.0, 0.0)
    assert (found.verdict, found.open) == (INCONCLUSIVE, UNSEEN)


# --- margins ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "limits"),
    [
        ({"scale": RATIO, "margin": 0.25}, (0.8, 1.25)),
        ({"scale": DIFFERENCE, "absolute": True, "margin": 0.05}, (-0.05, 0.05)),
        ({"scale": DIFFERENCE, "width": 5.0, "margin": 0.05}, (-0.25, 0.25)),
        ({"scale": DIFFERENCE, "width": 5.0, "absolute": True, "margin": 0.05}, (-0.05, 0.05)),
        ({"scale": DIFFERENCE, "baseline": -40.0, "margin": 0.05}, (-2.0, 2.0)),
        ({"scale": DIFFERENCE, "baseline": 0.0, "margin": 0.05}, (0.0, 0.0)),
        ({"scale": DIFFERENCE, "baseline": None, "margin": 0.05}, (0.0, 0.0)),
    ],
)
def test_limits(facts: dict[str, object], limits: tuple[float, float]) -> None:
    """A ratio, a unit, a share of the range, or relative to the size of the baseline."""
    assert limits_of(row(**facts)) == pytest.approx(limits)
    if row(**facts).scale == DIFFERENCE:
        assert margin_size(row(**facts)) == pytest.approx(limits[1])


def test_a_rise_and_its_undoing_have_one_margin() -> None:
    """+5 % and back are both just at the margin of a ratio; −4.9 % is beyond it."""
    lower, upper = limits_of(row(scale=RATIO, margin=0.05))
    assert lower * upper == pytest.approx(1)
    assert lower > 0.951
