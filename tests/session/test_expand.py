"""Conditions and trials become items of their own: their ids, their cases and their order."""

from __future__ import annotations

import pytest

from tests.session import support

IDS = ["a-b", "-1", "1", "", "-", "control", "trial1", "ü", "x[1]", "x]y[", "a::b", "1-2", "@x"]

PARAMETRIZED = f"""
import pytest

@pytest.mark.experiment("e", conditions=("control", "x-y", "ü"), trials=2)
@pytest.mark.parametrize("n", range({len(IDS)}), ids={IDS!r})
def test_a(n):
    pass
"""


def escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def names_in_order(pytester: pytest.Pytester) -> list[str]:
    lines = support.run(pytester, "--collect-only", "-q").outlines
    return [line.partition("::")[2] for line in lines if "::" in line]


def test_items_have_readable_ids(pytester: pytest.Pytester) -> None:
    """Each case runs once per trial and condition, named in that order after the user's ids."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", conditions=("control", "treatment"), trials=2)
        @pytest.mark.parametrize("n", [7])
        def test_a(n):
            pass

        @pytest.mark.experiment("f", trials=2)
        def test_b():
            pass

        @pytest.mark.experiment("g", trials=1)
        def test_c():
            pass
    """)
    assert names_in_order(pytester) == [
        "test_a[7-trial1-control]",
        "test_a[7-trial1-treatment]",
        "test_a[7-trial2-treatment]",
        "test_a[7-trial2-control]",
        "test_b[trial1]",
        "test_b[trial2]",
        "test_c",
    ]


@pytest.mark.parametrize("escape", [True, False])
def test_cases_are_what_the_user_parametrized(pytester: pytest.Pytester, escape: bool) -> None:
    """A case is the node id without our parts, whatever dashes, brackets or names it holds."""
    pytester.makepyfile(PARAMETRIZED)
    option = "disable_test_id_escaping_and_forfeit_all_rights_to_community_support=true"
    assert support.run(pytester, *(() if escape else ("-o", option))).ret == 0
    cases = [f"test_a[{escaped(each) if escape else each}]" for each in IDS]
    planned = support.plan(pytester)
    assert list(dict.fromkeys(case for _, case, _ in planned)) == cases
    assert sorted(planned) == sorted(
        (condition, case, trial)
        for condition in ("control", "x-y", "ü")
        for case in cases
        for trial in (1, 2)
    )


def test_cases_without_parameters(pytester: pytest.Pytester) -> None:
    """A test that the user did not parametrize is one case, in a folder with brackets too."""
    folder = pytester.mkdir("odd[1]-control")
    folder.joinpath("test_a.py").write_text(
        "import pytest\n"
        "@pytest.mark.experiment('e', conditions=('control', 'b'), trials=2)\n"
        "def test_a(): pass\n"
    )
    assert support.run(pytester).ret == 0
    trials = support.only(pytester).trials
    assert len(trials) == 4
    assert {trial.case for trial in trials} == {"odd[1]-control/test_a.py::test_a"}


@pytest.mark.parametrize(
    "again",
    [(), ("-n2",), ("-p", "randomly", "--randomly-seed=1"), ("-p", "randomly", "-n2")],
    ids=" ".join,
)
def test_cases_are_the_same_from_run_to_run(
    pytester: pytest.Pytester, again: tuple[str, ...]
) -> None:
    """Runs can be compared case by case: run again, shuffled or spread over workers."""
    pytester.makepyfile(PARAMETRIZED)
    assert support.run(pytester).ret == 0
    first = support.plan(pytester)
    assert support.run(pytester, *again).ret == 0
    second = support.plan(pytester)
    assert sorted(second) == sorted(first)
    assert (second == first) == ("randomly" not in again)


def test_the_order_of_conditions_is_counterbalanced(pytester: pytest.Pytester) -> None:
    """No condition always runs first: each leads equally often, and the arms stay side by side."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", conditions=("a", "b", "c"), trials=2)
        @pytest.mark.parametrize("n", [1, 2, 3])
        def test_a(n):
            pass
    """)
    assert support.run(pytester).ret == 0
    planned = support.plan(pytester)
    blocks = [planned[at : at + 3] for at in range(0, len(planned), 3)]
    assert all(len({(case, trial) for _, case, trial in block}) == 1 for block in blocks)
    orders = ["".join(condition for condition, _, _ in block) for block in blocks]
    assert orders == ["abc", "bca", "cab"] * 2


def test_only_conditions_change_places(pytester: pytest.Pytester) -> None:
    """Unmarked tests and tests of one arm stay where the author put them."""
    pytester.makepyfile("""
        import pytest

        def test_first():
            pass

        @pytest.mark.experiment("e", conditions=("a", "b"))
        def test_e():
            pass

        @pytest.mark.experiment("f", trials=2)
        def test_f():
            pass

        @pytest.mark.experiment("e", conditions=("a", "b"))
        def test_g():
            pass

        def test_last():
            pass
    """)
    assert names_in_order(pytester) == [
        "test_first", "test_e[a]", "test_e[b]", "test_f[trial1]", "test_f[trial2]",
        "test_g[b]", "test_g[a]", "test_last",
    ]  # fmt: skip


def test_no_parameters_means_a_skipped_trial(pytester: pytest.Pytester) -> None:
    """An empty list of cases is skipped, as pytest does, and not counted as recorded."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", conditions=("a", "b"))
        @pytest.mark.parametrize("n", [])
        def test_a(n):
            pass
    """)
    assert support.run(pytester).ret == 0
    assert set(support.outcomes(pytester).values()) == {"skipped"}
    assert support.only(pytester).recorded == 0


def test_a_selected_condition_runs_alone(pytester: pytest.Pytester) -> None:
    """``-k`` chooses arms and trials by their ids; what was not selected is not missing."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", conditions=("control", "treatment"), trials=2)
        def test_a():
            pass
    """)
    assert support.run(pytester, "-k", "control and trial2").ret == 0
    assert support.plan(pytester) == [("control", "test_a", 2)]
    assert support.results(pytester).incomplete == ()
