"""The marker: what it accepts, and the one line that refuses everything else."""

from __future__ import annotations

import pytest

from pytest_crucible.runs.experiment_definition import KEYWORDS, define
from tests.session import support

VALID = ", ".join(KEYWORDS)

MISTAKES = {
    '"e", hypotesis="x"': (
        f"unknown keyword 'hypotesis'; did you mean 'hypothesis'? valid: {VALID}"
    ),
    '"e", zzz=1': f"unknown keyword 'zzz'; valid: {VALID}",
    '"e", scope="package"': "scope='package' is not one of test, class, module, session",
    '""': "experiment name must be a non-empty string, not ''",
    '" "': "experiment name must be a non-empty string, not ' '",
    "": "experiment name must be a non-empty string, not None",
    "test_a": "experiment name must be a non-empty string, not <function test_a",
    '"e", "f"': "takes one positional argument, the name; give 'f' a keyword",
    '"e", conditions=("a", "a")': "conditions names 'a' twice",
    '"e", expect=["sucess_rate > 0.9"]': "expect: unknown metric 'sucess_rate'; did you mean succ",
    '"e", expect=["success_rate >= 90"]': "expect: a rate is between 0 and 1: 90% at column 17",
    '"e", conditions="ab"': "conditions='ab': the test has no parametrized argument 'ab'; ",
    '"e", condition="a", conditions=("b",)': (
        "condition='a' and conditions=('b',) exclude each other: one names this test's arm, "
        "the other runs each case once per arm"
    ),
    '"e", trials=-1': "trials must be a whole number of at least 1, not -1",
    '"e", trials=0': "trials must be a whole number of at least 1, not 0",
    '"e", trials=True': "trials must be a whole number of at least 1, not True",
    '"e", metadata="x"': "metadata must be a mapping, not 'x'",
    '"e", failures="ignore"': "failures='ignore' is not one of fail, record",
    '"e", sampling=0.1': "sampling=0.1 is not one of adaptive:SHARE, importance:SHARE, "
    "reservoir:SIZE, stratified:SHARE, uniform:SHARE",
    '"e", expect=["success_rate ~ 0.9"]': (
        "expect: cannot read '~' at column 14 of 'success_rate ~ 0.9'"
    ),
    '"e", expect=["latency.p95 <"]': (
        "expect: expected a number or a condition at column 14 of 'latency.p95 <'"
    ),
    '"e", conditions=("a", "b"), expect=["cost.total < 2 * c"]': (
        "expect: unknown condition 'c' (valid: a, b) at column 18 of 'cost.total < 2 * c'"
    ),
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_is_one_line(pytester: pytest.Pytester, arguments: str) -> None:
    """A marker that makes no sense is refused before any test runs, in one line that says why."""
    assert_one_line(pytester, (), arguments)


@pytest.mark.parametrize("arguments", ['"e", trials=-1', '"e", expect=["latency.p95 <"]'])
def test_a_mistake_is_one_line_in_every_mode(
    pytester: pytest.Pytester, mode: tuple[str, ...], arguments: str
) -> None:
    """A worker's refusal reaches the user as the same one line."""
    assert_one_line(pytester, mode, arguments)


def assert_one_line(pytester: pytest.Pytester, mode: tuple[str, ...], arguments: str) -> None:
    pytester.makepyfile(
        test_mistake=f"""
        import pytest

        def test_a():
            pass

        test_a = pytest.mark.experiment.with_args({arguments})(test_a)

        def test_fine():
            pass
    """
    )
    line = support.refused(support.run(pytester, *mode))
    place, _, problem = line.partition(": @pytest.mark.experiment: ")
    assert place.startswith("test_mistake.py::test_a")
    assert problem.startswith(MISTAKES[arguments])
    assert not (pytester.path / support.OUTPUT).exists()


SUITES = {
    "two markers on a test": (
        """
        @pytest.mark.experiment("one")
        @pytest.mark.experiment("two")
        def test_a():
            pass
        """,
        "test_a: @pytest.mark.experiment: two markers on one test ('two', 'one'); "
        "a test has one experiment",
    ),
    "two markers on a class": (
        """
        @pytest.mark.experiment("one")
        @pytest.mark.experiment("two")
        class TestA:
            def test_a(self):
                pass
        """,
        "test_a: @pytest.mark.experiment: two markers on TestA ('two', 'one'); "
        "a test has one experiment",
    ),
    "contradictory hypotheses": (
        """
        @pytest.mark.experiment("e", hypothesis="up")
        def test_a():
            pass

        @pytest.mark.experiment("e", hypothesis="down")
        def test_b():
            pass
        """,
        "test_b: @pytest.mark.experiment: experiment 'e' has the hypothesis 'down' here and 'up' "
        "in test_suites.py::test_a",
    ),
    "conditions on a unittest method": (
        """
        class TestA(unittest.TestCase):
            @pytest.mark.experiment("e", conditions=("a", "b"))
            def test_a(self):
                pass
        """,
        "test_a: @pytest.mark.experiment: conditions and trials need a pytest function; unittest "
        "and doctest items cannot be parametrized",
    ),
    "trials on a unittest class": (
        """
        @pytest.mark.experiment("e", trials=2)
        class TestA(unittest.TestCase):
            def test_a(self):
                pass
        """,
        "test_a: @pytest.mark.experiment: conditions and trials need a pytest function; unittest "
        "and doctest items cannot be parametrized",
    ),
    "conditions on a parameter": (
        """
        @pytest.mark.parametrize(
            "n", [pytest.param(1, marks=pytest.mark.experiment("e", conditions=("a", "b")))]
        )
        def test_a(n):
            pass
        """,
        "test_a[1]: @pytest.mark.experiment: conditions and trials need the marker on the "
        "function, its class or its module, not on a parameter or added by a hook",
    ),
}


@pytest.mark.parametrize("mistake", SUITES)
def test_a_contradiction_is_one_line(pytester: pytest.Pytester, mistake: str) -> None:
    """Markers that contradict each other, or cannot be followed, are refused in one line."""
    suite, expected = SUITES[mistake]
    imports = "        import unittest\n        import pytest\n"
    pytester.makepyfile(test_suites=imports + suite)
    assert support.refused(support.run(pytester)).endswith(expected)


def test_a_mistake_shows_in_collection(pytester: pytest.Pytester) -> None:
    """``--collect-only`` finds the mistakes, so that nobody pays for a run to learn of them."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", trials=0)
        def test_a():
            pass
    """)
    assert "trials" in support.refused(support.run(pytester, "--collect-only"))


