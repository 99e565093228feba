"""Misspelt keywords, and those that only the marker obeys."""

import pytest_crucible as crucible
from pytest_crucible import Events, Experiment, Run

crucible.start("prompt", hypotesis="x")  # wrong
crucible.start("prompt", budget_usd=1.0)  # wrong
crucible.start("prompt", expect=["success_rate > 0.9"])  # wrong
crucible.start("prompt", trials=3)  # wrong
crucible.start("prompt", conditions=("a", "b"))  # wrong
crucible.start("prompt", scope="module")  # wrong
with crucible.experiment("prompt", failures="record"):  # wrong
    pass
with crucible.experiment("prompt", pass_if="1/2"):  # wrong
    pass
with crucible.experiment("prompt", tag=["a"]):  # wrong
    pass
with crucible.join(tickt=""):  # wrong
    pass
crucible.open_run(pth="run")  # wrong
crucible.ExportOptions(anonymise="hash")  # wrong


def handle(exp: Experiment) -> None:
    exp.metrics(exakt=True)  # wrong
    crucible.stop(exp, why="over")  # wrong
    crucible.export(exp, fromat="csv")  # wrong
    crucible.cleanup(exp, keep=True)  # wrong


def recorded(run: Run, events: Events) -> None:
    run.metrics(arm="short")  # wrong
    run.results(expect=["success_rate > 0.9"])  # wrong
    events.anomalies(metod="iqr")  # wrong
    events.last(5, units="minutes")  # wrong
    events.columns().query(modle="gpt")  # wrong
    events.columns().query(time_range=(1, 2))  # wrong
