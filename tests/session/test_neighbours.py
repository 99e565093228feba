"""Other plugins: async, repeating and retrying ones, time-outs, coverage, unittest, doctest."""

from __future__ import annotations

import os

import pytest

from tests.session import support

ASYNCIO = ("-p", "asyncio", "-o", "asyncio_default_fixture_loop_scope=function")

ASYNC_SUITE = """
import asyncio
import pytest
import pytest_asyncio
from pytest_crucible import telemetry

@pytest_asyncio.fixture{scopes}
async def client():
    telemetry.execute("setup")
    yield
    telemetry.execute("teardown")

@pytest.mark.experiment("e", conditions=("a", "b"))
{mark}
async def test_e(client, experiment):
    async def child(name):
        await asyncio.sleep(0)
        telemetry.execute(name)

    telemetry.execute("own")
    await asyncio.gather(child("task 1"), child("task 2"))
    await asyncio.to_thread(telemetry.execute, "thread")
    async with experiment.span("span"):
        await asyncio.sleep(0)

@pytest.mark.experiment("f")
{mark}
async def test_f(client):
    await asyncio.sleep(0)
    telemetry.execute("f")

{mark}
async def test_unmarked(client):
    telemetry.execute("nobody listens")
"""

IN_TEST = ["own", "span.start", "span.stop", "task 1", "task 2", "thread"]
AROUND = ["setup", "teardown"]


@pytest.mark.parametrize("how", [(), ("-n2",)])
@pytest.mark.parametrize("auto", [False, True])
@pytest.mark.parametrize("loop", ["function", "session"])
def test_asyncio(pytester: pytest.Pytester, how: tuple[str, ...], auto: bool, loop: str) -> None:
    """Strict or auto, a loop per test or one for the session: events find their trial."""
    mark = f'@pytest.mark.asyncio(loop_scope="{loop}")'
    scopes = f'(loop_scope="{loop}")'
    options = [*ASYNCIO]
    if auto:
        options += ["--asyncio-mode=auto", "-o", f"asyncio_default_test_loop_scope={loop}"]
        mark = ""
    pytester.makepyfile(ASYNC_SUITE.format(mark=mark, scopes=scopes))
    support.run(pytester, *how, *options).assert_outcomes(passed=4)
    assert support.heard(pytester) == {
        "e/a": sorted(IN_TEST + AROUND),
        "e/b": sorted(IN_TEST + AROUND),
        "f/default": sorted(["f", *AROUND]),
    }
    assert {event.attribution for event in support.events(pytester)} == {"context"}


def test_asyncio_with_a_fixture_of_the_session(pytester: pytest.Pytester) -> None:
    """What it spends belongs to the set-up of the experiment, and to none of its arms."""
    pytester.makepyfile(
        ASYNC_SUITE.format(
            mark='@pytest.mark.asyncio(loop_scope="session")',
            scopes='(loop_scope="session", scope="session")',
        )
    )
    support.run(pytester, *ASYNCIO).assert_outcomes(passed=4)
    assert support.heard(pytester) == {
        "e/SETUP": AROUND,
        "e/a": IN_TEST,
        "e/b": IN_TEST,
        "f/default": ["f"],
    }
    results = support.results(pytester)
    assert (results.late, results.unattributed) == (1, 0)  # the teardown: its task keeps a context


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(pytester: pytest.Pytester, backend: str) -> None:
    """Tests on anyio, with asyncio or trio below: tasks and worker threads find their trial."""
    pytester.makepyfile(f"""
        import anyio
        import anyio.to_thread
        import pytest
        from pytest_crucible import telemetry

        @pytest.fixture
        def anyio_backend():
            return "{backend}"

        @pytest.fixture
        async def client(anyio_backend):
            telemetry.execute("setup")
            yield
            telemetry.execute("teardown")

        @pytest.mark.experiment("e", conditions=("a", "b"))
        @pytest.mark.anyio
        async def test_e(client, experiment):
            async def child():
                await anyio.sleep(0)
                telemetry.execute("task")

            async with anyio.create_task_group() as group:
                group.start_soon(child)
            await anyio.to_thread.run_sync(telemetry.execute, "thread")
            with experiment.span("span"):
                await anyio.sleep(0)

        @pytest.mark.experiment("f")
        @pytest.mark.anyio
        async def test_f():
            telemetry.execute("f")
    """)
    support.run(pytester, "-p", "anyio").assert_outcomes(passed=3)
    names = sorted([*AROUND, "task", "thread", "span.start", "span.stop"])
    assert support.heard(pytester) == {"e/a": names, "e/b": names, "f/default": ["f"]}
    assert {event.attribution for event in support.events(pytester)} == {"context"}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_with_a_backend_of_the_session(pytester: pytest.Pytester, backend: str) -> None:
    """One runner for all tests, made in the first: every test's own events are its own."""
    pytester.makepyfile(f"""
        import pytest
        from pytest_crucible import telemetry

        @pytest.fixture(scope="session")
        def anyio_backend():
            return "{backend}"

        @pytest.fixture(scope="session", autouse=True)
        async def around(anyio_backend):
            yield

        @pytest.mark.experiment("e", conditions=("a", "b"))
        @pytest.mark.anyio
        async def test_e(experiment):
            telemetry.execute(experiment.condition)

        @pytest.mark.anyio
        async def test_unmarked():
            telemetry.execute("unmarked")
    """)
    support.run(pytester, "-p", "anyio").assert_outcomes(passed=3)
    heard = support.heard(pytester)
    assert heard["e/b"] == ["b"]
    assert "a" in heard["e/a"]
    assert "b" not in heard["e/a"]


