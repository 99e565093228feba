"""Markers that hooks, fixtures and tests add: obeyed, or an error, never ignored."""

from __future__ import annotations

import pytest

from tests.session import support

TWO = """
def test_a():
    pass

def test_b():
    pass
"""

ADD = """
import pytest

{decorator}
def pytest_collection_modifyitems(items):
    {before}
    for item in items:
        item.add_marker(pytest.mark.experiment({marker}))
"""

HOOKS = {
    "plain": ("", ""),
    "trylast": ("@pytest.hookimpl(trylast=True)", ""),
    "tryfirst": ("@pytest.hookimpl(tryfirst=True)", ""),
    "wrapper": ("@pytest.hookimpl(wrapper=True)", "result = yield"),
    "first wrapper": ("@pytest.hookimpl(wrapper=True, tryfirst=True)", "result = yield"),
}


def conftest(kind: str = "plain", marker: str = "'evals'") -> str:
    decorator, before = HOOKS[kind]
    source = ADD.format(decorator=decorator, before=before, marker=marker)
    return source + ("    return result\n" if before else "")


@pytest.mark.parametrize("kind", HOOKS)
def test_a_marker_of_a_hook_counts_whenever_it_comes(
    pytester: pytest.Pytester, mode: tuple[str, ...], kind: str
) -> None:
    """Whether our hook or theirs runs first, the tests are trials; that is all there need be."""
    pytester.makeconftest(conftest(kind, "'evals', expect=['success_rate >= 10%']"))
    pytester.makepyfile(TWO + "def test_c(experiment):\n    experiment.record(score=1)\n")
    result = support.run(pytester, *mode)
    assert result.ret == 0
    experiment = support.only(pytester)
    assert (experiment.definition.name, len(experiment.trials)) == ("evals", 3)
    assert experiment.metrics[support.DEFAULT].recorded["score"].count == 1
    result.stdout.fnmatch_lines(["*recorded 3/3 trials*"])


@pytest.mark.parametrize("keyword", ["trials=3", "conditions=['a', 'b']"])
def test_what_came_too_late_to_be_obeyed_is_refused(
    pytester: pytest.Pytester, mode: tuple[str, ...], keyword: str
) -> None:
    """Tests are multiplied when they are collected; afterwards nobody can."""
    pytester.makeconftest(conftest("trylast", f"'evals', {keyword}"))
    pytester.makepyfile(TWO)
    line = support.refused(support.run(pytester, *mode))
    assert line.endswith("not on a parameter or added by a hook")


def test_a_second_marker_is_refused(pytester: pytest.Pytester) -> None:
    """A test that has one already has one experiment."""
    pytester.makeconftest(conftest("trylast"))
    pytester.makepyfile("import pytest\n@pytest.mark.experiment('own')\ndef test_a(): pass\n")
    line = support.refused(support.run(pytester))
    assert "two markers on one test ('own', 'evals')" in line


def test_late_and_early_markers_share_a_session(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """A late one may name an arm of an experiment that exists; its own mistakes are refused."""
    source = """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(items):
            items[1].add_marker(pytest.mark.experiment("e", condition="late"))
    """
    pytester.makeconftest(source)
    pytester.makepyfile(
        "import pytest\n@pytest.mark.experiment('e', condition='early')\n"
        "def test_a(): pass\ndef test_b(): pass\n"
    )
    assert support.run(pytester, *mode, "-p", "no:randomly").ret == 0
    assert sorted(support.only(pytester).conditions) == ["early", "late"]


def test_a_late_trial_has_the_same_case_in_every_mode(pytester: pytest.Pytester) -> None:
    """Also where xdist has already appended a group to the node id."""
    pytester.makeconftest(conftest("trylast"))
    pytester.makepyfile("import pytest\n@pytest.mark.xdist_group('g')\ndef test_a(): pass\n")
    cases = set()
    for mode in ("-p no:xdist", "-n1 --dist=loadgroup"):
        assert support.run(pytester, *mode.split()).ret == 0
        (trial,) = support.only(pytester).trials
        cases.add((trial.case, trial.test))
    assert len(cases) == 1


def test_collecting_only_records_nothing(pytester: pytest.Pytester) -> None:
    """With ``--collect-only`` a late marker makes no run."""
    pytester.makeconftest(conftest("trylast"))
    pytester.makepyfile(TWO)
    assert support.run(pytester, "--collect-only").ret == 0
    assert not (pytester.path / support.OUTPUT).exists()


AT_RUN_TIME = {
    "fixture": """
        @pytest.fixture(autouse=True)
        def add(request):
            request.node.add_marker(pytest.mark.experiment("late"))

        def test_a():
            open("ran", "w").close()
    """,
    "module fixture": """
        @pytest.fixture(autouse=True, scope="module")
        def add(request):
            request.node.add_marker(pytest.mark.experiment("late"))

        def test_a():
            open("ran", "w").close()
    """,
    "test": """
        def test_a(request):
            request.node.add_marker(pytest.mark.experiment("late"))
    """,
    "asks for it": """
        @pytest.fixture
        def add(request):
            request.node.add_marker(pytest.mark.experiment("late"))

        def test_a(add, experiment):
            open("ran", "w").close()
    """,
    "second": """
        @pytest.fixture(autouse=True)
        def add(request):
            request.node.add_marker(pytest.mark.experiment("late"))

        @pytest.mark.experiment("e", failures="record")
        def test_a():
            open("ran", "w").close()
    """,
    "unittest": """
        class TestA(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def add(self, request):
                request.node.add_marker(pytest.mark.experiment("late"))

            def test_a(self):
                open("ran", "w").close()
    """,
}


@pytest.mark.parametrize("source", AT_RUN_TIME)
def test_a_marker_of_a_fixture_or_a_test_fails_that_test(
    pytester: pytest.Pytester, mode: tuple[str, ...], source: str
) -> None:
    """Before the test spends anything, where that is known; the line says what to do."""
    import textwrap

    pytester.makepyfile("import pytest, unittest\n" + textwrap.dedent(AT_RUN_TIME[source]))
    result = support.run(pytester, *mode)
    assert result.ret == 1
    result.stdout.fnmatch_lines([
        "*test_a: an experiment marker was added while the test ran, too late to record it: put "
        "it on the test, or add it in pytest_collection_modifyitems",
    ])  # fmt: skip
    assert not (pytester.path / "ran").exists()


def test_other_markers_at_run_time_are_nobodys_business(pytester: pytest.Pytester) -> None:
    """Pytest itself documents ``add_marker`` of xfail in a test."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e")
        def test_a(request):
            request.node.add_marker(pytest.mark.xfail)
            assert 0
    """)
    assert support.run(pytester).ret == 0
    assert support.outcomes(pytester) == {"test_a": "xfailed"}
