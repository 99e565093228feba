"""Fixtures wider than a trial: what they spend belongs to no arm."""

from __future__ import annotations

import pytest

from tests.session import support

FIXTURES = """
import pytest
from pytest_crucible import telemetry

def spend(name, cost):
    telemetry.execute("req_llm.request.stop", {"duration": 2_000_000_000, "cost_usd": cost},
                      {"who": name})

@pytest.fixture(scope="%s")
def index():
    spend("set-up", 5.0)
    yield 1
    spend("teardown", 3.0)

@pytest.fixture
def own():
    spend("own", 0.25)

class TestIt:
    @pytest.mark.experiment("e", conditions=["a", "b"], expect=["cost.total <= 3"])
    @pytest.mark.parametrize("q", range(3))
    def test(self, experiment, index, own, q):
        spend("trial", 0.5)
"""


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_setup_is_no_arm(pytester: pytest.Pytester, scope: str) -> None:
    """Its cost is on a line of its own, with that of its teardown, and in no claim."""
    pytester.makepyfile(FIXTURES % scope)
    result = support.run(pytester)
    text = result.stdout.str()
    assert "set-up: 2 calls $8, 4 s" in text
    assert result.ret == 0
    assert text.count("CONFIRMED") == 3
    heard = support.heard(pytester)
    assert heard["e/SETUP"] == ["req_llm.request.stop"] * 2
    assert len(heard["e/a"]) == len(heard["e/b"]) == 6


def test_setup_is_in_the_budget(pytester: pytest.Pytester) -> None:
    """It was spent, whoever it belongs to."""
    pytester.makepyfile(FIXTURES.replace('expect=["cost.total <= 3"]', "budget_usd=5") % "session")
    result = support.run(pytester)
    result.assert_outcomes(passed=1, skipped=5)


def test_a_fixture_that_fails_gives_the_scope_back(pytester: pytest.Pytester) -> None:
    """The trial that could not begin is an error; the next event is in the next trial."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.fixture(scope="module")
        def broken():
            telemetry.execute("tried")
            raise ValueError("no index")

        @pytest.mark.experiment("e")
        def test_a(broken):
            pass

        @pytest.mark.experiment("e")
        def test_b():
            telemetry.execute("fine")
    """)
    support.run(pytester).assert_outcomes(
        passed=1, errors=1, failed=1
    )  # and the experiment, which is ERRORED
    assert support.heard(pytester) == {"e/SETUP": ["tried"], "e/default": ["fine"]}


@pytest.mark.parametrize("plugin", ["anyio", "asyncio"])
def test_async_fixtures(pytester: pytest.Pytester, plugin: str) -> None:
    """Whichever task they run in."""
    pytest.importorskip({"anyio": "anyio", "asyncio": "pytest_asyncio"}[plugin])
    own = "pytest.fixture" if plugin == "anyio" else "pytest_asyncio.fixture"
    loop = "" if plugin == "anyio" else ', loop_scope="module"'
    pytester.makepyfile(f"""
        import pytest
        {"import pytest_asyncio" if plugin == "asyncio" else ""}
        from pytest_crucible import telemetry

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @{own}(scope="module"{loop})
        async def index():
            telemetry.execute("begin")
            yield 1
            telemetry.execute("end")

        @pytest.mark.{plugin}{'(loop_scope="module")' if plugin == "asyncio" else ""}
        @pytest.mark.experiment("e", conditions=["a", "b"])
        async def test(experiment, index):
            telemetry.execute("trial")
    """)
    options = ["-p", "anyio"]
    if plugin == "asyncio":
        options = ["-p", "asyncio", "-o", "asyncio_default_fixture_loop_scope=function"]
    result = support.run(pytester, *options)
    result.assert_outcomes(passed=2)
    assert support.heard(pytester) == {
        "e/SETUP": ["begin", "end"], "e/a": ["trial"], "e/b": ["trial"],
    }  # fmt: skip


def test_every_worker_sets_up_once(pytester: pytest.Pytester) -> None:
    """And the line says how many there were."""
    pytester.makepyfile(FIXTURES % "session")
    result = support.run(pytester, "-n1")
    assert "set-up: 2 calls $8, 4 s\n" in result.stdout.str()
    result = support.run(pytester, "-n2")
    assert "set-up: 4 calls $16, 8 s (once per worker: 2 workers)" in result.stdout.str()
