"""`Training`: the catalog's events with the fields that enrichment knows, and curves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

import pytest_crucible as crucible
from pytest_crucible import _clock
from pytest_crucible.events.enrichment import enrich
from tests.made_events import MS


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[crucible.Experiment]:
    """An experiment whose clock moves on by a millisecond each time it is asked."""
    ticks = count(0, MS)
    with crucible.experiment("exp", validate="error") as handle:
        monkeypatch.setattr(_clock, "monotonic_ns", lambda: next(ticks))
        yield handle
    crucible.cleanup(handle)


def test_a_loop_says_what_the_catalog_knows(experiment: crucible.Experiment) -> None:
    """Events in order, with the fields of training; batches and epochs are curves of their own."""
    with crucible.Training(experiment, model_name="mlp") as training:
        for epoch in range(2):
            training.epoch_start(epoch)
            for batch in range(2):
                training.batch_stop(batch, loss=4 - epoch - batch, gradient_norm=1)
            training.epoch_stop(loss=2 - epoch, accuracy=0.5, learning_rate=0.1)
            training.checkpoint_saved(Path("m") / f"{epoch}.pt", model_size_bytes=9)

    events = list(experiment.events)
    assert [event.name.removeprefix("crucible_train.") for event in events] == [
        "training.start",
        *["epoch.start", "batch.stop", "batch.stop", "epoch.stop", "checkpoint.saved"] * 2,
        "training.stop",
    ]
    assert {event.metadata["model_name"] for event in events} == {"mlp"}
    stops = [enrich(event).extra for event in events if event.name.endswith("epoch.stop")]
    assert stops[1] == {"epoch": 1, "loss": 1, "accuracy": 0.5, "learning_rate": 0.1}
    assert enrich(events[8]).extra == {"epoch": 1, "batch": 1, "loss": 2, "gradient_norm": 1}
    assert enrich(events[5]).extra == {"epoch": 0, "checkpoint_path": "m/0.pt"}
    assert all((enrich(event).latency_ms or 0) > 0 for event in events if "stop" in event.name)
    assert events[-1].measurements["total_epochs"] == 2
    assert events[-1].measurements["final_loss"] == 1
    assert experiment.logged("loss") == ([0, 1], [2, 1])
    assert experiment.logged("batch_loss") == ([0, 1, 2, 3], [4, 3, 3, 2])
    assert experiment.metrics().latency.count == 1  # the job: epochs and batches are its parts


def test_job_that_raises_failed(experiment: crucible.Experiment) -> None:
    """The exception goes on its way, and the job is a failed operation, by the type alone."""
    with pytest.raises(MemoryError), crucible.Training(experiment):
        raise MemoryError("of user 7")
    assert experiment.events[-1].name == "crucible_train.training.exception"
    assert experiment.events[-1].metadata == {"error": "MemoryError"}
    assert experiment.metrics().reliability.failed == 1


def test_callbacks_may_say_less(experiment: crucible.Experiment) -> None:
    """An epoch that nobody began has no duration; a job that was not begun has no end."""
    training = crucible.Training(experiment)
    training.stop()
    training.batch_stop(0, loss=1)
    training.epoch_stop(loss=1)
    training.epoch_stop(loss=0.5)
    training.checkpoint_saved("x")
    batch, first, second, saved = experiment.events
    assert "duration" not in {**batch.measurements, **first.measurements}
    assert (first.metadata["epoch"], second.metadata["epoch"]) == (0, 1)
    assert saved.metadata == {"checkpoint_path": "x"}


def test_what_is_no_number_is_an_error(experiment: crucible.Experiment) -> None:
    """Text among the numbers is refused by name."""
    with pytest.raises(TypeError, match=r"log\('loss', 'low'\)"):
        crucible.Training(experiment).epoch_stop(loss="low")  # type: ignore[arg-type]