@pytest.mark.parametrize("how", [(), ("-n2",)])
@pytest.mark.parametrize("failures", ["fail", "record"])
def test_rerunfailures(pytester: pytest.Pytester, how: tuple[str, ...], failures: str) -> None:
    """A rerun is another attempt of the same trial: the last decides, the first is kept."""
    pytester.makepyfile(f"""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", trials=2, failures="{failures}")
        def test_a(experiment):
            telemetry.execute("x", {{"attempt": experiment.attempt}})
            assert experiment.trial == 1 or experiment.attempt == 3
    """)
    result = support.run(pytester, *how, "--reruns=2")
    assert result.ret == 0
    assert result.parseoutcomes()["rerun"] == 2
    tests = support.only(pytester).metrics[support.DEFAULT].tests
    assert (tests.trials, tests.passed, tests.attempts) == (2, 2, 4)
    assert (tests.pass_rate, tests.first_pass_rate) == (1.0, 0.5)
    attempts = sorted(event.measurements["attempt"] for event in support.events(pytester))
    assert attempts == [1, 1, 2, 3]


@pytest.mark.parametrize("options", [("--count=2",), ()])
def test_repeat(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    """Repetitions by pytest-repeat are trials of the same case, whatever the ids look like."""
    pytester.makepyfile(f"""
        import pytest

        {"" if options else "@pytest.mark.repeat(2)"}
        @pytest.mark.experiment("e", conditions=("2", "b"), trials=2)
        @pytest.mark.parametrize("n", ["1-2", "1-7", "x"])
        def test_a(n):
            pass
    """)
    support.run(pytester, *options).assert_outcomes(passed=24)
    assert sorted(support.plan(pytester)) == sorted(
        (condition, f"test_a[{n}]", trial)
        for condition in ("2", "b")
        for n in ("1-2", "1-7", "x")
        for trial in (1, 2, 3, 4)
    )


def test_randomly(pytester: pytest.Pytester) -> None:
    """Random numbers are the same with and without experiments around a test."""
    suite = """
        import random
        import pytest

        {mark}
        def test_a(record_property):
            print("drawn", random.random())

        def test_b():
            print("drawn", random.random())
    """
    options = ("-p", "randomly", "--randomly-seed=3", "--randomly-dont-reorganize", "-s")
    drawn = []
    for mark in ("", '@pytest.mark.experiment("e", expect=["tests.passed > 0"])'):
        pytester.makepyfile(suite.format(mark=mark))
        result = support.run(pytester, *options)
        assert result.ret == 0
        drawn.append([line for line in result.outlines if "drawn" in line])
    assert len(drawn[0]) == 2
    assert [line.split("drawn")[1] for line in drawn[0]] == [
        line.split("drawn")[1] for line in drawn[1]
    ]


@pytest.mark.parametrize("failures", ["fail", "record"])
def test_timeout(pytester: pytest.Pytester, failures: str) -> None:
    """A test that times out is an errored trial, and what it had recorded is kept."""
    pytester.makepyfile(f"""
        import threading
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", failures="{failures}", max_errors=0.5)
        @pytest.mark.timeout(0.05, method="signal")
        def test_a():
            telemetry.execute("x")
            threading.Event().wait()

        @pytest.mark.experiment("e")
        def test_b():
            pass
    """)
    result = support.run(pytester)
    assert result.ret == (1 if failures == "fail" else 0)
    assert support.outcomes(pytester) == {"test_a": "errored", "test_b": "passed"}
    assert support.heard(pytester) == {"e/default": ["x"]}


@pytest.mark.parametrize("how", [(), ("-n2",)])
def test_cov(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    """Coverage is measured as ever, and the record is complete."""
    for name in [name for name in os.environ if name.startswith(("COV", "COVERAGE"))]:
        monkeypatch.delenv(name)  # of the suite's own measurement
    pytester.makepyfile(
        code="def double(n):\n    if n:\n        return 2 * n\n    return 0\n",
        test_code="""
            import code_under_test
        """,
    )
    pytester.path.joinpath("code.py").rename(pytester.path / "code_under_test.py")
    pytester.path.joinpath("test_code.py").write_text(
        "import pytest\n"
        "from code_under_test import double\n"
        "@pytest.mark.experiment('e', trials=2)\n"
        "def test_a(): assert double(2) == 4\n"
    )
    result = pytester.runpytest_subprocess(
        *support.ARGUMENTS, *how, "--cov=code_under_test", "--cov-report=term-missing"
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["code_under_test.py *4 *1 *75%*4"])
    result.stdout.fnmatch_lines(["  recorded 2/2 trials*"])


def test_unittest(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """TestCase methods are trials: marked as a class or one by one, with setUp and tearDown."""
    pytester.makepyfile("""
        import unittest
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", condition="a")
        class TestA(unittest.TestCase):
            def setUp(self):
                telemetry.execute("setUp")

            def tearDown(self):
                telemetry.execute("tearDown")

            def test_a(self):
                telemetry.execute("test")

            @pytest.mark.experiment("f")
            def test_b(self):
                telemetry.execute("f")

            @unittest.skip("later")
            def test_c(self):
                pass

            def test_d(self):
                self.assertEqual(1, 2)
    """)
    result = support.run(pytester, *mode)
    result.assert_outcomes(passed=2, skipped=1, failed=1)
    assert support.heard(pytester) == {
        "e/a": ["setUp", "setUp", "tearDown", "tearDown", "test"],
        "f/default": ["f", "setUp", "tearDown"],
    }
    assert support.outcomes(pytester) == {
        "TestA::test_a": "passed", "TestA::test_b": "passed", "TestA::test_c": "skipped",
        "TestA::test_d": "failed",
    }  # fmt: skip


def test_async_unittest(pytester: pytest.Pytester) -> None:
    """The context of an IsolatedAsyncioTestCase is older than the trial, but nothing is lost."""
    pytester.makepyfile("""
        import unittest
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e")
        class TestA(unittest.IsolatedAsyncioTestCase):
            async def test_a(self):
                telemetry.execute("x")
    """)
    support.run(pytester).assert_outcomes(passed=1)
    assert support.heard(pytester) == {"e/default": ["x"]}


def test_doctest(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Doctests of a marked module are trials of its experiment."""
    pytester.makepyfile('''
        import pytest
        from pytest_crucible import telemetry

        pytestmark = pytest.mark.experiment("e")

        def double(n):
            """
            >>> telemetry.execute("from a doctest")
            >>> double(2)
            4
            """
            return 2 * n

        def test_a():
            telemetry.execute("from a test")
    ''')
    support.run(pytester, *mode, "--doctest-modules").assert_outcomes(passed=2)
    assert support.heard(pytester) == {"e/default": ["from a doctest", "from a test"]}


def test_hypothesis(pytester: pytest.Pytester) -> None:
    """All examples of a property are one trial."""
    pytester.makepyfile("""
        import pytest
        from hypothesis import given, settings, strategies
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", conditions=("a", "b"))
        @settings(max_examples=5, database=None, derandomize=True)
        @given(strategies.integers())
        def test_a(n):
            telemetry.execute("example")
    """)
    support.run(pytester).assert_outcomes(passed=2)
    heard = support.heard(pytester)
    assert set(heard) == {"e/a", "e/b"}
    assert set(heard["e/a"]) == set(heard["e/b"]) == {"example"}
    assert len(support.only(pytester).trials) == 2
