"""Arms from values and from parametrized arguments: names, pairs, order, refusals."""

from __future__ import annotations

import pytest

from tests.session import support


def arms(pytester: pytest.Pytester) -> dict[str, list[str]]:
    """Cases by condition of the newest run's only experiment."""
    experiment = support.only(pytester)
    found: dict[str, list[str]] = {condition: [] for condition in experiment.conditions}
    for trial in experiment.trials:
        found[trial.condition].append(trial.case.partition("::")[2])
    return {condition: sorted(cases) for condition, cases in found.items()}


def test_a_mapping_gives_each_arm_a_value(pytester: pytest.Pytester) -> None:
    """The handle has name and value; the record has the names only."""
    pytester.makepyfile("""
        import pytest

        PROMPTS = {"short": "SECRET-TEXT-A", "long": ["SECRET-TEXT-B"], "none": None}

        @pytest.mark.experiment("e", conditions=PROMPTS)
        @pytest.mark.parametrize("n", [1, 2])
        def test_a(n, experiment):
            assert experiment.arm is PROMPTS[experiment.condition]
    """)
    support.run(pytester).assert_outcomes(passed=6)
    assert arms(pytester) == {
        name: ["test_a[1]", "test_a[2]"] for name in ("short", "long", "none")
    }
    texts = [p.read_bytes() for p in pytester.path.rglob("crucible-results/**/*") if p.is_file()]
    assert texts
    assert not any(b"SECRET-TEXT" in text for text in texts)


def test_without_values_the_arm_is_its_name(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", conditions=("a", "b"))
        def test_a(experiment):
            assert experiment.arm == experiment.condition

        @pytest.mark.experiment("f", condition="c")
        def test_b(experiment):
            assert experiment.arm == "c"
    """)
    support.run(pytester).assert_outcomes(passed=3)


@pytest.mark.parametrize("arguments", [(), ("-n2",)])
def test_an_axis_makes_the_arms(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    """The argument's ids name the arms and leave the case id; the first value is the baseline."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", conditions="model", trials=2)
        @pytest.mark.parametrize("model", ["zeta", pytest.param(3, id="three"), "ü"])
        @pytest.mark.parametrize("n", ["three", "b"])
        def test_a(n, model, experiment):
            assert experiment.arm == model
    """)
    support.run(pytester, *arguments).assert_outcomes(passed=12)
    cases = ["test_a[b]"] * 2 + ["test_a[three]"] * 2
    assert arms(pytester) == dict.fromkeys(("zeta", "three", "ü"), cases)
    assert set(support.only(pytester).comparisons) == {"three", "ü"}


def test_several_axes_make_a_product(pytester: pytest.Pytester) -> None:
    """Names are joined in the order of the axes, and expectations can quote them."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment(
            "e", conditions=("model", "prompt"),
            expect=["'gpt × long'.tests.trials >= 2", "'claude x long'.tests.trials >= 2"],
        )
        @pytest.mark.parametrize("n", [1, 2])
        @pytest.mark.parametrize("prompt", ["short", "long"])
        @pytest.mark.parametrize("model", ["gpt", "claude"])
        def test_a(n, model, prompt, experiment):
            assert experiment.arm == {"model": model, "prompt": prompt}
    """)
    result = support.run(pytester)
    result.assert_outcomes(passed=8)
    assert list(arms(pytester)) == ["gpt × short", "gpt × long", "claude × short", "claude × long"]
    assert [v.verdict for v in support.only(pytester).verdicts] == ["CONFIRMED"] * 2


def test_arms_of_a_case_come_one_after_the_other(pytester: pytest.Pytester) -> None:
    """Whichever decorator stands first, and each arm is first in turn."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", conditions="model")
        @pytest.mark.parametrize("n", [1, 2])
        @pytest.mark.parametrize("model", ["a", "b"])
        def test_a(n, model):
            pass

        @pytest.mark.experiment("f", conditions="model")
        @pytest.mark.parametrize("model", ["a", "b"])
        @pytest.mark.parametrize("n", [1, 2])
        def test_b(n, model):
            pass
    """)
    lines = support.run(pytester, "--collect-only", "-q").outlines
    assert [line.partition("::")[2] for line in lines if "::" in line] == [
        "test_a[a-1]", "test_a[b-1]", "test_a[b-2]", "test_a[a-2]",
        "test_b[1-a]", "test_b[1-b]", "test_b[2-b]", "test_b[2-a]",
    ]  # fmt: skip


def test_wide_fixtures_keep_pytests_order(pytester: pytest.Pytester) -> None:
    """An axis of a module's fixture: pairs by case, but no fixture is set up twice."""
    pytester.makepyfile("""
        import pytest

        @pytest.fixture(scope="module", params=["a", "b"])
        def model(request):
            print("SETUP", request.param)
            return request.param.upper()

        @pytest.mark.experiment("e", conditions="model")
        @pytest.mark.parametrize("n", [1, 2])
        class TestIt:
            def test_a(self, n, model, experiment):
                assert experiment.arm == model.lower()
    """)
    result = support.run(pytester, "-s")
    result.assert_outcomes(passed=4)
    assert result.stdout.str().count("SETUP") == 2
    assert arms(pytester) == {name: ["TestIt::test_a[1]", "TestIt::test_a[2]"] for name in "ab"}


