"""Experiments never hear each other, and a session is left as it was found."""

from __future__ import annotations

import pytest

from pytest_crucible.analysis.recover import recover
from tests.session import support


def test_nested_markers(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """A method marked otherwise, inside a class-wide stretch, keeps its events to itself."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("outer", scope="class")
        @pytest.mark.xdist_group("one")
        class TestA:
            def test_first(self):
                telemetry.execute("outer")

            @pytest.mark.experiment("inner")
            def test_inner(self):
                telemetry.execute("inner")

            def test_last(self):
                telemetry.execute("outer again")
    """)
    distribution = ["--dist=loadgroup"] if "-n2" in mode else []
    strict = ["-o", "markers=xdist_group"] if "no:xdist" in mode else []
    assert support.run(pytester, *mode, *distribution, *strict).ret == 0
    assert support.heard(pytester) == {
        "outer/default": ["outer", "outer again"],
        "inner/default": ["inner"],
    }


def test_conditions_and_trials(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Every event lands in the very trial that emitted it."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", conditions=("a", "b"), trials=3)
        @pytest.mark.parametrize("n", [1, 2])
        def test_a(n, experiment):
            telemetry.execute("x", {"trial": experiment.trial}, {"is": experiment.condition})
            telemetry.execute("y", {"n": n})
    """)
    assert support.run(pytester, *mode).ret == 0
    events = support.events(pytester)
    assert len(events) == 24
    for event in events:
        assert event.attribution == "context"
        scope = event.scope
        assert scope is not None
        assert scope.case is not None
        if event.name == "x":
            assert event.measurements == {"trial": scope.trial}
            assert event.metadata == {"is": scope.condition}
        else:
            assert scope.case.endswith(f"[{event.measurements['n']}]")


TWO_AT_ONCE = """
    import asyncio
    import threading
    from contextvars import copy_context

    import pytest
    import pytest_crucible
    from pytest_crucible import telemetry

    @pytest.mark.experiment("test")
    def test_a(experiment):
{body}
"""


def test_two_at_once_in_tasks(pytester: pytest.Pytester) -> None:
    """Experiments in concurrent tasks are told apart, and from the test around them."""
    body = """
        async def arm(name):
            with pytest_crucible.experiment(name) as arm:
                for _ in range(3):
                    telemetry.execute(name)
                    await asyncio.sleep(0)
                assert [event.name for event in arm.events] == [name] * 3

        async def both():
            await asyncio.gather(arm("left"), arm("right"))

        asyncio.run(both())
        telemetry.execute("test")
    """
    pytester.makepyfile(TWO_AT_ONCE.format(body=body))
    support.run(pytester).assert_outcomes(passed=1)
    assert support.heard(pytester) == {"test/default": ["test"]}


def test_two_at_once_in_threads(pytester: pytest.Pytester) -> None:
    """With two experiments open, a bare thread is counted as unattributed; a copied context not."""
    body = """
        with pytest_crucible.experiment("other") as other:
            with experiment.active():
                context = copy_context()
            for target in (
                lambda: telemetry.execute("bare"),
                lambda: context.run(telemetry.execute, "carried"),
                lambda: experiment.execute("bound"),
            ):
                thread = threading.Thread(target=target)
                thread.start()
                thread.join()
            assert experiment.metrics().summary.unattributed == 1
            with pytest.warns(pytest_crucible.AttributionWarning, match="1 event belongs"):
                pytest_crucible.stop(other)
    """
    pytester.makepyfile(TWO_AT_ONCE.format(body=body))
    result = support.run(pytester)
    result.assert_outcomes(passed=1)
    assert support.heard(pytester) == {"test/default": ["bound", "carried"], "": ["bare"]}
    result.stdout.fnmatch_lines(["1 event not attributed: *"])


def test_a_thread_of_the_only_experiment(pytester: pytest.Pytester) -> None:
    """A thread without context belongs to the only open experiment, and the record says how."""
    body = """
        thread = threading.Thread(target=lambda: telemetry.execute("bare"))
        thread.start()
        thread.join()
    """
    pytester.makepyfile(TWO_AT_ONCE.format(body=body))
    support.run(pytester).assert_outcomes(passed=1)
    assert support.heard(pytester) == {"test/default": ["bare"]}
    assert support.results(pytester).sole == 1


def test_a_session_inside_a_session(pytester: pytest.Pytester) -> None:
    """A pytest session run by an experiment records on its own, and so does the outer one."""
    pytester.makepyfile(
        test_outer="""
            import pytest
            from pytest_crucible import telemetry

            @pytest.mark.experiment("outer")
            def test_a(tmp_path):
                telemetry.execute("before")
                tmp_path.joinpath("test_inner.py").write_text(
                    "import pytest; from pytest_crucible import telemetry\\n"
                    "@pytest.mark.experiment('inner')\\n"
                    "def test_b(): telemetry.execute('inner')\\n"
                )
                assert pytest.main([
                    str(tmp_path), "--rootdir", str(tmp_path), "-p", "no:hypothesispytest",
                    "-p", "no:asyncio", "-p", "no:anyio", "-p", "no:randomly",
                    "-p", "no:cacheprovider", "--crucible-output", str(tmp_path / "inner"),
                ]) == 0
                telemetry.execute("after")
        """
    )
    support.run(pytester).assert_outcomes(passed=1)
    assert support.heard(pytester) == {"outer/default": ["after", "before"]}


def test_the_session_is_left_as_it_was(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Random state, warning filters, gc, cwd, signals, tracer provider and context stay put."""
    pytester.makeconftest("""
        import gc
        import os
        import random
        import signal
        import sys
        import threading
        import warnings

        import numpy
        import pytest
        from opentelemetry import trace

        def state():
            return {
                "random": random.getstate(),
                "numpy": str(numpy.random.get_state()),
                "warnings": list(warnings.filters),
                "gc": (gc.isenabled(), gc.get_threshold(), len(gc.callbacks)),
                "cwd": os.getcwd(),
                "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
                "tracer": trace.get_tracer_provider(),
                "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
                "trace": (sys.gettrace(), sys.getprofile()),
                "hooks": (sys.excepthook, threading.excepthook),
                "threads": threading.active_count(),
            }

        @pytest.hookimpl(wrapper=True)
        def pytest_pyfunc_call(pyfuncitem):
            pyfuncitem.config.states.append(state())
            return (yield)

        def pytest_configure(config):
            random.seed(7)
            numpy.random.seed(7)
            config.states = []
    """)
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry
        from pytest_crucible.capture.open_scope import current_scope

        def test_before():
            pass

        @pytest.mark.experiment("e", conditions=("a", "b"), trials=2, expect=["pass_rate > 0"])
        def test_a(experiment):
            telemetry.execute("x", {"n": 1})
            experiment.record(score=1)

        def test_after(request):
            before, *_, after = request.config.states
            for name in before:
                assert after[name] == before[name], name
            telemetry.execute("nobody listens")
            assert current_scope.get() is None
    """)
    whole = ["--dist=loadfile"] if "-n2" in mode else []
    support.run(pytester, *mode, *whole).assert_outcomes(passed=6)
    assert support.heard(pytester) == {"e/a": ["x", "x"], "e/b": ["x", "x"]}


def test_unmarked_tests_are_not_heard(pytester: pytest.Pytester) -> None:
    """Between experiments nobody listens: the events of unmarked tests are recorded nowhere."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        def test_before():
            telemetry.execute("before")

        @pytest.mark.experiment("e")
        def test_a():
            telemetry.execute("a")

        def test_after():
            telemetry.execute("after")
    """)
    assert support.run(pytester).ret == 0
    assert support.heard(pytester) == {"e/default": ["a"]}
    assert support.results(pytester).unattributed == 0


def test_a_task_that_outlives_its_trial(pytester: pytest.Pytester) -> None:
    """What a leftover thread emits during the next experiment is not credited to that one."""
    pytester.makepyfile("""
        import threading
        from contextvars import copy_context
        import pytest
        from pytest_crucible import telemetry

        go, done = threading.Event(), threading.Event()

        def work():
            go.wait()
            telemetry.execute("leftover")
            done.set()

        @pytest.mark.experiment("first")
        def test_a():
            context = copy_context()
            threading.Thread(target=context.run, args=(work,), daemon=True).start()

        @pytest.mark.experiment("second")
        def test_b():
            go.set()
            done.wait()
            telemetry.execute("mine")
    """)
    assert support.run(pytester).ret == 0
    heard = support.heard(pytester)
    assert heard["second/default"] == ["mine"]
    assert heard["first/default"] == ["leftover"]
    assert support.results(pytester).late == 1


def test_numpy_that_a_test_made_forgotten(pytester: pytest.Pytester) -> None:
    """It loads once per process: the run is recorded, and what to do is told in one line."""
    pytester.makepyfile(
        """
        import sys
        from unittest import mock
        import pytest

        @pytest.mark.experiment("e")
        def test_it():
            with mock.patch.dict(sys.modules):
                import numpy
        """
    )
    result = pytester.runpytest_subprocess(*support.ARGUMENTS)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["problem: the run cannot be read in this process: *"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    (run,) = (pytester.path / "crucible-results").glob("2*")
    assert len(recover(run).experiments) == 1
