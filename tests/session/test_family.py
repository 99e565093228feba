"""What decides, and at which level: one family per exit code, from marker to exit status."""

from __future__ import annotations

import json
import re
import sys

import pytest

import pytest_crucible as crucible
from pytest_crucible.analysis.judging import judged
from tests.session import support

SUITE = """
import os
import random
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e"{more})
@pytest.mark.parametrize("case", range(40))
def test_a(case, experiment):
    rng = random.Random(f"{{case}} {{experiment.condition}} {{os.environ['SEED']}}")
    slower = float(os.environ["SLOWER"])
    duration = int(1e6 * rng.lognormvariate(3, 0.1) * slower)
    telemetry.execute("req_llm.request.stop", {{"duration": duration, "input_tokens": 9}})
    experiment.record(score=rng.betavariate(8, 2), time=rng.lognormvariate(3, 0.1) * slower)
"""


def suite(pytester: pytest.Pytester, more: str = "") -> None:
    pytester.makepyfile(test_it=SUITE.format(more=more))


def run(
    pytester: pytest.Pytester, *arguments: str, seed: int = 1, slower: float = 1
) -> pytest.RunResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEED", str(seed))
        patch.setenv("SLOWER", str(slower))
        return support.run(pytester, *arguments)


def rows(result: pytest.RunResult) -> dict[str, str]:
    """Of each metric the verdict that its row in the comparison with the baseline shows."""
    words = "REGRESSED|IMPROVED|CHANGED|EQUIVALENT|INCONCLUSIVE"
    found = re.finditer(rf"^ +((?i:{words})) +(\S+) .* \d+(?: |$)", result.stdout.str(), re.M)
    return {match[2]: match[1] for match in found}


# --- primary= ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "decide", "status"),
    [
        ("", {"success_rate", "latency"}, 1),
        (', primary="score"', {"success_rate", "score.mean"}, 0),
        (', primary=["score.mean", "tokens"]', {"success_rate", "score.mean", "tokens"}, 0),
        (', primary=("score", "latency")', {"success_rate", "score.mean", "latency"}, 1),
        (', expect=["score > 0.1"]', {"success_rate", "score.mean"}, 0),
        (
            ', primary="latency", expect=["score > 0.1"]',
            {"success_rate", "latency", "score.mean"},
            1,
        ),
    ],
)
def test_what_was_asked_decides(
    more: str, decide: set[str], status: int, pytester: pytest.Pytester
) -> None:
    """Twice the latency fails the session where latency was asked about, or nothing was; else it
    is shown below the line, in small letters."""
    suite(pytester, more)
    assert run(pytester).ret == 0
    result = run(pytester, f"--crucible-baseline={support.OUTPUT}", slower=2)
    assert result.ret == status
    found = rows(result)
    assert {metric for metric, verdict in found.items() if verdict.isupper()} == decide
    assert found["latency"] == ("REGRESSED" if status else "regressed")
    assert ("FAILED comparison with the baseline - REGRESSED: latency of e" in result.outlines) == (
        status == 1
    )


def test_arms_show_what_decides(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """The keyword holds for the table of arms, too, in every mode."""
    suite(pytester, ', conditions=("old", "new"), primary="score"')
    assert {m for m, v in rows(run(pytester, *mode)).items() if v.isupper()} == {
        "success_rate", "score.mean",
    }  # fmt: skip
    decide = {row.metric for row in support.only(pytester).comparisons["new"] if row.primary}
    assert decide == {"success_rate", "score.mean"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("5", "primary must be a list of strings, not 5"),
        ("[5]", "primary must hold non-empty, printable strings, not 5"),
        ('""', "primary must hold non-empty, printable strings, not ''"),
        ('["score", "a\\n"]', "primary must hold non-empty, printable strings, not 'a\\n'"),
    ],
)
def test_a_primary_that_makes_no_sense_is_one_line(
    value: str, said: str, pytester: pytest.Pytester
) -> None:
    """It names the test, the value and what would be valid, before any test runs."""
    suite(pytester, f", primary={value}")
    line = support.refused(run(pytester))
    assert line.startswith("test_it.py::test_a")
    assert line.endswith(f"@pytest.mark.experiment: {said}")


@pytest.mark.parametrize(
    ("fail_on", "failures"),
    [
        ("regression", []),
        ("inconclusive", []),
        ("any", ["REGRESSED: latency of e", "REGRESSED: time.mean of e"]),
    ],
)
def test_fail_on_any_takes_all_rows(
    fail_on: str, failures: list[str], pytester: pytest.Pytester
) -> None:
    """Into the family, and into what fails the session."""
    suite(pytester, ', primary="score", metrics={"time": "lower"}')
    run(pytester)
    options = f"--crucible-baseline={support.OUTPUT}", f"--crucible-fail-on={fail_on}"
    result = run(pytester, *options, slower=2)
    said = "FAILED comparison with the baseline - "
    found = [line.removeprefix(said) for line in result.outlines if line.startswith(said)]
    assert sorted(found) == failures
    assert result.ret == bool(failures)


# --- one family --------------------------------------------------------------------------------


