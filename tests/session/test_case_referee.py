"""Blocks of `Experiment.case` in a test: what fails, what goes on, what the session says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.session.support import only, run


def outcomes(pytester: pytest.Pytester) -> dict[str, str]:
    return {trial.case: trial.outcome for trial in only(pytester).trials}


def loop(body: str, marker: str = "", before: str = "", after: str = "") -> str:
    """A test with blocks a, b and c; ``body`` runs in b."""
    return f"""
import asyncio, os, signal, sys, time
import pytest
@pytest.mark.experiment("exp"{marker})
def test_it(experiment):
    {before or "pass"}
    with experiment.case("a"):
        pass
    with experiment.case("b"):
        {body}
    with experiment.case("c"):
        pass
    {after or "pass"}
"""


@pytest.mark.parametrize(
    ("body", "outcome", "counts"),
    [
        ("pass", "passed", {"passed": 1}),
        ("assert 1 == 2", "failed", {"failed": 1}),
        ("raise ValueError('v')", "errored", {"failed": 2}),  # the test, and the experiment
        ("raise ExceptionGroup('g', [AssertionError()])", "failed", {"failed": 1}),
        ("sys.exit(3)", "errored", {"failed": 2}),
        ("pytest.fail('f')", "failed", {"failed": 1}),
        ("pytest.skip('s')", "skipped", {"passed": 1}),
        ("pytest.xfail('x')", "xfailed", {"passed": 1}),
    ],
)
def test_a_block_ends_and_the_loop_goes_on(
    pytester: pytest.Pytester, body: str, outcome: str, counts: dict[str, int]
) -> None:
    """Each block has its own outcome; failed ones fail the test in the end."""
    pytester.makepyfile(loop(body))
    result = run(pytester)
    result.assert_outcomes(**counts)
    assert result.ret == ("failed" in counts)
    assert outcomes(pytester) == {"a": "passed", "b": outcome, "c": "passed"}
    result.stdout.no_fnmatch_line("incomplete:*")


def test_the_report_names_the_failed_blocks(pytester: pytest.Pytester) -> None:
    """Id, place and message of the first ten, and how many more there are."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("exp")
        def test_it(experiment):
            for number in range(14):
                with experiment.case(f"q{number}"):
                    assert number < 2, f"bad\\n{number}"
        """
    )
    result = run(pytester)
    result.stdout.fnmatch_lines(
        [
            "12 of 14 cases failed",
            "  q2: AssertionError at test_the_report*.py:6: bad 2*",
            "  q11: AssertionError at *",
            "  and 2 more",
            "FAILED *::test_it*",
        ]
    )


def test_recorded_failures_only_count(pytester: pytest.Pytester) -> None:
    """With ``failures="record"`` the session is green."""
    pytester.makepyfile(loop("assert 0", ', failures="record"'))
    result = run(pytester)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*1 recorded as failed*"])
    assert outcomes(pytester)["b"] == "failed"


@pytest.mark.parametrize("failures", ["record", "fail"])
@pytest.mark.parametrize("place", ["after", "between", "teardown"])
def test_what_raises_around_blocks_fails_the_session(
    pytester: pytest.Pytester, failures: str, place: str
) -> None:
    """Whatever ``failures`` says, with its traceback: cases may be missing."""
    text = loop("pass", f', failures="{failures}"')
    if place == "after":
        text += "    raise RuntimeError('around')\n"
    elif place == "between":
        text = text.replace(
            '    with experiment.case("c")',
            "    raise RuntimeError('around')\n    with experiment.case('c')",
        )
    else:
        text += """
@pytest.fixture(autouse=True)
def around():
    yield
    raise RuntimeError('around')
