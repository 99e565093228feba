"""JUnit XML, which most CI systems show: one test case per verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from pytest_crucible.report.comparing import RunComparison
from pytest_crucible.report.numbers import (
    decimals,
    show_change,
    show_change_interval,
    unit_of,
)
from pytest_crucible.report.results import Results
from pytest_crucible.report.terminal import comparison_note, judgement_text
from pytest_crucible.stats.comparison import INCONCLUSIVE, REGRESSED, REMOVED, Comparison
from pytest_crucible.stats.expectations import REJECTED

Case = tuple[str, str, str, str]
"""suite, name, verdict, text"""

# Characters that XML 1.0 cannot hold at all, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def comparison_junit(comparison: RunComparison) -> str:
    """A comparison: regressions and removals are failures, inconclusive ones skipped."""
    return _document("crucible compare", _compared(comparison))


def results_junit(results: Results) -> str:
    """A run's expectations: rejected ones are failures, inconclusive ones skipped."""
    cases = (
        (each.definition.name, f"{judgement.expectation} ({judgement.condition})",
         judgement.verdict, judgement_text(judgement))
        for each in results.experiments
        for judgement in each.judgements
    )  # fmt: skip
    return _document("crucible", cases)


def _compared(comparison: RunComparison) -> Iterator[Case]:
    for arm in comparison.arms:
        if arm.reason is not None:
            yield arm.name, "experiment", arm.verdict, arm.reason
        for each in arm.comparisons:
            yield arm.name, each.metric, each.verdict, change_text(each)


def change_text(each: Comparison) -> str:
    """``+20.1 % [+15.2, +25.3], needs …``."""
    unit = unit_of(each.metric)
    digits = decimals([v for v in (each.baseline, each.candidate) if v is not None])
    change = show_change(each.change, each.scale, unit, digits)
    interval = show_change_interval(each.low, each.high, each.scale, unit, digits)
    note = comparison_note(each)
    return f"{change} {interval}".strip() + (f", {note}" if note else "")


def _document(name: str, cases: Iterator[Case]) -> str:
    root = ET.Element("testsuites", name=name)
    suites: dict[str, ET.Element] = {}
    for suite_name, case_name, verdict, text in cases:
        suite = suites.get(suite_name)
        if suite is None:
            suite = suites[suite_name] = ET.SubElement(root, "testsuite", name=_legal(suite_name))
        case = ET.SubElement(
            suite, "testcase", classname=_legal(suite_name), name=_legal(case_name), time="0"
        )
        message = _legal(f"{verdict}: {text}")
        if verdict in (REGRESSED, REMOVED, REJECTED):
            ET.SubElement(case, "failure", message=message, type=verdict).text = message
        elif verdict == INCONCLUSIVE:
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