def test_every_keyword_is_kept(pytester: pytest.Pytester) -> None:
    """What the author wrote into the marker is in the record, whatever the metadata holds."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment(
            "e", hypothesis="it works", condition="control", tags=["h1"], sample_size=12,
            metadata={"seed": 7, "odd": {1, 2}}, expect=["success_rate > 0.5"], failures="fail",
        )
        def test_a():
            pass
    """)
    assert support.run(pytester).ret == 0
    definition = support.only(pytester).definition
    assert definition.name == "e"
    assert definition.hypothesis == "it works"
    assert definition.conditions == ("control",)
    assert definition.tags == ("h1",)
    assert definition.sample_size == 12
    assert definition.metadata == {"seed": 7, "odd": "{1, 2}"}
    assert definition.expect == ("success_rate > 0.5",)
    assert definition.failures == "fail"


def test_tests_of_one_name_are_one_experiment(pytester: pytest.Pytester) -> None:
    """Tests that share a name share an experiment: arms, tags and expectations are united."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", condition="control", tags=["a"], hypothesis="x")
        def test_a():
            pass

        @pytest.mark.experiment("e", condition="treatment", tags=["b"], expect=["pass_rate > 0"])
        def test_b():
            pass
    """)
    assert support.run(pytester).ret == 0
    experiment = support.only(pytester)
    assert experiment.conditions == ("control", "treatment")
    assert experiment.definition.tags == ("a", "b")
    assert experiment.definition.hypothesis == "x"
    assert [each.verdict for each in experiment.verdicts] == ["CONFIRMED", "CONFIRMED"]


def test_the_closest_marker_wins(pytester: pytest.Pytester) -> None:
    """A method's marker beats its class's, which beats the module's; a keyword may name it."""
    pytester.makepyfile("""
        import pytest

        pytestmark = pytest.mark.experiment("of module")

        def test_a():
            pass

        @pytest.mark.experiment("of class")
        class TestA:
            def test_b(self):
                pass

            @pytest.mark.experiment(name="of method")
            def test_c(self):
                pass
    """)
    assert support.run(pytester).ret == 0
    found = {
        experiment.definition.name: [trial.test.rpartition("::")[2] for trial in experiment.trials]
        for experiment in support.results(pytester).experiments
    }
    assert found == {"of module": ["test_a"], "of class": ["test_b"], "of method": ["test_c"]}


@pytest.mark.parametrize("name", ["../../etc/x", 'a/b: "c"', "C:\\con", "naïve 🧪", "x" * 300])
def test_names_stay_inside(pytester: pytest.Pytester, mode: tuple[str, ...], name: str) -> None:
    """Whatever an experiment, an arm or a case is called, nothing is written elsewhere."""
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.experiment({name!r}, conditions=({name!r}, "b"))
        @pytest.mark.parametrize("case", [1], ids=[{name!r}])
        def test_a(case):
            pass
    """)
    before = set(pytester.path.parent.iterdir())
    result = support.run(pytester, *mode, "--crucible-export=csv,jsonl", "-p", "no:cacheprovider")
    assert result.ret == 0
    assert support.only(pytester).definition.name == name
    assert support.only(pytester).conditions == (name, "b")
    assert set(pytester.path.parent.iterdir()) == before
    beside = {path.name for path in pytester.path.iterdir()} - {support.OUTPUT, "__pycache__"}
    assert beside == {"test_names_stay_inside.py"}
    (folder,) = [path for path in (pytester.path / support.OUTPUT).iterdir() if path.is_dir()]
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json", "nodes", "events.csv", "events.jsonl",
    }  # fmt: skip


def test_the_help_names_every_keyword(pytester: pytest.Pytester) -> None:
    """``pytest --markers`` is made from the definition, with the defaults."""
    line = next(
        line
        for line in support.run(pytester, "--markers").outlines
        if line.startswith("@pytest.mark.experiment(")
    )
    shown, _, what = line.removeprefix("@pytest.mark.experiment(").partition("): ")
    assert what == "run this test as an experiment (pytest-crucible)"
    name, star, *keywords = shown.split(", ")
    assert (name, star) == ("name", "*")
    plain = define("e")
    defaults = {key: getattr(plain, key) for key in KEYWORDS} | {"failures": None}
    assert keywords == [f"{key}={value!r}" for key, value in defaults.items()]