"""
    pytester.makepyfile(text)
    result = run(pytester)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "E * RuntimeError: around",
            "incomplete: *::test_it * before its end (*RuntimeError at *): cases may be missing",
        ]
    )
    expected = ["a", "b"] if place == "between" else ["a", "b", "c"]
    assert list(outcomes(pytester)) == expected


def test_a_block_may_be_made_to_raise(pytester: pytest.Pytester) -> None:
    """Then the test ends there."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("exp", failures="record")
        def test_it(experiment):
            with experiment.case("a", on_failure="raise"):
                assert 0
            with experiment.case("b"):
                pass
        """
    )
    result = run(pytester)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["E * assert 0", "incomplete: *cases may be missing"])
    assert outcomes(pytester) == {"a": "failed"}


@pytest.mark.parametrize(
    ("body", "status"), [("raise KeyboardInterrupt", 2), ("pytest.exit('enough')", 2)]
)
def test_what_stops_the_session_stops_it(pytester: pytest.Pytester, body: str, status: int) -> None:
    """Inside a block as elsewhere; the finished blocks are on record."""
    pytester.makepyfile(loop(body))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    assert result.ret == status
    assert outcomes(pytester) == {"a": "passed", "b": "interrupted"}


def test_a_cancelled_task_is_not_swallowed(pytester: pytest.Pytester) -> None:
    """It would never end."""
    pytester.makepyfile(loop("raise asyncio.CancelledError"))
    run(pytester).assert_outcomes(failed=1)
    assert outcomes(pytester) == {"a": "passed", "b": "interrupted"}


def test_a_timeout_stops_the_whole_test(pytester: pytest.Pytester) -> None:
    """It does not come a second time; the block that it hit is broken, not wrong."""
    pytester.makepyfile(loop("time.sleep(30)", ', failures="record"'))
    result = run(pytester, "--timeout=0.5", "--timeout-method=signal")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*Failed: Timeout*", "incomplete: *cases may be missing"])
    assert outcomes(pytester) == {"a": "passed", "b": "errored"}


def test_a_killed_process_leaves_its_finished_blocks(pytester: pytest.Pytester) -> None:
    """The open one is crashed."""
    pytester.makepyfile(loop("os.kill(os.getpid(), signal.SIGKILL)"))
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    from pytest_crucible.analysis.analyse import analyse
    from pytest_crucible.analysis.run import open_run

    (folder,) = Path(pytester.path, "crucible-results").glob("2*")
    found = analyse(open_run(folder))
    (experiment,) = found.experiments
    assert {t.case: t.outcome for t in experiment.trials} == {"a": "passed", "b": "crashed"}
    assert any("test_it crashed before its end" in reason for reason in found.incomplete)


XFAIL = """
import pytest
@pytest.mark.experiment("exp")
@pytest.mark.xfail(reason="known", strict=STRICT)
def test_it(experiment):
    with experiment.case("a"):
        assert PASSES
