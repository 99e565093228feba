"""Tests of `pytest_crucible.report.lines`."""

from __future__ import annotations

import pytest

from pytest_crucible.analysis.run_comparison import WORST_FIRST
from pytest_crucible.report.lines import STYLES, has_sparklines
from pytest_crucible.stats import verdict


def test_every_verdict_has_a_style() -> None:
    """A verdict without one would end the summary with a KeyError."""
    assert set(STYLES) == {*WORST_FIRST, *verdict.WORST_FIRST}
    assert set(STYLES.values()) <= {"green", "red", "yellow", "bold", ""}


@pytest.mark.parametrize(
    ("encoding", "there"),
    [(None, True), ("UTF-8", True), ("utf_8", True), ("cp1252", False), ("ascii", False)],
)
def test_sparklines_need_their_characters(encoding: str | None, there: bool) -> None:
    """Windows consoles of old and logs in ASCII do not have them."""
    assert has_sparklines(encoding) is there
