"""JUnit XML, which most CI systems show: one test case per verdict."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from xml.etree import ElementTree as ET

from pytest_crucible._text import plural
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run_comparison import RunComparison, failing
from pytest_crucible.report.compare_text import some
from pytest_crucible.report.numbers import (
    decimals,
    show,
    show_change,
    show_change_interval,
)
from pytest_crucible.report.terminal import comparison_note, judgement_text
from pytest_crucible.stats.comparison import (
    ADDED,
    INCONCLUSIVE,
    REGRESSED,
    REMOVED,
    Comparison,
)

Case = tuple[str, str, str, str]
"""suite, name, verdict, text"""

_OPEN = (REGRESSED, REMOVED, INCONCLUSIVE)

# Characters that XML 1.0 cannot hold at all, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def comparison_junit(comparisons: Sequence[RunComparison], fail_on: Sequence[str]) -> str:
    """Comparisons: what fails the gate is a failure, what is open or only told is skipped."""
    cases = (case for each in comparisons for case in _compared(each, len(comparisons) > 1))
    return _document("crucible compare", cases, failing(fail_on))


def results_junit(results: Results, inconclusive: str) -> str:
    """A run's expectations: unmet ones are failures, other inconclusive ones skipped."""
    unmet = results.unmet(inconclusive)
    cases = (
        (each.definition.name, f"{judgement.expectation} ({judgement.condition})",
         judgement.verdict, judgement_text(judgement))
        for each in results.experiments
        for judgement in each.judgements
    )  # fmt: skip
    return _document("crucible", cases, {judgement.verdict for _, judgement in unmet})


def _compared(comparison: RunComparison, several: bool) -> Iterator[Case]:
    for arm in comparison.arms:
        suite = f"{comparison.candidate}: {arm.name}" if several else arm.name
        if arm.reason is not None:
            yield suite, "experiment", arm.verdict, arm.reason
        for word, names in ((REMOVED, arm.removed_cases), (ADDED, arm.added_cases)):
            if names:
                yield suite, "cases", word, f"{plural(len(names), 'case')}: {some(names)}"
        for each in arm.comparisons:
            yield suite, each.metric, each.verdict, change_text(each)


def change_text(each: Comparison) -> str:
    """``100 ms → 120 ms, +20.1 % [+15.2, +25.3], needs …``."""
    unit = each.unit
    digits = decimals([v for v in (each.baseline, each.candidate) if v is not None])
    parts = [f"{show(each.baseline, unit, digits)} → {show(each.candidate, unit, digits)}"]
    if each.change is not None:
        interval = show_change_interval(each.low, each.high, each.scale, unit, digits)
        change = show_change(each.change, each.scale, unit, digits)
        parts.append(f"{change} {interval}".rstrip())
    if comparison_note(each):
        parts.append(comparison_note(each))
    return ", ".join(parts)


def _document(name: str, cases: Iterator[Case], failures: Collection[str]) -> str:
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
        if verdict in failures:
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