"""


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("passes", [False, True])
def test_expected_failures(pytester: pytest.Pytester, strict: bool, passes: bool) -> None:
    """A failed block is the failure that the mark expects."""
    pytester.makepyfile(XFAIL.replace("STRICT", str(strict)).replace("PASSES", str(passes)))
    result = run(pytester, "-rx")
    if passes:
        result.assert_outcomes(**({"failed": 1} if strict else {"xpassed": 1}))
    else:
        result.assert_outcomes(xfailed=1)
        assert result.ret == 0
        result.stdout.fnmatch_lines(["XFAIL *known*"])
    result.stdout.no_fnmatch_line("incomplete:*")


@pytest.mark.parametrize(
    ("arguments", "cases"),
    [(["-x"], "ab"), (["--maxfail=1"], "ab"), (["--maxfail=2"], "abcd"), ([], "abcdef")],
)
def test_stopping_at_failures_counts_blocks(
    pytester: pytest.Pytester, arguments: list[str], cases: str
) -> None:
    """As parametrized tests would be counted: ``-x`` runs no case after the first failure."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("exp")
        def test_it(experiment):
            for case in "abcdef":
                with experiment.case(case):
                    assert case not in "bd"
        """
    )
    assert run(pytester, *arguments).ret == 1
    assert "".join(outcomes(pytester)) == cases


def test_recorded_failures_do_not_stop_it(pytester: pytest.Pytester) -> None:
    """``-x`` is about failures of the session."""
    pytester.makepyfile(loop("assert 0", ', failures="record"'))
    assert run(pytester, "-x").ret == 0
    assert list(outcomes(pytester)) == ["a", "b", "c"]


def test_a_rerun_repeats_all_blocks(pytester: pytest.Pytester) -> None:
    """Each block has two attempts, and its last one counts."""
    pytester.makepyfile(
        """
        import pytest
        runs = []
        @pytest.mark.experiment("exp")
        def test_it(experiment):
            runs.append(1)
            for case in "abc":
                with experiment.case(case):
                    experiment.record(n=len(runs))
                    assert case != "b" or len(runs) > 1
        """
    )
    result = run(pytester, "--reruns=2")
    result.assert_outcomes(passed=1)
    found = {t.case: [a.outcome for a in t.attempts] for t in only(pytester).trials}
    assert found == {
        "a": ["passed", "passed"], "b": ["failed", "passed"], "c": ["passed", "passed"],
    }  # fmt: skip
    assert only(pytester).metrics["default"].recorded["n"].mean == 2


def test_a_spent_budget_ends_the_loop(priced: pytest.Pytester) -> None:
    """The rest of the test is skipped, and the summary says why."""
    priced.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("exp", budget_usd=0.01)
        def test_it(experiment):
            for number in range(1000):
                with experiment.case(number):
                    experiment.execute("req_llm.request.stop", {"cost": 0.003})
        """
    )
    result = run(priced)
    result.assert_outcomes(skipped=1)
    assert list(outcomes(priced)) == ["0", "1", "2", "3"]
    result.stdout.fnmatch_lines(["stopped: budget of $0.01 of experiment 'exp' is spent;*"])


SAME = """
import random, pytest, pytest_crucible
r = random.Random(7)
ROWS = [dict(id=f"q{i}", passage=i // 4, lang="de fr".split()[i % 2], score=r.random(),
             ok=r.random() > .1) for i in range(1000)]
KEYWORDS = dict(expect=["success_rate > 0.85", "score.mean > 0.52", "score.p95 > 0.5"],
                conditions=["old", "new"], trials=TRIALS)

def answer(row, experiment):
    experiment.record(score=row["score"])
    assert row["ok"]
"""

AS_LOOP = """
@pytest.mark.experiment("exp", slices=["lang"], **KEYWORDS)
def test_it(experiment):
    for row in ROWS:
        with experiment.case(row["id"], cluster=row["passage"], lang=row["lang"]):
            answer(row, experiment)
"""

AS_TESTS = """
@pytest.mark.experiment(
    "exp", case="row.id", cluster="row.passage", slices=["row.lang"], **KEYWORDS)
@pytest.mark.parametrize("row", ROWS)
def test_it(row, experiment):
    answer(row, experiment)
"""


@pytest.mark.parametrize("trials", [1, 2])
def test_a_loop_says_what_parametrized_tests_say(pytester: pytest.Pytester, trials: int) -> None:
    """Seed use case 3: the same verdicts, intervals, trials and slices."""
    said = []
    for text in (AS_LOOP, AS_TESTS):
        pytester.makepyfile(SAME.replace("TRIALS", str(trials)) + text)
        result = run(pytester, "--tb=no", "-q")
        assert result.ret == 1  # score.mean is rejected
        experiment = only(pytester)
        said.append(
            (
                experiment.verdicts,
                Counter((t.condition, t.case, t.cluster, t.trial, t.outcome) for t in
                        experiment.trials),
                [(s.value, sorted(s.cases), s.estimates["old"]["success_rate"].low)
                 for s in experiment.slices()[0].slices],
                {c: [(r.metric, r.change, r.low, r.high, r.p) for r in rows
                     if not r.metric.startswith("latency")]
                 for c, rows in experiment.comparisons.items()},
            )
        )  # fmt: skip
    assert said[0] == said[1]
    assert len(said[0][1]) == 2000 * trials


