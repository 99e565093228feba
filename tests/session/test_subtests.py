"""Tests with subtests: one trial, and the same exit status and closing line in every mode."""

from __future__ import annotations

import pytest

from tests.session import support

FIXTURE = """
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e"{more})
def test_a(subtests):
    for n in range(3):
        with subtests.test("case", n=n):
            telemetry.execute("x", {{"n": n}})
            {body}
"""

UNITTEST = """
import unittest
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e"{more})
class TestA(unittest.TestCase):
    def test_a(self):
        for n in range(3):
            with self.subTest("case", n=n):
                telemetry.execute("x", {{"n": n}})
                {body}
"""

# Pytest 8.4 has no fixture, and runs a unittest to its end at the first subtest that fails.
NEW = pytest.mark.skipif(pytest.version_tuple < (9,), reason="subtests came with pytest 9")
KINDS = pytest.mark.parametrize(
    "source", [pytest.param(FIXTURE, id="fixture"), pytest.param(UNITTEST, id="unittest")]
)


def closing(result: pytest.RunResult) -> dict[str, int]:
    """The counts of pytest's last line, without subtests that passed: -v and -q show those."""
    return {what: n for what, n in result.parseoutcomes().items() if what != "subtests"}


@NEW
@KINDS
def test_subtests_that_pass(pytester: pytest.Pytester, mode: tuple[str, ...], source: str) -> None:
    """A test with subtests is one trial, and events in subtests are its events."""
    pytester.makepyfile(source.format(more="", body="pass"))
    result = support.run(pytester, *mode)
    assert result.ret == 0
    assert closing(result) == {"passed": 1}
    assert list(support.outcomes(pytester).values()) == ["passed"]
    assert support.heard(pytester) == {"e/default": ["x", "x", "x"]}


@NEW
@KINDS
def test_a_failed_subtest_fails_its_test(
    pytester: pytest.Pytester, mode: tuple[str, ...], source: str
) -> None:
    """Both are listed, whoever runs them."""
    pytester.makepyfile(source.format(more="", body="assert n != 1"))
    result = support.run(pytester, *mode)
    assert result.ret == 1
    assert closing(result) == {"failed": 2}
    result.stdout.fnmatch_lines(["SUBFAILED*test_a*", "FAILED *test_a - a subtest failed"])
    assert list(support.outcomes(pytester).values()) == ["failed"]


@NEW
@KINDS
def test_a_failed_subtest_that_only_counts(
    pytester: pytest.Pytester, mode: tuple[str, ...], source: str
) -> None:
    """With ``record`` nothing has failed: the trial is shown as recorded."""
    pytester.makepyfile(source.format(more=", failures='record'", body="assert n != 1"))
    result = support.run(pytester, *mode, "-v")
    assert result.ret == 0
    assert closing(result) == {"recorded": 1}
    assert "FAILED" not in result.stdout.str()
    assert list(support.outcomes(pytester).values()) == ["failed"]


@NEW
@KINDS
@pytest.mark.parametrize(("bound", "status"), [("<= 1", 0), ("< 1", 1)])
def test_the_expectation_decides(
    pytester: pytest.Pytester, mode: tuple[str, ...], source: str, bound: str, status: int
) -> None:
    """Over trials, of which this test is one."""
    more = f", expect=['tests.failed {bound}']"
    pytester.makepyfile(source.format(more=more, body="assert n != 1"))
    result = support.run(pytester, *mode)
    assert result.ret == status
    assert closing(result) == {"recorded": 1} | ({"failed": 1} if status else {})


@NEW
@KINDS
@pytest.mark.parametrize(
    ("body", "outcome", "error"),
    [
        ("assert n == 1", "failed", "AssertionError"),
        ("assert n == 1 or {}[n]", "errored", "KeyError"),
        ("n == 2 or pytest.skip('x')", "passed", None),
        ("raise KeyError if n == 1 else AssertionError", "errored", "KeyError"),
        ("raise AssertionError if n == 1 else KeyError", "errored", "KeyError"),
    ],
)
def test_the_worst_subtest_decides(
    pytester: pytest.Pytester, source: str, body: str, outcome: str, error: str | None
) -> None:
    """What errored before what failed, whatever came last; its error is told."""
    pytester.makepyfile(source.format(more=", failures='record', max_errors=1", body=body))
    assert support.run(pytester).ret == 0
    (trial,) = support.only(pytester).trials
    assert trial.outcome == outcome
    assert (trial.attempts[0].error or "").partition(" at ")[0] == (error or "")


@NEW
def test_subtests_of_unmarked_tests_are_left_alone(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """Beside an experiment they are what pytest makes of them."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", failures="record")
        def test_a(subtests):
            with subtests.test():
                assert 0

        def test_b(subtests):
            with subtests.test():
                assert 0
    """)
    result = support.run(pytester, *mode)
    assert result.ret == 1
    assert closing(result)["recorded"] == 1
    assert closing(result)["failed"] >= 1
