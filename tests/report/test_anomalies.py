"""The line of anomalies: where there are any, and only there."""

from __future__ import annotations

from pytest_crucible.events.event import Event
from pytest_crucible.report.anomalies import anomaly_line
from tests.made_events import MS, event, recorded, trial_scope
from tests.report.support import metrics

STEADY = (10, 11, 9, 10, 12, 9, 11, 10, 8, 10)


def calls(latencies: tuple[float, ...], condition: str, case: str = "t.py::test[a]") -> list[Event]:
    scope = trial_scope(case, 2, condition=condition)
    return [event(measurements={"duration": each * MS}, scope=scope) for each in latencies]


def test_one_line_for_all_conditions_and_metrics() -> None:
    """Counts are of all conditions; the worst says where it was."""
    events = calls((*STEADY, 400), "one") + calls((*STEADY, 90, 2), "two")
    events += [recorded({"score": 0.8 + n / 100}, trial_scope(str(n))) for n in range(-5, 6)]
    events.append(recorded({"score": 9.0}, trial_scope("t.py::test[b]")))
    assert anomaly_line(metrics(events)) == (
        "anomalies: 3 of 23 latencies (worst 400 ms, 40 × the median, in test[a], trial 2, one)"
        " · 1 of 12 score"
    )
    assert anomaly_line(metrics(events[-12:])) == (
        "anomalies: 1 of 12 score (worst 9, median 0.805, in test[b])"
    )


def test_the_line_of_anomalies_stays_short() -> None:
    """Of long case names the arguments go first, of many metrics the last are only counted."""
    numbers = [f"number_{n}" for n in range(9)]
    latencies = calls((*STEADY, 400), "one", "t.py::test[" + "which gas? " * 20 + "]")
    scores = [*(n / 100 for n in range(-5, 6)), 9.0]
    for shown in range(len(numbers) + 1):
        told = [
            recorded(dict.fromkeys(numbers[:shown], score), trial_scope("c", condition="one"))
            for score in scores
        ]
        line = anomaly_line(metrics(latencies + told))
        assert line is not None
        assert len(line) <= 110
        assert "400 ms, 40 × the median" in line
        left = shown - line.count("of 12 number_")
        assert f"· {left} more metrics" in line if left else "more" not in line
        assert "in test[…]" in line if shown < 2 else "which gas" not in line
    long = anomaly_line(metrics([recorded({"n" * 300: each}, trial_scope("c")) for each in scores]))
    assert long is not None
    assert len(long) <= 110


def test_what_is_too_fast_is_told_as_a_fraction() -> None:
    """A tenth of the median reads as such."""
    line = anomaly_line(metrics(calls((*STEADY, 1), "one")))
    assert line is not None
    assert "worst 1 ms, 0.100 × the median" in line


def test_no_line_without_anomalies() -> None:
    """Plain latencies, and too few to tell, are not worth a line."""
    assert anomaly_line(metrics(calls(STEADY, "one"))) is None
    assert anomaly_line(metrics(calls((1, 1000), "one"))) is None
    assert anomaly_line({}) is None
