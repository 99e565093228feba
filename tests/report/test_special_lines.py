"""The lines of anomalies, ensembles and hedging: where there are any, and only there."""

from __future__ import annotations

from pytest_crucible.events.event import Event
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.report.anomalies import anomaly_line
from pytest_crucible.report.ensembles import ensemble_lines
from tests.made_events import MS, event, recorded, trial_scope

STEADY = (10, 11, 9, 10, 12, 9, 11, 10, 8, 10)


def metrics(events: list[Event]) -> dict[str, Metrics]:
    groups = observe(events).groups
    return {condition: summarise(group) for (_, condition), group in groups.items()}


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


def test_lines_of_hedging_say_what_is_unknown() -> None:
    """What the losers cost and what was saved is told with what could not be known of it."""
    models = {"primary_model": "big", "backup_model": "small"}

    def request(id: str, duplicated: bool, **end: object) -> list[Event]:
        ids = {"request_id": id, **models}
        return [
            event("hedging.request.start", metadata=ids),
            *([event("hedging.request.duplicated", metadata=ids)] if duplicated else []),
            event("hedging.request.stop", {"duration": 50 * MS}, {**ids, **end}),
        ]

    events = [
        *request("1", False),
        *request("2", True, winner="backup", primary_latency=80, duplication_cost=0.5),
        *request("3", True, winner="backup"),
    ]
    assert list(ensemble_lines(metrics(events))) == [
        "hedging: 2 of 3 requests sent twice · won by small 67 %, big 33 % · losers cost $0.5 (and "
        "unknown: 1 × the losing call was not recorded) · saved 30 ms (and unknown: 1 × the "
        "primary call was not recorded)"
    ]
    (unknown,) = ensemble_lines(metrics(request("3", True)))
    assert unknown == (
        "hedging: 1 of 1 request sent twice · "
        "losers cost unknown (1 × the winner is not reported) · "
        "saved unknown (1 × the winner is not reported)"
    )
    (never,) = ensemble_lines(metrics(request("4", False)))
    assert never == "hedging: 0 of 1 request sent twice · won by big 100 %"


def test_lines_of_ensembles() -> None:
    """Predictions, votes and agreement, as far as they are told; and a row per model."""
    assert list(ensemble_lines(metrics([event("ensemble.vote.completed")]))) == ["ensemble: 1 vote"]
    events = [
        event("ensemble.prediction.start"),
        event(measurements={"duration": 5 * MS, "cost": 0.25}, metadata={"model": "a\nb"},
              at_us=6_000),
        event("ensemble.prediction.stop", {"duration": 9 * MS, "agreement": 0.9}, at_us=9_000),
    ]  # fmt: skip
    assert list(ensemble_lines(metrics(events))) == [
        "ensemble: 1 prediction · agreement 90.0 % over 1",
        "          model      calls    failed    mean latency    cost",
        "ensemble  a b            1         0            5 ms   $0.25",
    ]
    assert list(ensemble_lines(metrics([event()]))) == []