def test_claims_and_the_baseline_are_one_family(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """Both can fail the session, so they share its 5 %: three kinds of decisions, a third each.

    The command line, where the claims decide nothing, has two kinds and wider levels.
    """
    suite(pytester, ', expect=["latency.p50 < 90000"]')
    run(pytester)
    base = support.newest(pytester).path
    result = run(pytester, *mode, f"--crucible-baseline={base}", seed=2)
    assert result.ret == 0
    head = next(line for line in result.outlines if line.strip().startswith("margin "))
    assert "; 96.67 % intervals, so that all hold together;" in head
    command = (sys.executable, "-m", "pytest_crucible", "compare", str(base), support.OUTPUT)
    alone = json.loads(pytester.run(*command, "--json").stdout.str())
    (arm,) = alone["comparisons"][0]["arms"]
    assert {row["level"] for row in arm["comparisons"] if row["primary"]} == {0.95}


CLAIMS = """
import random
import pytest

@pytest.mark.experiment(
    "e", conditions=("old", "new"),
    metrics={{f"m{{n}}": {{"better": "lower", "range": (0, None)}} for n in range(10)}},
    expect=[f"new.m{{n}} < old" for n in range(10)],
)
@pytest.mark.parametrize("case", range(20))
def test_a(case, experiment):
    rng = random.Random(f"{{case}} {{experiment.condition}} {{{seed}}}")
    experiment.record(**{{f"m{{n}}": rng.lognormvariate(0, 0.5) for n in range(10)}})
"""


def test_ten_claims_on_unchanged_code_are_quiet(pytester: pytest.Pytester) -> None:
    """One of them alone would be CONFIRMED or REJECTED, by chance; ten share the 5 %.

    Each claim has change, interval and level of its row, so the two cannot disagree.
    """
    pytester.makepyfile(CLAIMS.format(seed=2))
    result = support.run(pytester, "--crucible-inconclusive=pass")
    assert result.ret == 0
    experiment = support.only(pytester)
    table = {row.metric: row for row in experiment.comparisons["new"]}
    assert len(experiment.verdicts) == 10
    for claim in experiment.verdicts:
        row = table[claim.metric]
        assert (claim.verdict, row.decisions) == ("INCONCLUSIVE", 10)
        assert (claim.change, claim.low, claim.high) == (row.change, row.low, row.high)
        assert row.level == pytest.approx(1 - 2 * 0.025 / 10)
    alone = []
    for number in range(10):
        only = judged([experiment], only=[f"m{number}"])[0]
        (claim,) = (each for each in only.verdicts if each.metric == f"m{number}.mean")
        alone.append(claim.verdict)
    assert {"CONFIRMED", "REJECTED"} & {*alone}


# --- the same in every way of writing and running tests ----------------------------------------

FUNCTIONS = """
{mark}
def test_{n}(): assert {good}
"""
METHODS = """
    def test_{n}(self): assert {good}
"""
SUBTESTS = """
{mark}
def test_{n}(subtests):
    for part in range(2):
        with subtests.test(part=part): assert {good} or not part
"""
MARK = """@pytest.mark.experiment("e", failures="record",
    expect=["success_rate > 0.4", "success_rate > 0.99", "success_rate > 0.8"])"""
IMPORTS = "import unittest\nimport pytest\n"
NEW = pytest.mark.skipif(pytest.version_tuple < (9,), reason="subtests came with pytest 9")


@pytest.mark.parametrize("kind", ["functions", "unittest", pytest.param("subtests", marks=NEW)])
def test_the_same_verdicts_however_tests_are_written(
    kind: str, pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """Functions, methods of a TestCase, tests with subtests; in one process and in several."""
    source = {"functions": FUNCTIONS, "unittest": METHODS, "subtests": SUBTESTS}[kind]
    head = f"{MARK}\nclass TestIt(unittest.TestCase):\n" if kind == "unittest" else ""
    tests = "".join(source.format(mark=MARK, n=n, good=n > 1) for n in range(12))
    pytester.makepyfile(test_it=IMPORTS + head + tests)
    result = support.run(pytester, *mode)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    found = [(each.expectation, each.verdict) for each in support.only(pytester).verdicts]
    assert sorted(found) == [
        ("success_rate > 0.4", "CONFIRMED"),
        ("success_rate > 0.8", "INCONCLUSIVE"),
        ("success_rate > 0.99", "REJECTED"),
    ]
    lows = {round(each.low or 0, 4) for each in support.only(pytester).verdicts}
    assert lows == {0.5619}  # Clopper-Pearson, 10 of 12, one-sided 5 %


def test_session_command_and_library_say_the_same(pytester: pytest.Pytester) -> None:
    """The rows and claims of a run, wherever they are asked for."""
    claims = ["score > 0.1", "new.score > old", "new.latency.p50 < 1.5 * old"]
    suite(pytester, f', conditions=("old", "new"), expect={claims}')
    run(pytester)
    experiment = support.only(pytester)
    opened = crucible.open_run(pytester.path / support.OUTPUT)
    command = (sys.executable, "-m", "pytest_crucible")
    shown = pytester.run(*command, "gate", support.OUTPUT, "--json").stdout.str()
    gated = json.loads(shown)["experiments"]["e"]
    theirs = {(v["expectation"], v["condition"]): v for v in gated["verdicts"]}
    ours = {(v.expectation, v.condition): v for v in experiment.verdicts}
    assert theirs.keys() == ours.keys()
    judged_here = {(v.expectation, v.condition): v for v in crucible.judge(opened, *claims)}
    for key, verdict in ours.items():
        assert theirs[key]["verdict"] == verdict.verdict == judged_here[key].verdict
        assert theirs[key]["change"] == verdict.change == judged_here[key].change
    both = [opened.arm(condition=name) for name in ("old", "new")]
    library = {row.metric: row for row in crucible.compare(*both)}
    for row in experiment.comparisons["new"]:
        there = library[row.metric]
        assert (row.change, row.n, row.scale, row.method) == (
            there.change, there.n, there.scale, there.method,
        )  # fmt: skip
        assert row.primary == there.primary
