"""The reference system's own expectations, met through the public library.

Its analysis test records ten requests that stop, with latencies of 100 to 1000 ms, costs of 0.001
to 0.010 and tokens, and two that fail. Where we differ on purpose, a test here says so, and
``docs/from-crucible-telemetry.md`` tells why.
"""

from __future__ import annotations

import csv
import re
import statistics
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from tests.made_events import set_clock

MS = 1_000_000
LATENCIES_MS = [100.0 * i for i in range(1, 11)]


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[crucible.Experiment]:
    """The reference's experiment, with a wall clock that moves on by a millisecond."""
    ticks = count(1_763_900_000_000_000_000, MS)
    set_clock(monkeypatch, lambda: next(ticks))
    with crucible.experiment("analysis_test") as handle:
        for i in range(1, 11):
            telemetry.execute(
                "req_llm.request.stop",
                {"duration": i * 100 * MS},
                {
                    "cost": 0.001 * i,
                    "tokens": {"prompt": 100 * i, "completion": 200 * i, "total": 300 * i},
                    "response": "yes",
                },
            )
        for _ in range(2):
            telemetry.execute("req_llm.request.exception", {}, {"error": "timeout"})
    yield handle
    crucible.cleanup(handle)


def test_summary(experiment: crucible.Experiment) -> None:
    """Twelve events over some time, by name."""
    summary = experiment.metrics(exact=True).summary
    assert summary.total_events == 12
    assert summary.duration_s > 0
    assert summary.event_types == {"req_llm.request.stop": 10, "req_llm.request.exception": 2}


def test_latency(experiment: crucible.Experiment) -> None:
    """Ten latencies; percentiles interpolate as the reference's do."""
    latency = experiment.metrics(exact=True).latency
    assert (latency.count, latency.min, latency.max) == (10, 100.0, 1000.0)
    assert (latency.mean, latency.median) == (550.0, 550.0)
    assert latency.p50 == 550.0
    assert latency.p90 == pytest.approx(910.0)
    assert latency.p95 == pytest.approx(955.0)
    assert latency.p99 == pytest.approx(991.0)


def test_cost(experiment: crucible.Experiment) -> None:
    """What the requests cost, and what a thousand and a million would."""
    cost = experiment.metrics(exact=True).cost
    assert cost.count == 10
    assert cost.total == pytest.approx(0.055)
    assert cost.mean == pytest.approx(0.0055)
    assert cost.median == pytest.approx(0.0055)
    assert cost.per_1k == pytest.approx(5.5)
    assert cost.per_1m == pytest.approx(5500)


def test_reliability(experiment: crucible.Experiment) -> None:
    """Ten of twelve succeeded, which is no service level."""
    found = experiment.metrics(exact=True).reliability
    assert (found.total, found.successful, found.failed) == (12, 10, 2)
    assert found.success_rate == pytest.approx(0.8333, abs=5e-5)
    assert found.failure_rate == pytest.approx(1 / 6)
    assert (found.sla_99, found.sla_999, found.sla_9999) == (False, False, False)


def test_tokens(experiment: crucible.Experiment) -> None:
    """Prompt, completion and total, summed and on average."""
    tokens = experiment.metrics(exact=True).tokens
    assert tokens.count == 10
    assert (tokens.total_prompt, tokens.total_completion, tokens.total) == (5_500, 11_000, 16_500)
    assert (tokens.mean_prompt, tokens.mean_completion, tokens.mean_total) == (550, 1100, 1650)


def test_events(experiment: crucible.Experiment) -> None:
    """Per name as many as there were."""
    events = experiment.metrics(exact=True).by_event
    assert events["req_llm.request.stop"].count == 10
    assert events["req_llm.request.exception"].count == 2


def test_percentiles_of_one_to_a_hundred() -> None:
    """The reference's second set of numbers."""
    with crucible.experiment("percentile_test") as handle:
        for i in range(1, 101):
            telemetry.execute("test.event", {"duration": i * MS})
    latency = handle.metrics(exact=True).latency
    assert (latency.p50, latency.p95, latency.p99) == pytest.approx((50.5, 95.05, 99.01))
    crucible.cleanup(handle)


def test_compare(experiment: crucible.Experiment) -> None:
    """Half the latency and half the cost read as such; ten requests are too few for a verdict."""
    with crucible.experiment("comparison_test", condition="treatment") as handle:
        for i in range(1, 11):
            numbers = {"duration": i * 50 * MS}
            telemetry.execute("req_llm.request.stop", numbers, {"cost": 0.0005 * i})
    found = {each.metric: each for each in crucible.compare(experiment, handle)}
    latency, cost, success = (found[each] for each in ("latency", "cost", "success_rate"))
    assert latency.change == pytest.approx(0.5)
    assert cost.change == pytest.approx(0.5)
    assert (success.baseline, success.candidate) == pytest.approx((10 / 12, 1))
    assert (latency.verdict, cost.verdict) == ("INCONCLUSIVE", "INCONCLUSIVE")
    crucible.cleanup(handle)


# --- where we differ on purpose ----------------------------------------------------------------


def test_std_dev_is_that_of_a_sample(experiment: crucible.Experiment) -> None:
    """Divided by n − 1; the reference divides by n."""
    std_dev = experiment.metrics(exact=True).latency.std_dev
    assert std_dev == pytest.approx(statistics.stdev(LATENCIES_MS))
    assert std_dev != pytest.approx(statistics.pstdev(LATENCIES_MS), rel=0.01)


def test_unknown_prices_stay_unknown() -> None:
    """The reference charges a dollar per million tokens where it knows no price."""
    with crucible.experiment("exp") as handle:
        tokens = {"prompt": 1_000_000, "completion": 0, "total": 1_000_000}
        telemetry.execute("req_llm.request.stop", {"duration": 1}, {"model": "?", "tokens": tokens})
    cost = handle.metrics().cost
    assert (cost.count, cost.total) == (0, None)
    crucible.cleanup(handle)


def test_experiments_do_not_hear_each_other() -> None:
    """In the reference each running experiment hears every event."""
    with crucible.experiment("a") as first, crucible.experiment("b") as second:
        telemetry.execute("x")
    assert (len(first.events), len(second.events)) == (0, 1)
    for handle in (first, second):
        crucible.cleanup(handle)


def test_csv_has_the_columns_of_every_event(
    experiment: crucible.Experiment, tmp_path: Path
) -> None:
    """The reference takes its columns from the first row and loses the others' values."""
    path = crucible.export(experiment, "csv", tmp_path / "events.csv")
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert [row["metadata.error"] for row in rows[-2:]] == ["timeout", "timeout"]


def test_the_table_of_functions_names_what_there_is() -> None:
    """Every name of ours in the table can be imported, or is one of the handle."""
    text = (Path(__file__).parent.parent / "docs" / "from-crucible-telemetry.md").read_text("utf-8")
    ours = set(re.findall(r"`(?:with )?crucible\.(\w+)", text))
    assert len(ours) > 20
    assert ours <= set(crucible.__all__)
    assert all(hasattr(crucible.Experiment, name) for name in re.findall(r"`exp\.(\w+)", text))
