"""How to compare: which margin a metric has, which direction is good, and who decides."""

from __future__ import annotations

import pytest

from pytest_crucible.metrics.catalog import PLAIN, Metric
from pytest_crucible.stats.comparison_options import PRIMARY, Options, row_of, rows_of

SCORE = Metric("score.mean", range=(0, 1), margin=0.02)
LENGTH = Metric("length.mean", range=(0, None), margin=0.02)


@pytest.mark.parametrize(
    ("options", "metric", "expected"),
    [
        (Options(), PLAIN["latency"], (0.05, False)),
        (Options(margin=0.1), PLAIN["latency"], (0.1, False)),
        (Options(), SCORE, (0.02, True)),
        (Options(margin=0.1), SCORE, (0.02, True)),
        (Options(margins={"score": 0.3}), SCORE, (0.3, True)),
        (Options(margins={"score.mean": 0.3}), SCORE, (0.3, True)),
        (Options(margins={"score.p50": 0.3, "scores": 0.3}), SCORE, (0.02, True)),
        (Options(margins={"score": 0.0}), SCORE, (0.0, True)),
        (Options(), LENGTH, (0.02, False)),
        (Options(margins={"latency": 0.3}), PLAIN["latency.p95"], (0.3, False)),
        (Options(margins={"latency.p95": 0.3}), PLAIN["latency"], (0.05, False)),
    ],
)
def test_margins(options: Options, metric: Metric, expected: tuple[float, bool]) -> None:
    """That of ``margins`` by path or name, else of the metric, else of all; 0 is a margin, too."""
    assert options.margin_of(metric) == expected


def test_directions() -> None:
    """That of the user, by path or name, else of the catalogue; nobody's is None."""
    assert Options().better_of(PLAIN["latency"]) == "lower"
    assert Options().better_of(PLAIN["success_rate"]) == "higher"
    assert Options().better_of(PLAIN["my_number.mean"]) is None
    told = Options(better={"my_number": "lower", "latency": "higher"})
    assert told.better_of(PLAIN["my_number.mean"]) == "lower"
    assert told.better_of(PLAIN["latency.p95"]) == "higher"


@pytest.mark.parametrize(
    ("options", "deciding"),
    [
        (Options(), {"success_rate", "latency", "cost"}),
        (Options(primary=("latency.p95",)), {"success_rate", "latency.p95"}),
        (Options(primary=("latency.p50",)), {"success_rate", "latency"}),
        (Options(primary=("score",)), {"success_rate", "score.mean"}),
        (Options(primary=("score.mean", "tokens.total")), {"success_rate", "score.mean", "tokens"}),
        (Options(every=True),
         {"success_rate", "latency", "latency.p95", "cost", "tokens", "score.mean"}),
    ],
)  # fmt: skip
def test_who_decides(options: Options, deciding: set[str]) -> None:
    """The success rate always; what somebody named; if nobody did, latency and cost."""
    rows = ("success_rate", "latency", "latency.p95", "cost", "tokens", "score.mean")
    assert {row for row in rows if options.decides(row)} == deciding


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("success_rate", "success_rate"),
        ("latency", "latency"),
        ("latency.p95", "latency.p95"),
        ("latency.p50", "latency"),
        ("cost.total", "cost"),
        ("tokens.mean", "tokens"),
        ("score.mean", "score.mean"),
        ("score", "score"),
    ],
)
def test_rows(name: str, row: str) -> None:
    """The row of a comparison that is about a metric: its own, else that of its head."""
    assert row_of(name) == row


def test_primary_metrics_have_rows() -> None:
    """Each is the name of a row, and decides without being named."""
    assert [row_of(name) for name in PRIMARY] == list(PRIMARY)
    assert all(Options().decides(name) for name in PRIMARY)


@pytest.mark.parametrize("claim", ["words.median", "words.p95", "words.mean", "words"])
def test_a_claim_on_any_statistic_of_a_number_makes_its_row_decide(claim: str) -> None:
    options = Options(primary=(claim,))
    assert options.decides("words.mean")
    assert not options.decides("latency")


def test_rows_that_a_name_may_mean() -> None:
    """A recorded number stands in the row of its mean."""
    assert rows_of(["score", "latency.p50"]) == {
        "score", "score.mean", "latency", "latency.p50.mean",
    }  # fmt: skip
    assert rows_of([]) == set()
