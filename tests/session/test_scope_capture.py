"""``scope=``: stretches over a class, a module or the session."""

from __future__ import annotations

import pytest

from tests.session import support

CLASS = """
import pytest
from pytest_crucible import telemetry

@pytest.fixture(autouse=True, scope="class")
def around():
    telemetry.execute("around.setup")
    yield
    telemetry.execute("around.teardown")

def test_before():
    telemetry.execute("before")

class TestA:
    @pytest.mark.experiment("e", scope="{scope}")
    def test_marked(self):
        telemetry.execute("marked")

    def test_in_class(self):
        telemetry.execute("in class")

def test_in_module():
    telemetry.execute("in module")
"""

EXPECTED = {
    "test": ["marked", "around.setup", "around.teardown"],
    "class": ["marked", "around.setup", "in class", "around.teardown"],
    "module": ["marked", "around.setup", "in class", "around.teardown", "around.setup",
               "around.teardown", "in module"],
    "session": ["marked", "around.setup", "in class", "around.teardown", "around.setup",
                "around.teardown", "in module", "elsewhere"],
}  # fmt: skip


@pytest.mark.parametrize("scope", EXPECTED)
@pytest.mark.parametrize("how", [(), ("-n1",)])
def test_a_stretch_hears_everything_in_it(
    pytester: pytest.Pytester, scope: str, how: tuple[str, ...]
) -> None:
    """A stretch begins with its first test and hears unmarked tests too, until its node ends."""
    pytester.makepyfile(
        test_1=CLASS.format(scope=scope),
        test_2="""
            from pytest_crucible import telemetry

            def test_c():
                telemetry.execute("elsewhere")
        """,
    )
    assert support.run(pytester, *how).ret == 0
    heard = support.heard(pytester)
    # A fixture that is wider than the marked test is no part of it.
    assert all(name.startswith("around.") for name in heard.pop("e/SETUP", []))
    everything = [name for names in support.heard(pytester).values() for name in names]
    assert sorted(everything) == sorted(EXPECTED[scope])


def test_events_between_trials_belong_to_no_trial(pytester: pytest.Pytester) -> None:
    """Inside a trial events know their case; between trials they know the experiment only."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", scope="module")
        def test_a():
            telemetry.execute("inside")

        def test_b():
            telemetry.execute("between")
    """)
    assert support.run(pytester).ret == 0
    scopes = {event.name: event.scope for event in support.events(pytester)}
    inside, between = scopes["inside"], scopes["between"]
    assert inside is not None
    assert inside.trial == 1
    assert between is not None
    assert (between.experiment, between.condition) == ("e", "default")
    assert (between.test, between.case, between.trial, between.attempt) == (None,) * 4


@pytest.mark.parametrize(
    "arms",
    [('conditions=("a", "b")', 'conditions=("a", "b")'), ('condition="a"', 'condition="b"')],
)
def test_between_several_arms_events_belong_to_none(
    pytester: pytest.Pytester, arms: tuple[str, str]
) -> None:
    """An event between the trials of two arms is credited to neither of them."""
    pytester.makepyfile(f"""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", scope="module", {arms[0]})
        def test_a(experiment):
            telemetry.execute(experiment.condition)

        @pytest.mark.experiment("e", scope="module", {arms[1]})
        def test_b(experiment):
            telemetry.execute(experiment.condition)

        def test_c():
            telemetry.execute("between")
    """)
    assert support.run(pytester).ret == 0
    heard = support.heard(pytester)
    assert set(heard.pop("e/a")) == {"a"}
    assert set(heard.pop("e/b")) == {"b"}
    assert heard == {"e/SETUP": ["between"]}


def test_two_stretches_over_one_node(pytester: pytest.Pytester) -> None:
    """Where two experiments cover the same stretch, an event outside both counts as unknown."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", scope="module")
        def test_a():
            telemetry.execute("a")

        def test_alone():
            telemetry.execute("of e")

        @pytest.mark.experiment("f", scope="module")
        def test_b():
            telemetry.execute("b")

        def test_c():
            telemetry.execute("whose?")
    """)
    result = support.run(pytester)
    assert support.heard(pytester) == {
        "e/default": ["a", "of e"], "f/default": ["b"], "": ["whose?"],
    }  # fmt: skip
    result.stdout.fnmatch_lines(["1 event not attributed: *"])


def test_the_innermost_stretch_hears(pytester: pytest.Pytester) -> None:
    """Of nested stretches the narrowest one hears, whichever began first."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        class TestA:
            @pytest.mark.experiment("narrow", scope="class")
            def test_a(self):
                telemetry.execute("a")

            @pytest.mark.experiment("wide", scope="session")
            def test_b(self):
                telemetry.execute("b")

            def test_c(self):
                telemetry.execute("c")

        def test_d():
            telemetry.execute("d")
    """)
    assert support.run(pytester).ret == 0
    assert support.heard(pytester) == {"narrow/default": ["a", "c"], "wide/default": ["b", "d"]}


def test_each_class_is_a_stretch(pytester: pytest.Pytester) -> None:
    """Two marked classes are two stretches of one experiment; between them nobody listens."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", scope="class")
        class TestA:
            def test_a(self):
                telemetry.execute("a")

        def test_between():
            telemetry.execute("between")

        @pytest.mark.experiment("e", scope="class")
        class TestB:
            def test_b(self):
                telemetry.execute("b")

        @pytest.mark.experiment("e", scope="class")
        def test_alone():
            telemetry.execute("alone")

        def test_after():
            telemetry.execute("after")
    """)
    assert support.run(pytester).ret == 0
    assert support.heard(pytester) == {"e/default": ["a", "alone", "b"]}
    assert len(support.only(pytester).trials) == 3


def test_a_stretch_ends_when_the_session_is_cut_short(pytester: pytest.Pytester) -> None:
    """With ``-x`` the stretch is closed in good order, and the trials that never ran are named."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", scope="session", trials=3)
        def test_a(experiment):
            assert experiment.trial < 2
    """)
    result = support.run(pytester, "-x")
    assert result.ret == 1
    assert list(support.outcomes(pytester).values()) == ["passed", "failed", "missing"]
    assert all(node["closed"] for node in support.results(pytester).nodes)


def test_expectations_are_not_about_the_time_between(pytester: pytest.Pytester) -> None:
    """Events between the trials of several arms are no arm: no expectation is judged for them."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment(
            "e", conditions=("a", "b"), scope="module", expect=["tests.passed >= 1"]
        )
        def test_a():
            pass

        def test_b():
            telemetry.execute("between")
    """)
    assert support.run(pytester).ret == 0
    judged = [verdict.condition for verdict in support.only(pytester).verdicts]
    assert judged == ["a", "b"]
