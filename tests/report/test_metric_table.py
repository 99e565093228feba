"""The catalogue as a table."""

from __future__ import annotations

from pytest_crucible.metrics.catalog import BUILT_IN, Metric
from pytest_crucible.report.metric_table import HEADER, metric_rows, metric_table


def test_a_row_says_what_the_catalogue_knows() -> None:
    """Unit, direction and range; whether it has an interval; whether it is compared."""
    rows = {row[0]: row[1:] for row in metric_rows(BUILT_IN.values())}
    assert rows["latency.p95"] == ["ms", "lower", "≥ 0", "yes", "yes"]
    assert rows["success_rate"] == ["%", "higher", "0 to 1", "yes", "yes"]
    assert rows["cost.total"] == ["$", "lower", "≥ 0", "a fact", "–"]
    assert rows["hedging.saved_ms.max"] == ["ms", "higher", "–", "a fact", "–"]
    assert rows["latency"][-1] == "only"


def test_ranges_may_be_open() -> None:
    """On either side."""
    (row,) = metric_rows([Metric("loss", range=(None, 1))])
    assert row[3] == "≤ 1"


def test_markdown_and_plain_hold_the_same() -> None:
    """Only the rules between the cells differ."""
    metrics = list(BUILT_IN.values())[:3]
    plain, markdown = (metric_table(metrics, style) for style in ("plain", "github"))
    assert plain.split() == [word for word in markdown.split() if not set(word) <= {"|", "-", ":"}]
    assert plain.splitlines()[0].split() == list(HEADER)
