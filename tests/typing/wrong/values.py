"""Values of another type."""

import pytest_crucible as crucible
from pytest_crucible import Events, Experiment, Metrics, Run

crucible.start(5)  # wrong
crucible.start("prompt", tags="one")  # wrong
crucible.start("prompt", sample_size="3")  # wrong
crucible.start("prompt", validate="strict")  # wrong
crucible.start("prompt", metadata=["a"])  # wrong
crucible.start("prompt", sampling=0.5)  # wrong
with crucible.experiment("prompt", condition=["a"]):  # wrong
    pass
crucible.list_experiments("done")  # wrong
crucible.open_run(5)  # wrong
crucible.ExportOptions(anonymize="shuffle")  # wrong
crucible.define_event("a.b", measurements=5)  # wrong


def handle(exp: Experiment, metrics: Metrics) -> None:
    exp.record(score="high")  # wrong
    exp.record(score=None)  # wrong
    exp.log("loss", "low")  # wrong
    exp.log("loss", 0.5, step=0.5)  # wrong
    exp.log("loss", 0.5, best="most")  # wrong
    exp.execute("llm.stop", "duration")  # wrong
    exp.log_to(open)  # wrong
    crucible.compare(exp, 5)  # wrong
    crucible.pause(metrics)  # wrong
    crucible.Training(exp).epoch_stop(loss="low")  # wrong
    p95: float = metrics.latency.p95  # wrong
    print(p95)


def tested() -> None:
    crucible.tests.t_test([1.0], [2.0], alternative="more")  # wrong
    crucible.tests.mann_whitney([1.0], 5)  # wrong
    crucible.krippendorff_alpha([[1], [2]], level="ratio")  # wrong


def recorded(run: Run, events: Events) -> None:
    run.metrics(5)  # wrong
    events.query(5)  # wrong
    events.query(success="yes")  # wrong
    events.last(5, "days")  # wrong
    events.anomalies(method="guess")  # wrong
    events.columns().query(model=5)  # wrong
    events.where(True)  # wrong
