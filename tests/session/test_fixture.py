"""The ``experiment`` fixture, as a test uses it."""

from __future__ import annotations

import pytest

from pytest_crucible.analysis.run import open_run
from tests.session import support


def test_it_knows_its_trial(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """The fixture tells experiment, condition, case, trial and attempt, and has one run id."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", conditions=("a", "b"), trials=2, tags=["t"])
        @pytest.mark.parametrize("n", [7])
        def test_a(n, experiment):
            assert experiment.name == "e"
            assert experiment.definition.tags == ("t",)
            assert experiment.case_id == "test_it_knows_its_trial.py::test_a[7]"
            assert experiment.attempt == 1
            assert experiment.status == "running"
            experiment.execute(
                "told", {}, {"is": f"{experiment.condition} {experiment.trial} {experiment.id}"}
            )
    """)
    assert support.run(pytester, *mode).ret == 0
    run = support.newest(pytester).id
    told = {event.metadata["is"] for event in support.events(pytester)}
    assert told == {f"{condition} {trial} {run}" for condition in "ab" for trial in (1, 2)}


def test_what_is_emitted_is_there_at_once(pytester: pytest.Pytester) -> None:
    """A test can look at its own events and metrics, and sees those of no other trial."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", trials=2)
        def test_a(experiment):
            assert experiment.events == []
            telemetry.execute("req_llm.request.stop", {"duration": 4_000_000, "cost": 0.5})
            experiment.execute("seen", {"n": experiment.trial})
            with experiment.span("altar.tool", tool_name="search") as span:
                span.measure(hits=3)
            experiment.record(score=0.25, correct=True)
            names = [event.name for event in experiment.events]
            assert names == ["req_llm.request.stop", "seen", "altar.tool.start", "altar.tool.stop"]
            assert experiment.events[1].measurements == {"n": experiment.trial}
            assert experiment.events[3].measurements["hits"] == 3
            metrics = experiment.metrics()
            assert metrics.cost.total == 0.5
            assert 4.0 < metrics.latency.max < 8.0  # that of the trial
            assert metrics.recorded["score"].mean == 0.25
            assert metrics.recorded["correct"].mean == 1.0
    """)
    support.run(pytester).assert_outcomes(passed=2)
    metrics = support.only(pytester).metrics[support.DEFAULT]
    assert metrics.recorded["score"].count == 2
    assert metrics.cost.total == 1.0


def test_pause_and_resume(pytester: pytest.Pytester) -> None:
    """Nothing is recorded between pause and resume; the trial itself still is."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e")
        def test_a(experiment):
            telemetry.execute("before")
            experiment.pause()
            assert experiment.status == "paused"
            telemetry.execute("meanwhile")
            experiment.resume()
            telemetry.execute("after")

        @pytest.mark.experiment("e")
        def test_b(experiment):
            experiment.pause()
            with pytest.raises(RuntimeError, match="it is paused"):
                experiment.pause()
    """)
    support.run(pytester).assert_outcomes(passed=2)
    assert support.heard(pytester) == {"e/default": ["after", "before"]}
    assert support.outcomes(pytester) == {"test_a": "passed", "test_b": "passed"}


