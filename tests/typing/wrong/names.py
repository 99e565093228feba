"""Misspelt names, and those that are gone."""

import pytest_crucible as crucible
from pytest_crucible import Experiment, Run, telemetry

print(crucible.ExperimentHandle)  # wrong
crucible.experimnt("prompt")  # wrong
crucible.calculate_metrics("id")  # wrong
print(crucible.Metrc)  # wrong
telemetry.exceute("llm.stop")  # wrong


def handle(exp: Experiment) -> None:
    exp.recrod(score=1)  # wrong
    exp.events()  # wrong
    print(exp.event)  # wrong
    print(exp.metrics().latency.p59)  # wrong
    print(exp.metrics().events)  # wrong
    print(exp.metrics().cost.totl)  # wrong


def recorded(run: Run) -> None:
    run.events()  # wrong
    run.result()  # wrong
    print(run.results().experiment)  # wrong
    print(run.metrics().tokens.sum)  # wrong
    for each in run.events:
        print(each.metadta)  # wrong
    print(run.events.columns().latency)  # wrong
