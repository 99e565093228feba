"""JUnit XML, which most CI systems show: one test case per verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run_comparison import RunComparison, failing, fails
from pytest_crucible.report.compare_text import case_notes
from pytest_crucible.report.verdict_rows import comparison_format, comparison_note, verdict_text
from pytest_crucible.stats.comparison import (
    INCONCLUSIVE,
    REGRESSED,
    REMOVED,
    Comparison,
)
from pytest_crucible.stats.verdict import NOT_RUN

Case = tuple[str, str, str, str, bool]
"""Suite, name, verdict and text of a test case, and whether it fails."""

_OPEN = (REGRESSED, REMOVED, INCONCLUSIVE, NOT_RUN)

# Characters that XML 1.0 cannot hold at all, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def comparison_junit(comparisons: Sequence[RunComparison], fail_on: Sequence[str]) -> str:
    """Return comparisons as XML: a test case per metric.

    Verdicts that fail the gate are failures. Other regressions, removals and inconclusive metrics
    are skipped test cases.

    Args:
        comparisons: of one baseline with one or more candidates.
        fail_on: the verdicts that fail the gate, as given on the command line.
    """
    several = len(comparisons) > 1
    cases = (case for comparison in comparisons for case in _compared(comparison, several, fail_on))
    return _document("crucible compare", cases)


def results_junit(results: Results, inconclusive: str, not_run: bool = False) -> str:
    """Return the expectations of a run as XML: unmet ones fail, other inconclusive ones skip.

    Args:
        results: the results of the run.
        inconclusive: setting of the session; ``fail``: INCONCLUSIVE expectations are unmet, too.
        not_run: whether expectations that are NOT RUN are unmet, too.
    """
    unmet = results.unmet(inconclusive, not_run)
    cases = (
        (experiment.definition.name, f"{verdict.expectation} ({verdict.condition})",
         verdict.verdict, verdict_text(verdict), (experiment.definition.name, verdict) in unmet)
        for experiment in results.experiments
        for verdict in experiment.verdicts
    )  # fmt: skip
    return _document("crucible", cases)


def _compared(comparison: RunComparison, several: bool, fail_on: Sequence[str]) -> Iterator[Case]:
    failures = failing(fail_on)
    for arm in comparison.arms:
        suite = f"{comparison.candidate}: {arm.name}" if several else arm.name
        if arm.reason is not None:
            yield suite, "experiment", arm.verdict, arm.reason, arm.verdict in failures
        for word, text in case_notes(arm):
            yield suite, "cases", word, text, word in failures
        for metric in arm.comparisons:
            text = change_text(metric)
            yield suite, metric.metric, metric.verdict, text, fails(metric, fail_on)


def change_text(comparison: Comparison) -> str:
    """``100 ms → 120 ms, +20.1 % [+15.2, +25.3], shown only``."""
    scale, form = comparison.scale, comparison_format(comparison)
    parts = [f"{form.show(comparison.baseline)} → {form.show(comparison.candidate)}"]
    if comparison.change is not None:
        interval = form.change_interval(comparison.low, comparison.high, scale)
        change = form.change(comparison.change, scale)
        parts.append(f"{change} {interval}".rstrip())
    if comparison_note(comparison):
        parts.append(comparison_note(comparison))
    if not comparison.primary:
        parts.append("shown only")
    return ", ".join(parts)


def _document(name: str, cases: Iterator[Case]) -> str:
    root = ET.Element("testsuites", name=name)
    suites: dict[str, ET.Element] = {}
    for suite_name, case_name, verdict, text, failed in cases:
        suite = suites.get(suite_name)
        if suite is None:
            suite = suites[suite_name] = ET.SubElement(root, "testsuite", name=_legal(suite_name))
        case = ET.SubElement(
            suite, "testcase", classname=_legal(suite_name), name=_legal(case_name), time="0"
        )
        message = _legal(f"{verdict}: {text}")
        if failed:
            ET.SubElement(case, "failure", message=message, type=verdict).text = message
        elif verdict in _OPEN:
            ET.SubElement(case, "skipped", message=message)
        else:
            ET.SubElement(case, "system-out").text = message
    for element in (root, *suites.values()):
        _count(element)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _count(element: ET.Element) -> None:
    for kind, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")):
        element.set(kind, str(sum(1 for _ in element.iter(tag))))
    element.set("errors", "0")


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
