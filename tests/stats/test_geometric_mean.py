"""The geometric mean of ratios, as benchstat prints it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.stats.geometric_mean import geometric_mean_ratio

OLD = (
    46.55, 44.35, 41.05, 41.05, 237.5, 235.5, 452.5, 444.0, 1701, 1776, 15010, 14450,
    16.50, 17.20, 17.45, 19.75, 40.15, 41.90, 65.50, 70.10, 162.0, 169.5, 1220, 1268,
    36.40, 34.80, 90.35, 91.40, 1129, 1127, 2256, 2155, 9033, 8858, 73130, 70030,
)  # fmt: skip
NEW = (
    44.40, 44.35, 42.45, 41.90, 56.75, 57.15, 94.90, 93.20, 298.0, 298.0, 2145, 2163,
    16.30, 17.35, 17.45, 19.35, 39.85, 41.95, 66.30, 68.55, 157.0, 161.0, 1218, 1220,
    35.60, 35.55, 87.55, 87.65, 1073, 1183, 2347, 2361, 8964, 8986, 73210, 73800,
)  # fmt: skip
"""Medians in ns of benchstat's own example, CRC32 without and with hardware acceleration."""

values = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(1e-6, 1e6), min_size=1)


def named(numbers: tuple[float, ...]) -> dict[str, float]:
    return {f"crc {i}": number for i, number in enumerate(numbers)}


def test_benchstats_own_example() -> None:
    """36 benchmarks, geomean 344.5 ns and 237.5 ns: −31.05 %."""
    found = geometric_mean_ratio(named(OLD), named(NEW))
    assert found is not None
    assert found.n == 36
    assert f"{found.change:+.2%}" == "-31.05%"


def test_what_one_side_lacks_is_left_out() -> None:
    """And so is what has no ratio; the names are told."""
    before = {"a": 1.0, "b": 2.0, "gone": 9.0, "zero": 0.0}
    after = {"a": 2.0, "b": 1.0, "zero": 3.0, "new": 1.0}
    found = geometric_mean_ratio(before, after)
    assert found is not None
    assert found.ratio == pytest.approx(1)
    assert found.n == 2
    assert found.left_out == ("gone", "zero", "new")
    assert geometric_mean_ratio({"a": 1.0}, {"b": 1.0}) is None
    assert geometric_mean_ratio({"a": 0.0}, {"a": math.inf}) is None


@given(values, st.floats(1e-3, 1e3))
def test_it_does_not_depend_on_the_side_or_the_unit(
    before: dict[str, float], factor: float
) -> None:
    """The ratio back is the inverse; a common factor is the ratio, in whatever unit."""
    after = {name: value * factor for name, value in before.items()}
    there, back = geometric_mean_ratio(before, after), geometric_mean_ratio(after, before)
    assert there is not None
    assert back is not None
    assert there.ratio == pytest.approx(factor)
    assert there.ratio * back.ratio == pytest.approx(1)
