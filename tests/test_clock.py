"""The one clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_crucible import _clock
from pytest_crucible._clock import iso_from_us, monotonic_ns, wall_ns

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
CENTURY = 100 * 365 * 86400 * 1_000_000


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000+00:00"),
        (1, "1970-01-01T00:00:00.000001+00:00"),
        (-1, "1969-12-31T23:59:59.999999+00:00"),
        (1_763_900_000_123_456, "2025-11-23T12:13:20.123456+00:00"),
    ],
)
def test_moments_are_iso_8601_in_utc(time_us: int, text: str) -> None:
    """With all six digits, also where they are zeros, so that texts sort like times."""
    assert iso_from_us(time_us) == text


@given(st.integers(-CENTURY, CENTURY))
def test_no_microsecond_is_lost(time_us: int) -> None:
    """By way of a float some would be."""
    read = datetime.fromisoformat(iso_from_us(time_us))
    seconds = round((read.replace(microsecond=0)).timestamp())
    assert seconds * 1_000_000 + read.microsecond == time_us


def test_both_clocks_count_nanoseconds() -> None:
    """One since 1970, for when; the other, which never goes back, for how long."""
    assert abs(wall_ns() / 1e9 - datetime.now().timestamp()) < 60
    times = [monotonic_ns() for _ in range(1000)]
    assert times == sorted(times)


@given(st.datetimes(timezones=st.just(UTC)))
@example(FIRST)
@example(LAST)
@example(EPOCH - timedelta(microseconds=1))
def test_iso_times_are_those_of_datetime(moment: datetime) -> None:
    """Every microsecond of every year, before 1970 too."""
    time_us = (moment - EPOCH) // timedelta(microseconds=1)
    assert iso_from_us(time_us) == moment.isoformat(timespec="microseconds")


def test_texts_of_many_seconds_are_not_kept() -> None:
    """A run of days takes no more memory than one of minutes."""
    for second in range(5_000):
        iso_from_us(second * 1_000_000)
    assert len(_clock._seconds) <= 1024