def test_indirect_and_joint_axes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def model(request):
            return request.param.upper()

        @pytest.mark.experiment("e", conditions=("model", "t"))
        @pytest.mark.parametrize(("model", "t"), [("a", 0), ("b", 1)], indirect=["model"])
        def test_a(model, t, experiment):
            assert experiment.arm == {"model": model.lower(), "t": t}
    """)
    support.run(pytester).assert_outcomes(passed=2)
    assert arms(pytester) == {"a-0": ["test_a"], "b-1": ["test_a"]}


@pytest.mark.parametrize("selection", [("-k", "b-"), ("test_x.py::test_a[b-1]",)])
def test_a_selection_has_the_arms_that_it_runs(
    pytester: pytest.Pytester, selection: tuple[str, ...]
) -> None:
    pytester.makepyfile(
        test_x="""
        import pytest

        @pytest.mark.experiment("e", conditions="model")
        @pytest.mark.parametrize("n", [1, 2])
        @pytest.mark.parametrize("model", ["a", "b"])
        def test_a(n, model):
            pass
    """
    )
    support.run(pytester, *selection)
    assert list(arms(pytester)) == ["b"]


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ('"modle"', "no parametrized argument 'modle'; did you mean 'model'? valid: model, n, t"),
        ('("model", "short")', "'model' is a parametrized argument and 'short' is not"),
        ('"n"', "'n', which is parametrized together with 't'"),
        ('{"a", "b"}', "a set has no first one"),
        ("{}", "names no arm"),
        ("{1: 2}", "must hold non-empty, printable strings, not 1"),
        ("7", "must be a list of strings, not 7"),
    ],
)
def test_wrong_conditions_are_one_line(
    pytester: pytest.Pytester, conditions: str, said: str
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.experiment("e", conditions={conditions})
        @pytest.mark.parametrize(("n", "t"), [(1, 2)])
        @pytest.mark.parametrize("model", ["a", "b"])
        def test_a(n, t, model):
            pass
    """)
    assert said in support.refused(support.run(pytester))


def test_unittest_has_no_axes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import unittest
        import pytest

        @pytest.mark.experiment("e", conditions="model")
        class TestIt(unittest.TestCase):
            def test_a(self):
                pass
    """)
    assert "unittest" in support.refused(support.run(pytester))


def test_an_axis_cannot_make_the_reserved_arm(pytester: pytest.Pytester) -> None:
    """A parameter whose id is the reserved name is refused like an arm of that name."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("e", conditions="model")
        @pytest.mark.parametrize("model", ["a", "SETUP"])
        def test_it(model):
            pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert "conditions names 'SETUP', which is reserved" in text
    assert "INTERNALERROR" not in text
