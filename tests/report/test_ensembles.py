"""The lines of ensembles and hedging: where there are any, and only there."""

from __future__ import annotations

from pytest_crucible.events.event import Event
from pytest_crucible.report.ensembles import ensemble_lines
from tests.made_events import MS, event
from tests.report.support import metrics


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
