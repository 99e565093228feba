"""Tests of `pytest_crucible.report.lines`."""

from __future__ import annotations

import pytest

from pytest_crucible.analysis.run_comparison import WORST_FIRST
from pytest_crucible.report.lines import STYLES, has_sparklines
from pytest_crucible.stats import expectations


def test_every_verdict_has_a_style() -> None:
    """A verdict without one would end the summary with a KeyError."""
    claims = {
        expectations.CONFIRMED, expectations.REJECTED, expectations.INCONCLUSIVE,
        expectations.ERRORED, expectations.NOT_RUN,
    }  # fmt: skip
    assert set(STYLES) == {*WORST_FIRST, *claims}
    assert set(STYLES.values()) <= {"green", "red", "yellow", "bold", ""}


@pytest.mark.parametrize(
    ("encoding", "there"),
    [(None, True), ("UTF-8", True), ("utf_8", True), ("cp1252", False), ("ascii", False)],
)
def test_sparklines_need_their_characters(encoding: str | None, there: bool) -> None:
    """Windows consoles of old and logs in ASCII do not have them."""
    assert has_sparklines(encoding) is there