def test_functions_of_the_package_take_it(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Pausing, asking, comparing and exporting work as for an experiment that `start` gave."""
    pytester.makepyfile("""
        import pytest
        import pytest_crucible as crucible
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", trials=2)
        def test_a(experiment, tmp_path, monkeypatch):
            telemetry.execute("llm.stop", {"duration": 2_000_000}, {"model": "m"})
            experiment.record(score=0.5)
            assert crucible.get(experiment) is experiment
            assert crucible.pause(experiment) is experiment
            assert crucible.is_paused(experiment)
            telemetry.execute("meanwhile")
            crucible.resume(experiment)
            assert not crucible.is_paused(experiment)
            with crucible.paused(experiment):
                telemetry.execute("meanwhile")
            with crucible.experiment("mine") as mine:
                telemetry.execute("llm.stop", {"duration": 4_000_000})
            found = {each.metric: each for each in crucible.compare(experiment, mine)}
            assert (found["latency"].baseline, found["latency"].candidate) == (2.0, 4.0)
            (verdict,) = crucible.judge(experiment, "score.mean > 0.4")
            assert (verdict.observed, verdict.condition) == (0.5, "default")
            monkeypatch.chdir(tmp_path)
            path = crucible.export(experiment)
            assert path.name.startswith(f"e-{experiment.id}-")
            read = crucible.open_run(path)
            assert [each.name for each in read.events.query(internal=False)] == ["llm.stop"]
            assert read.metrics("e", "default").recorded["score"].mean == 0.5
            both = crucible.export_multiple([experiment, mine, experiment], "csv", "both.csv")
            events = crucible.open_run(both).events.query(internal=False)
            assert [each.scope.experiment for each in events] == ["e", "mine"]
            crucible.cleanup(mine)
    """)
    support.run(pytester, *mode).assert_outcomes(passed=2)
    assert support.heard(pytester) == {"e/default": ["llm.stop", "llm.stop"]}


def test_exports_of_trials_do_not_overwrite_each_other(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All trials of a session have the run's id; each has a file of its own."""
    monkeypatch.chdir(pytester.path)
    pytester.makepyfile("""
        import pytest
        import pytest_crucible as crucible

        @pytest.mark.experiment("e", conditions=("a", "b"), trials=2)
        @pytest.mark.parametrize("n", [1, 2])
        def test_a(n, experiment):
            experiment.execute("x", {"n": n})
            crucible.export(experiment, "jsonl")
    """)
    support.run(pytester).assert_outcomes(passed=8)
    files = list((pytester.path / support.OUTPUT).glob("*.jsonl"))
    assert len(files) == 8
    found = [open_run(file).events[0] for file in files]
    assert len({each.scope for each in found}) == 8


def test_what_the_session_does_it_does_not_take(pytester: pytest.Pytester) -> None:
    """Stopping, archiving and forgetting a trial is one line that says what to do instead."""
    pytester.makepyfile("""
        import pytest
        import pytest_crucible as crucible

        @pytest.mark.experiment("e")
        @pytest.mark.parametrize("step, instead", [
            ("stop", "cannot be stopped: it ends with its test; `pause` stops recording"),
            ("archive", "cannot be archived: it ends with its test; `crucible archive` packs"),
            ("cleanup", "cannot be cleaned up: it ends with its test; the run folder keeps"),
        ])
        def test_a(step, instead, experiment):
            with pytest.raises(crucible.LifecycleError, match=instead) as caught:
                getattr(crucible, step)(experiment)
            assert "\\n" not in str(caught.value)
            assert experiment.status == "running"
    """)
    support.run(pytester).assert_outcomes(passed=3)


def test_other_fixtures_can_use_it(pytester: pytest.Pytester) -> None:
    """Events of fixtures belong to the trial, from setup to teardown; unittest classes included."""
    pytester.makepyfile("""
        import unittest
        import pytest
        from pytest_crucible import telemetry

        @pytest.fixture
        def client(experiment):
            experiment.record(prepared=1)
            telemetry.execute("setup")
            yield
            telemetry.execute("teardown")

        @pytest.mark.experiment("e")
        def test_a(client):
            telemetry.execute("call")

        @pytest.mark.experiment("u")
        class TestB(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def take(self, experiment):
                self.experiment = experiment

            def test_b(self):
                self.experiment.record(score=1)
                self.experiment.execute("call")
    """)
    support.run(pytester).assert_outcomes(passed=2)
    assert support.heard(pytester) == {
        "e/default": ["call", "setup", "teardown"],
        "u/default": ["call"],
    }


def test_a_value_that_is_no_number_is_refused(pytester: pytest.Pytester) -> None:
    """``record`` says which value is no number; NumPy scalars and Decimals are numbers."""
    pytester.makepyfile("""
        from decimal import Decimal
        import numpy as np
        import pytest

        @pytest.mark.experiment("e")
        def test_a(experiment):
            experiment.record(a=np.float32(0.5), b=np.int64(2), c=Decimal("0.25"))
            with pytest.raises(TypeError, match="score='high'.*: a str is not a number"):
                experiment.record(score="high")
    """)
    support.run(pytester).assert_outcomes(passed=1)
    recorded = support.only(pytester).metrics[support.DEFAULT].recorded
    assert {name: each.mean for name, each in recorded.items()} == {"a": 0.5, "b": 2.0, "c": 0.25}


def test_without_a_marker_it_is_one_line(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """The fixture of an unmarked test is an error that says what to write, without traceback."""
    pytester.makepyfile("""
        import pytest

        def test_a(experiment):
            pass

        @pytest.mark.experiment("e")
        def test_b(experiment):
            pass
    """)
    result = support.run(pytester, *mode)
    result.assert_outcomes(errors=1, passed=1)
    text = result.stdout.str()
    assert (
        "test_without_a_marker_it_is_one_line.py::test_a: the experiment fixture needs a marker: "
        '@pytest.mark.experiment("name")'
    ) in text
    assert "fixture.py" not in text
    assert support.outcomes(pytester) == {"test_b": "passed"}


def test_a_fixture_of_the_same_name_wins(pytester: pytest.Pytester) -> None:
    """A suite that has a fixture called ``experiment`` keeps it."""
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def experiment():
            return "mine"

        def test_a(experiment):
            assert experiment == "mine"
    """)
    support.run(pytester).assert_outcomes(passed=1)


def test_the_handle_outlives_its_trial(pytester: pytest.Pytester) -> None:
    """A handle that somebody kept says that it is over; what it still emits counts as late."""
    pytester.makepyfile("""
        import pytest

        kept = []

        @pytest.mark.experiment("e")
        def test_a(experiment):
            kept.append(experiment)

        def test_b():
            assert kept[0].status == "stopped"
            kept[0].execute("too late")
            with pytest.raises(RuntimeError, match="it is stopped"):
                kept[0].pause()
    """)
    result = support.run(pytester)
    result.assert_outcomes(passed=2)
    assert support.results(pytester).late == 1
    result.stdout.fnmatch_lines(["1 event arrived after their trial had ended"])


def test_fixture_knows_what_came_before_it(pytester: pytest.Pytester) -> None:
    """Events of the trial from before the fixture was set up belong to it as well; no others do."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.fixture(autouse=True)
        def early():
            telemetry.execute("early", {"n": 1})
            yield

        @pytest.mark.experiment("e")
        @pytest.mark.parametrize("n", range(2))
        def test_it(n, request):
            telemetry.execute("later", {"n": n})
            experiment = request.getfixturevalue("experiment")
            assert [event.name for event in experiment.events] == ["early", "later"]
            assert request.getfixturevalue("experiment") is experiment
            assert (experiment.attempt, experiment.trial) == (1, 1)
    """)
    support.run(pytester).assert_outcomes(passed=2)
