"""The sketch: every quantile within its bound, merged or not, in memory that does not grow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.capture.sketch import MAX_BUCKETS, RELATIVE_ERROR, Sketch

SHARES = (0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0)
NUMBERS = st.lists(
    st.floats(-1e12, 1e12, allow_subnormal=False) | st.sampled_from([0.0, 1.0, 7.5]),
    min_size=1,
    max_size=200,
)


def sketch_of(values: list[float], relative_error: float = RELATIVE_ERROR) -> Sketch:
    sketch = Sketch(relative_error)
    for value in values:
        sketch.add(value)
    return sketch


def bound(values: list[float], share: float, relative_error: float) -> float:
    """How wrong a quantile between two neighbours may be: each neighbour by its own error."""
    ordered, rank = sorted(values), share * (len(values) - 1)
    low, rest = int(rank), rank - int(rank)
    high = min(low + 1, len(values) - 1)
    sizes = (1 - rest) * abs(ordered[low]) + rest * abs(ordered[high])
    return relative_error * sizes * (1 + 1e-9) + 1e-290


@given(NUMBERS, st.sampled_from([0.01, 0.05]))
@settings(max_examples=80)
def test_quantiles_are_within_the_relative_error(values: list[float], error: float) -> None:
    """Whatever the numbers and their signs, NumPy's quantiles are met within the bound."""
    found = sketch_of(values, error).quantiles(SHARES)
    for share, estimate, exact in zip(SHARES, found, np.quantile(values, SHARES), strict=True):
        assert abs(estimate - exact) <= bound(values, share, error)


@given(NUMBERS, NUMBERS, NUMBERS)
@settings(max_examples=40)
def test_merging_is_the_sketch_of_all_numbers(
    a: list[float], b: list[float], c: list[float]
) -> None:
    """In whatever order parts are merged, the buckets are those of all numbers together."""
    whole = sketch_of(a + b + c)
    forward, backward = sketch_of(a), sketch_of(c)
    for more in (b, c):
        forward.merge(sketch_of(more))
    for more in (b, a):
        backward.merge(sketch_of(more))
    for merged in (forward, backward):
        assert (merged.above, merged.below) == (whole.above, whole.below)
        assert (merged.zeros, merged.count) == (whole.zeros, whole.count)


def test_weight_counts_a_number_so_often() -> None:
    """A number of weight 9 is as good as nine of them."""
    weighted, plain = Sketch(), sketch_of([1.0] * 9 + [100.0])
    weighted.add(1.0, 9.0)
    weighted.add(100.0)
    assert weighted.quantiles(SHARES) == plain.quantiles(SHARES)


def test_memory_is_bounded_and_large_numbers_stay_right() -> None:
    """Numbers over all sizes a float can have fill no more buckets; the large end stays exact."""
    values = [10.0**exponent for exponent in np.linspace(-290, 290, 20_000)]
    sketch = sketch_of(values)
    assert MAX_BUCKETS // 2 < len(sketch.above) <= MAX_BUCKETS
    assert sketch.quantiles([0.99])[0] == pytest.approx(np.quantile(values, 0.99), rel=0.01)


def test_nothing_has_no_quantile_and_errors_do_not_mix() -> None:
    """An empty sketch, and two of different precision, are refused."""
    with pytest.raises(ValueError, match="without numbers"):
        Sketch().quantiles([0.5])
    with pytest.raises(ValueError, match=r"sketches of 0\.01 and 0\.05 do not merge"):
        Sketch(0.01).merge(Sketch(0.05))
