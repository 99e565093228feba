"""The library as a script uses it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import assert_type

import numpy as np

import pytest_crucible as crucible
from pytest_crucible import Experiment, Metrics, telemetry, tests


def record(tags: list[str]) -> Experiment:
    with crucible.experiment(
        "prompt", hypothesis="short is enough", condition="short", tags=tags,
        metadata={"seed": 3, "client": object()}, sample_size=2, validate="warn",
        sampling="uniform:0.5",
    ) as exp:  # fmt: skip
        assert_type(exp, Experiment)
        telemetry.execute("llm.stop", {"duration": 5}, {"model": "gpt"})
        with exp.span("llm.call", model="gpt") as span, exp.paused(), exp.judge():
            span.measure(input_tokens=12)
        exp.record(score=0.5, correct=True, n=np.int64(3), cost=Decimal("0.1"))
        assert_type(exp.log("loss", np.float32(0.5), step=1, best="min", phase="warm-up"), float)
        steps, values = exp.logged("loss")
        assert_type((steps, values), tuple[list[int], list[float]])
    return exp


def steps(exp: Experiment) -> None:
    other = crucible.start("prompt", tags=("a", "b"), validate=None)
    crucible.pause(exp)
    crucible.resume(exp.id)
    with crucible.paused(exp) as same:
        assert_type(same, Experiment)
    assert_type(crucible.is_paused(exp), bool)
    assert_type(crucible.get(exp.id), Experiment)
    assert_type(crucible.list_experiments("running"), list[Experiment])
    for row in crucible.compare(exp, other, exp.id, margin={"cost": 0.1}):
        assert_type(row.metric, str)
        assert_type(row.p, float | None)
    run = crucible.open_run("run")
    crucible.compare(run, run.arm("prompt", "short"))
    for verdict in crucible.judge([exp, run], "score.mean > 0.8", "cost.total < 1"):
        assert_type(verdict.verdict, str)
    assert_type(crucible.judge(exp, "cost.total < 1"), crucible.Verdicts)
    options = crucible.ExportOptions(columns=["event"], anonymize="hash")
    assert_type(crucible.export(exp, "csv.gz", "events.csv.gz", options), Path)
    assert_type(crucible.export_multiple([exp, other.id], "csv", Path("events.csv")), Path)
    assert_type(crucible.stop(exp, reason="budget"), Experiment)
    assert_type(crucible.archive(exp), Path)
    crucible.cleanup(other, keep_data=True)
    with crucible.join() as joined:
        assert_type(joined, Experiment | None)


def numbers(exp: Experiment) -> None:
    metrics = exp.metrics(exact=True)
    assert_type(metrics, Metrics)
    assert_type(metrics.latency.p95, float | None)
    assert_type(metrics.cost.total, float | None)
    assert_type(metrics.summary.total_events, int)
    assert_type(metrics.recorded["score"].mean, float | None)
    assert_type(metrics.by_event["llm.stop"].count, int)
    assert_type(crucible.__version__, str)


def tested(exp: Experiment, other: Experiment) -> None:
    found = tests.t_test(exp, other, metric="score", paired=True, alternative="less")
    assert_type(found, tests.SignificanceResult)
    assert_type(found.p, float)
    assert_type(found.estimate, tuple[str, float] | None)
    assert_type(tests.mcnemar([[1, 2], [3, 4]], mid_p=True).low, float | None)
    assert_type(tests.chi_square(["a", "b"], ["b", "b"]).n, tuple[int, ...])
    assert_type(tests.holm({"a": 0.1}), dict[str, float])
    kappa = crucible.cohen_kappa(["yes", "no"], ["yes", None])
    assert_type(kappa, crucible.Agreement)
    assert_type(kappa.low, float | None)
    assert_type(crucible.krippendorff_alpha([[1, 2], [1, 3]], level="ordinal").value, float)