@pytest.mark.parametrize("arguments", [("-n0",), ("-n2",), ("-p", "no:xdist")])
def test_every_mode_says_the_same(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    """Exit code, outcomes, and what is raised around blocks."""
    pytester.makepyfile(loop("assert 0", ', failures="record"', after="raise RuntimeError"))
    result = run(pytester, *arguments)
    assert result.ret == 1
    assert outcomes(pytester) == {"a": "passed", "b": "failed", "c": "passed"}
    result.stdout.fnmatch_lines(["incomplete: * errored before its end (RuntimeError at *"])


def test_blocks_of_unittest_and_async_tests(pytester: pytest.Pytester) -> None:
    """Through the function of the package, where there is no fixture."""
    pytester.makepyfile(
        """
        import asyncio, unittest
        import pytest, pytest_crucible
        @pytest.mark.experiment("exp")
        class TestIt(unittest.TestCase):
            def test_loop(self):
                for number in range(3):
                    with pytest_crucible.case(number):
                        self.assertNotEqual(number, 1)
        @pytest.mark.experiment("exp")
        def test_async(experiment):
            async def one(number):
                with experiment.case(number):
                    await asyncio.sleep(0)
                    assert number != 11
            async def main():
                await asyncio.gather(*(one(number) for number in range(10, 13)))
            asyncio.run(main())
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=2)
    assert outcomes(pytester) == {
        "0": "passed", "1": "failed", "2": "passed",
        "10": "passed", "11": "failed", "12": "passed",
    }  # fmt: skip


def test_curves_sampling_validation_and_pauses_hold_in_blocks(pytester: pytest.Pytester) -> None:
    """As they do in tests."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("exp", validate="warn", expect=["loss.last < 10"])
        def test_it(experiment):
            for number in range(4):
                with experiment.case(number):
                    for step in range(3):
                        experiment.log("loss", number - step)
                    experiment.execute("req_llm.request.stop", {"duration": "long"})
                    with experiment.paused():
                        experiment.record(score=1)
        """
    )
    result = run(pytester)
    experiment = only(pytester)
    series = experiment.groups["default"].logged["loss"]
    assert len({*series.cases}) == 4
    assert list(series.steps) == [0, 1, 2] * 4
    assert "score" not in experiment.metrics["default"].recorded
    result.stdout.fnmatch_lines(["*invalid: *duration*4 events*"])


@pytest.mark.parametrize(("body", "status"), [("pytest.skip('s')", 0), ("pytest.exit('e')", 2)])
def test_recording_failures_is_what_blocks_do_anyway(
    pytester: pytest.Pytester, body: str, status: int
) -> None:
    """``on_failure="record"`` changes nothing in a test: a skip stays in it, an exit does not."""
    pytester.makepyfile(loop(body).replace('"b")', '"b", on_failure="record")'))
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider").ret == status
    assert list(outcomes(pytester)) == (["a", "b", "c"] if status == 0 else ["a", "b"])


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="pytest 9 has subtests")
def test_subtests_are_not_blamed_for_blocks(pytester: pytest.Pytester) -> None:
    """Only the test fails because of its blocks, and blocks do not fail because of subtests."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("exp")
        def test_it(experiment, subtests):
            with experiment.case("a"):
                assert 0
            with subtests.test("fine"):
                pass
            with experiment.case("b"):
                with subtests.test("wrong"):
                    assert 0
        """
    )
    result = run(pytester, "-rA")
    assert result.ret == 1
    found = result.stdout.str()
    assert "SUBFAILED[wrong]" in found
    assert "SUBFAILED[fine]" not in found
    assert outcomes(pytester) == {"a": "failed", "b": "passed"}
