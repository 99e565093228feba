"""JUnit XML: well-formed whatever names hold, with counts that agree with the exit code."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from pytest_crucible.analysis.run_comparison import FAIL_ON, RunComparison
from pytest_crucible.report.junit import comparison_junit, results_junit
from pytest_crucible.runs.experiment_definition import define
from tests.report.support import compared, made, observed


def parsed(text: str) -> dict[str, str]:
    """What became of each test case, after its document's counts were checked."""
    root = ET.fromstring(text)
    for element in (root, *root.iter("testsuite")):
        kinds = Counter(child.tag for case in element.iter("testcase") for child in case)
        assert element.get("tests") == str(len(list(element.iter("testcase"))))
        assert element.get("failures") == str(kinds["failure"])
        assert element.get("skipped") == str(kinds["skipped"])
        assert element.get("errors") == "0"
    return {
        f"{case.get('classname')}.{case.get('name')}": case[0].tag for case in root.iter("testcase")
    }


@pytest.fixture
def mixed(tmp_path: Path) -> RunComparison:
    """Slower, maybe dearer; a score, a case and an experiment are gone."""
    base = made(tmp_path / "a", [*observed(range(60), noise=1), *observed(experiment="gone")])
    changed = observed(range(1, 60), slower=2, dearer=1.03, score=None, noise=2)
    cand = made(tmp_path / "b", changed)
    return compared(base, cand)


@pytest.mark.parametrize(
    ("fail_on", "failures"),
    [
        (("regression",), {"exp.latency"}),
        (("any",), {"exp.latency"}),
        (("missing",), {"gone.experiment", "exp.cases"}),
        (("inconclusive",), {"exp.cost"}),
        ((), set()),
    ],
)
def test_what_fails_the_gate_is_a_failure(
    fail_on: tuple[str, ...], failures: set[str], mixed: RunComparison
) -> None:
    """Failures are what the exit code is about; what is open or only shown is skipped."""
    found = parsed(comparison_junit([mixed], fail_on))
    assert {name for name, kind in found.items() if kind == "failure"} == failures
    assert {name for name, kind in found.items() if kind == "skipped"} == {*found} - failures
    names = {failure.partition(": ")[2] for failure in mixed.failures(fail_on)}
    assert len(names) == len(failures)


def test_a_failure_says_what_changed(mixed: RunComparison) -> None:
    """Before, after, change, interval: enough to see in a CI system what happened."""
    root = ET.fromstring(comparison_junit([mixed], FAIL_ON))
    (failure,) = [
        case[0] for case in root.iter("testcase") if case.get("name") == "latency"
    ]  # fmt: skip
    message = failure.get("message", "")
    assert message.startswith("REGRESSED: ")
    assert " ms → " in message
    assert re.search(r" ms, [+]\d+\.\d % \[[+]", message)


def test_what_decides_nothing_says_so(mixed: RunComparison) -> None:
    """A metric that is gone is told, though nobody made it decide."""
    root = ET.fromstring(comparison_junit([mixed], FAIL_ON))
    (gone,) = [case[0] for case in root.iter("testcase") if case.get("name") == "score.mean"]
    assert gone.tag == "skipped"
    assert gone.get("message", "").startswith("REMOVED: ")
    assert gone.get("message", "").endswith(", the candidate has no such metric, shown only")


def test_several_candidates_are_kept_apart(tmp_path: Path, mixed: RunComparison) -> None:
    """With more than one candidate each suite names the candidate it is about."""
    base = made(tmp_path / "c", observed(range(100)))
    found = parsed(comparison_junit([mixed, compared(base, base)], FAIL_ON))
    assert found["b: exp.latency"] == "failure"
    assert found["c: exp.latency"] == "system-out"


def test_characters_that_xml_cannot_hold(tmp_path: Path) -> None:
    """Control characters in names are replaced: the document is well-formed all the same."""
    name = 'a\x00\x1b<&">\ufffe\ud7ff'
    run = made(tmp_path / "a", observed(experiment=name, score="\x0b"))
    found = parsed(comparison_junit([compared(run, run)], FAIL_ON))
    assert 'a\ufffd\ufffd<&">\ufffd\ud7ff.\ufffd.mean' in found


@pytest.mark.parametrize(
    ("inconclusive", "kind"), [("warn", "skipped"), ("pass", "skipped"), ("fail", "failure")]
)
def test_expectations_are_test_cases(inconclusive: str, kind: str, tmp_path: Path) -> None:
    """Rejected fails, confirmed passes, and open is as was asked for."""
    expect = ["success_rate > 0.99", "latency.p50 < 1", "latency.p50 < 1000"]
    folder = made(tmp_path / "a", observed(), define("exp", expect=expect))
    found = parsed(results_junit(analyse(open_run(folder)), inconclusive))
    assert found == {
        "exp.success_rate > 0.99 (default)": kind,
        "exp.latency.p50 < 1 (default)": "failure",
        "exp.latency.p50 < 1000 (default)": "system-out",
    }
