"""The clock: times as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from pytest_crucible._clock import iso_from_us

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


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
    from pytest_crucible import _clock

    for second in range(5_000):
        iso_from_us(second * 1_000_000)
    assert len(_clock._seconds) <= 1024
