"""Text of others: one line, and nothing that a terminal obeys."""

from __future__ import annotations

import pytest

from pytest_crucible._text import one_line
from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.ensembles import HedgingMetrics, ModelCalls
from pytest_crucible.report import ensembles


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred", "[31mred"),
        ("naïve 🧪", "naïve 🧪"),
    ],
)
def test_one_line(given: str, shown: str) -> None:
    assert one_line(given) == shown


def _metrics(winner_share: dict[str, float]) -> HedgingMetrics:
    return HedgingMetrics(
        requests=1,
        duplicated=0,
        rate=0.0,
        backup_share=None,
        winner_share=winner_share,
        duplication_cost_usd=None,
        saved_ms=Distribution(),
    )


def test_models_and_winners_cannot_command_a_terminal() -> None:
    """Their names come from events."""
    hostile = "m\x1b[2J\n"
    assert ensembles._rows("hedging", {hostile: ModelCalls(calls=1)})[0][1] == "m [2J"
    line = ensembles._hedging(_metrics({hostile: 1.0}))
    assert line == "hedging: 0 of 1 request sent twice · won by m [2J 100 %"
