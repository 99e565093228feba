"""Declared metrics: of an author, of a conftest; in the summary, in verdicts, and offline."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.session import support

SUITE = """
import pytest
from pytest_crucible import Metric

@pytest.mark.experiment(
    "exp",
    conditions=("old", "new"),
    metrics=[
        Metric("effort", unit="s", better="lower", range=(0, None)),
        Metric("tie", better="higher", margin=0.5),
    ],
)
@pytest.mark.parametrize("case", range(12))
def test_it(case, experiment):
    more = experiment.condition == "new"
    experiment.record(effort=1 + case / 100 + more, tie=1 + case / 100 + 0.1 * more, odd=more)
"""
PLUGIN = """
from pytest_crucible import Metric

def effort_per_word(group):
    names = list(group.cases)
    series = group.recorded["effort"]
    return [(names[case], value / 10) for case, value in zip(series.cases, series.values)]

def pytest_crucible_declare():
    return [Metric("effort_per_word", unit="s", better="lower", values=effort_per_word)]
"""


def only_run(pytester: pytest.Pytester) -> Path:
    (manifest,) = (pytester.path / "crucible-results").glob("*/manifest.json")
    return manifest.parent


def rows(text: str) -> dict[str, str]:
    """Of each metric its row in the comparison of the arms."""
    words = "REGRESSED|IMPROVED|EQUIVALENT|INCONCLUSIVE"
    return {m[2]: m[0] for m in re.finditer(rf"^ *({words}) +(\S+).*$", text, re.MULTILINE)}


def test_author_declares_direction_unit_and_margin(pytester: pytest.Pytester) -> None:
    """A name that tells nothing has the direction it was given, its unit, and its own margin."""
    pytester.makepyfile(SUITE)
    text = support.run(pytester).stdout.str()
    found = rows(text)
    assert found["effort.mean"].split()[0] == "REGRESSED"
    assert found["tie.mean"].split()[0] == "EQUIVALENT"
    assert re.search(r"effort\.mean +1\.05+ s ", text)


def test_plugin_declares_what_it_works_out(pytester: pytest.Pytester) -> None:
    """It has an interval, is compared like a built-in metric, claimed, planned, and exported."""
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile(SUITE.replace('"exp",', '"exp", expect=["effort_per_word < 0.3"],', 1))
    result = support.run(pytester)
    text = result.stdout.str()
    assert rows(text)["effort_per_word"].split()[0] == "REGRESSED"
    assert re.search(r"effort_per_word +0\.106 s \[", text)
    assert text.count("CONFIRMED  old") == text.count("CONFIRMED  new") == 1
    manifest = json.loads((only_run(pytester) / "manifest.json").read_text())
    declared = {each["name"]: each for each in manifest["experiments"]["exp"]["declared"]}
    assert declared["effort_per_word"]["unit"] == "s"


def test_offline_without_the_plugin_the_numbers_stay(pytester: pytest.Pytester) -> None:
    """With their unit; without observations there is no interval, and no verdict on a change."""
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile(SUITE)
    support.run(pytester)
    folder = str(only_run(pytester))
    shown = pytester.run(sys.executable, "-m", "pytest_crucible", "show", folder).stdout.str()
    assert re.search(r"effort_per_word +0\.106 s", shown)
    assert rows(shown)["effort_per_word"].split()[0] == "INCONCLUSIVE"
    assert "a plugin gave the number without its observations" in shown


def test_a_metric_that_raises_costs_only_itself(pytester: pytest.Pytester) -> None:
    """It is named in one line, the table is there, and the session fails."""
    pytester.makeconftest(PLUGIN.replace('group.recorded["effort"]', 'group.recorded["efort"]'))
    pytester.makepyfile(SUITE)
    result = support.run(pytester)
    text = result.stdout.str()
    assert "problem: metric effort_per_word raised KeyError: 'efort'" in text
    assert rows(text)["effort.mean"].split()[0] == "REGRESSED"
    assert result.ret == 1


def test_what_is_no_metric_is_told(pytester: pytest.Pytester) -> None:
    """A conftest that declares something else loses that alone."""
    pytester.makeconftest("def pytest_crucible_declare(): return ['effort']")
    pytester.makepyfile(SUITE)
    result = support.run(pytester)
    text = result.stdout.str()
    assert """problem: pytest_crucible_declare must hold metrics such as Metric("score",""" in text
    assert "effort.mean" in text
    assert result.ret == 1
