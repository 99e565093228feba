"""``experiment.log``: recorded like every event, read back in order."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytest_crucible as crucible
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from tests.session.support import OUTPUT, only, run


def test_logged_numbers_are_read_back(experiment: crucible.Experiment) -> None:
    """In the order of the steps, NaN and infinity as they were; a step logged twice counts once."""
    for step, value in ((1, 2.0), (0, 2.5), (2, math.inf), (1, 1.5)):
        experiment.log("loss", value, step=step)
    assert experiment.logged("loss") == crucible.Curve([0, 1, 2], [2.5, 1.5, math.inf])
    assert experiment.logged("other") == ([], [])
    assert list(experiment.events) == []  # no telemetry of the code under test


def test_without_a_step_the_next_one_is_taken(experiment: crucible.Experiment) -> None:
    """The one after the highest so far, per name, from 0."""
    experiment.log("loss", 1)
    experiment.log("loss", 2)
    experiment.log("loss", 3, step=10)
    experiment.log("loss", 4, step=5)
    experiment.log("loss", 5)
    experiment.log("accuracy", 0)
    assert experiment.logged("loss").steps == [0, 1, 5, 10, 11]
    assert experiment.logged("accuracy").steps == [0]


def test_numbers_of_other_libraries_are_numbers(experiment: crucible.Experiment) -> None:
    """What has a value as a float is logged as that; so are booleans and their steps."""
    assert experiment.log("loss", np.float32(0.5), step=np.int64(3)) == 0.5
    assert experiment.log("loss", np.array(0.25)) == 0.25
    assert experiment.log("ok", True) == 1
    assert experiment.logged("loss") == ([3, 4], [0.5, 0.25])


@pytest.mark.parametrize(
    ("arguments", "more", "error", "message"),
    [
        (("loss", "low"), {}, TypeError, r"log\('loss', 'low'\): a str is not a number"),
        (("loss", None), {}, TypeError, r"log\('loss', None\): a NoneType is not a number"),
        (("loss", 1, 0.5), {}, TypeError, r"step=0.5 is not a whole number"),
        (("loss", 1, True), {}, TypeError, r"step=True is not a whole number"),
        (("loss", 1, 2**63), {}, TypeError, r"is not a whole number"),
        (("latency", 1), {}, ValueError, r"latency is a built-in metric"),
        (("", 1), {}, ValueError, r"must be non-empty, printable text"),
        (("a\nb", 1), {}, ValueError, r"must be non-empty, printable text"),
        (("loss", 1), {"best": "lowest"}, ValueError, r"best='lowest' is neither 'min' nor 'max'"),
    ],
)
def test_what_cannot_be_logged_is_an_error(
    experiment: crucible.Experiment,
    arguments: tuple[Any, ...],
    more: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    """One line says what is wrong, and nothing is recorded."""
    with pytest.raises(error, match=message):
        experiment.log(*arguments, **more)
    assert experiment.metrics().logged == {}


def test_log_after_the_end_is_an_error() -> None:
    """As for ``record``."""
    handle = crucible.start("exp")
    crucible.stop(handle)
    with pytest.raises(crucible.LifecycleError, match="log came too late"):
        handle.log("loss", 1)
    crucible.cleanup(handle)


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_exports_keep_the_curve(
    format: str, tmp_path: Path, experiment: crucible.Experiment
) -> None:
    """An export that is read again has the same summary, a NaN at the end included."""
    for value in (2.5, 1.0, 2.0, float("nan")):
        experiment.log("loss", value, split="val")
    path = crucible.export(experiment, format, tmp_path / f"x.{format}")
    (read,) = analyse(open_run(path)).experiments
    assert read.metrics["sgd"].logged == experiment.metrics().logged
    assert read.metrics["sgd"].logged["loss"].last is None


# --- under pytest ------------------------------------------------------------------------------


def test_curves_are_summarised_per_condition_and_judged(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """Also over several processes: a table of curves, expectations on their ends, a comparison."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment(
            "exp", conditions=("sgd", "adam"), trials=2,
            expect=["adam.loss.last < 1.5", "loss.steps > 3", "adam.loss.last < sgd"],
        )
        @pytest.mark.parametrize("case", range(15))
        def test_it(case, experiment):
            shift = {"sgd": 2.5 + case / 50, "adam": 0.1}[experiment.condition]
            for step in range(5):
                experiment.log("loss", shift + case / 100 + 1 / (step + 1), step)
            experiment.log("loss", shift + case / 100, step=4)
            experiment.log("lr", 0.1)
        """
    )
    result = run(pytester, *mode)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    table = [line.split() for line in result.stdout.lines if line.startswith("  loss ")]
    assert table == [
        ["loss", "sgd", "30", "5", "3.71", "2.71", "2.71", "(4)", "█▅▃▃▁"],
        ["loss", "adam", "30", "5", "1.170", "0.170", "0.170", "(4)", "█▅▃▃▁"],
    ]
    assert {each.verdict for each in only(pytester).verdicts} == {"CONFIRMED"}
    (loss,) = [c for c in only(pytester).comparisons["adam"] if c.metric == "loss.last"]
    assert (loss.verdict, loss.better, loss.n) == ("IMPROVED", "lower", (15,))


def test_trials_without_the_number_are_no_pass(pytester: pytest.Pytester) -> None:
    """Leaving out the trial that never got there would flatter the others."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("exp", expect=["loss.last < 2"])
        @pytest.mark.parametrize("case", range(4))
        def test_it(case, experiment):
            if case:
                experiment.log("loss", 1.0)
        """
    )
    run(pytester)
    (verdict,) = only(pytester).verdicts
    assert (verdict.verdict, verdict.reason) == ("REJECTED", "loss is missing in 1 of 4 trials")


def test_what_was_logged_before_a_kill_is_there(pytester: pytest.Pytester) -> None:
    """A training that is killed leaves its curve up to that moment."""
    pytester.makepyfile(
        """
        import os, pytest, signal

        @pytest.mark.experiment("exp")
        def test_it(experiment):
            for step in range(7):
                experiment.log("loss", 7 - step, step)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=pytester.path, capture_output=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    (experiment,) = analyse(open_run(pytester.path / OUTPUT)).experiments
    logged = experiment.metrics["default"].logged["loss"]
    assert (logged.points, logged.last) == (7, 1)
