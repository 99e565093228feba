"""Random order of cases: what moves, what stays together, and where the seed comes from."""

from __future__ import annotations

import random

import pytest

from tests.session import support
from tests.session.priced import manifest

SUITE = """
import pytest

def test_first():
    pass

@pytest.mark.experiment("e", expect=["success_rate > 0.01"], conditions=["a", "b"], trials=2,
                        warmup=1, {more})
@pytest.mark.parametrize("row", range(12))
def test_e(row):
    assert False

@pytest.mark.experiment("other")
@pytest.mark.parametrize("row", range(12))
def test_other(row):
    pass
"""


def order(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    """The tests in the order in which they ran."""
    result = support.run(pytester, "-v", *arguments)
    lines = (line.split(" ")[0] for line in result.outlines if "::" in line and "%]" in line)
    return [line.partition("::")[2] for line in lines]


def rows(tests: list[str]) -> list[str]:
    """The cases of `test_e`, without warm-ups, in order, each once where it stays together."""
    found = [test.split("[")[1].split("-")[0] for test in tests if "test_e" in test]
    return [row for at, row in enumerate(found[2:]) if not at or found[2:][at - 1] != row]


def test_cases_move_and_their_trials_stay_together(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE.format(more='stop="decided"'))
    tests = order(pytester)
    assert tests[0] == "test_first"
    assert all("warmup" in test for test in tests[1:3])
    assert tests[-12:] == [f"test_other[{row}]" for row in range(12)]
    assert sorted(rows(tests), key=int) == [str(row) for row in range(12)]
    assert rows(tests) != [str(row) for row in range(12)]


def test_without_stop_nothing_moves(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE.format(more=""))
    assert rows(order(pytester)) == [str(row) for row in range(12)]


def test_the_seed_is_on_record_and_the_users_stays(pytester: pytest.Pytester) -> None:
    """It comes from the run; with pytest-randomly, from its seed."""
    pytester.makepyfile(SUITE.format(more='stop="decided"'))
    before = random.getstate()
    first = order(pytester)
    assert random.getstate() == before
    seeds = [manifest(pytester)["seeds"]["order of e"]]
    second = order(pytester)
    seeds.append(manifest(pytester)["seeds"]["order of e"])
    assert seeds[0] != seeds[1]
    assert rows(first) != rows(second)  # equal in 1 of 479,001,600 cases


def test_a_seed_of_randomly_gives_the_order_again(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE.format(more='stop="decided"'))
    arguments = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    found = []
    for seed in (7, 7, 8):
        pytester.runpytest_subprocess(*arguments, f"--randomly-seed={seed}")
        found.append(manifest(pytester)["seeds"]["order of e"])
    assert found[0] == found[1] != found[2]


def test_failed_first_is_no_random_order(pytester: pytest.Pytester) -> None:
    """--ff would put the failures first: the order is made after it."""
    pytester.makepyfile(
        """
import pytest

@pytest.mark.experiment("e", expect=["success_rate > 0.01"], stop="decided", failures="fail")
@pytest.mark.parametrize("row", range(20))
def test_e(row):
    assert row < 10
"""
    )
    arguments = [each for each in support.ARGUMENTS if each != "no:cacheprovider"]
    arguments.remove("-p")
    for _ in range(2):
        result = pytester.runpytest_inprocess(*arguments, "-v", "--ff")
    lines = [line for line in result.outlines if "test_e[" in line and "%]" in line]
    first = [int(line.split("[")[1].split("]")[0]) for line in lines[:10]]
    assert min(first) < 10 <= max(first)


def test_cases_of_a_cluster_stay_together(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import pytest

@pytest.mark.experiment(
    "e", expect=["success_rate > 0.01"], stop="decided", cluster=lambda row: row % 4
)
@pytest.mark.parametrize("row", range(16))
def test_e(row):
    assert False
"""
    )
    tests = order(pytester)
    clusters = [int(test.split("[")[1].rstrip("]")) % 4 for test in tests]
    assert sorted(clusters) == sorted(4 * [0, 1, 2, 3])
    assert all(len(set(clusters[at : at + 4])) == 1 for at in range(0, 16, 4))
