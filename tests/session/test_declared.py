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
    metrics={
        "effort": Metric(unit="s", better="lower", range=(0, None)),
        "tie": Metric(better="higher", margin=0.5),
    },
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
    return {"effort_per_word": Metric(unit="s", better="lower", values=effort_per_word)}
"""


def only_run(pytester: pytest.Pytester) -> Path:
    (manifest,) = (pytester.path / "crucible-results").glob("*/manifest.json")
    return manifest.parent


def rows(text: str) -> dict[str, str]:
    """Of each metric its row in the comparison of the arms."""
    words = "REGRESSED|IMPROVED|CHANGED|EQUIVALENT|INCONCLUSIVE|NO INTERVAL"
    found = re.finditer(rf"^ *(?P<verdict>(?i:{words})) +(\S+) .*$", text, re.MULTILINE)
    return {m[2]: m[0] for m in found}


def test_author_declares_direction_unit_and_margin(pytester: pytest.Pytester) -> None:
    """A name that tells nothing has the direction it was given, its unit, and its own margin."""
    pytester.makepyfile(SUITE)
    text = support.run(pytester).stdout.str()
    found = rows(text)
    assert found["effort.mean"].split()[0] == "regressed"
    assert found["tie.mean"].split()[0] == "equivalent"
    assert re.search(r"effort\.mean +1\.05+ s ", text)


def test_plugin_declares_what_it_works_out(pytester: pytest.Pytester) -> None:
    """It has an interval, is compared like a built-in metric, claimed, planned, and exported."""
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile(SUITE.replace('"exp",', '"exp", expect=["effort_per_word > 0.05"],', 1))
    result = support.run(pytester)
    text = result.stdout.str()
    assert rows(text)["effort_per_word"].split()[0] == "REGRESSED"
    assert re.search(r"effort_per_word +0\.106 s \[", text)
    assert text.count("CONFIRMED  old") == text.count("CONFIRMED  new") == 1
    manifest = json.loads((only_run(pytester) / "manifest.json").read_text())
    declared = manifest["experiments"]["exp"]["declared"]
    assert declared["effort_per_word"]["unit"] == "s"


def test_offline_without_the_plugin_the_numbers_stay(pytester: pytest.Pytester) -> None:
    """With their unit; without observations there is no interval, and no verdict on a change."""
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile(SUITE)
    support.run(pytester)
    folder = str(only_run(pytester))
    shown = pytester.run(sys.executable, "-m", "pytest_crucible", "show", folder).stdout.str()
    assert re.search(r"effort_per_word +0\.106 s", shown)
    assert rows(shown)["effort_per_word"].split()[:2] == ["no", "interval"]
    assert "a plugin gave only the number" in shown


def test_a_metric_that_raises_costs_only_itself(pytester: pytest.Pytester) -> None:
    """It is named in one line, the table is there, and the session fails."""
    pytester.makeconftest(PLUGIN.replace('group.recorded["effort"]', 'group.recorded["efort"]'))
    pytester.makepyfile(SUITE)
    result = support.run(pytester)
    text = result.stdout.str()
    assert "problem: metric effort_per_word raised KeyError: 'efort'" in text
    assert rows(text)["effort.mean"].split()[0] == "regressed"
    assert result.ret == 1


def test_what_is_no_metric_is_told(pytester: pytest.Pytester) -> None:
    """A conftest that declares something else loses that alone."""
    pytester.makeconftest("def pytest_crucible_declare(): return ['effort']")
    pytester.makepyfile(SUITE)
    result = support.run(pytester)
    text = result.stdout.str()
    assert "problem: ['effort'] is no mapping: left out pytest_crucible_declare" in text
    assert "effort.mean" in text
    assert result.ret == 1


# --- for a whole project ----------------------------------------------------------------------

WORDS = """
import pytest

@pytest.mark.experiment("exp", conditions=("old", "new"){more})
@pytest.mark.parametrize("case", range(12))
def test_it(case, experiment):
    experiment.record(words=10 + case / 10 + 5 * (experiment.condition == "new"))
"""
INI = {
    "pytest.ini": """
[pytest]
crucible_metrics =
    words = "lower"
    score = {better = "higher", range = [0, 1], margin = 0.02}
""",
    "tox.ini": "[pytest]\ncrucible_metrics = words = 'lower'\n",
    "pyproject.toml": """
[tool.pytest.ini_options]
crucible_metrics = ['words = "lower"', 'score = {better = "higher", range = [0, 1]}']
""",
    "pyproject.toml ": """
[tool.pytest.ini_options.crucible_metrics]
words = "lower"
score = {better = "higher", range = [0, 1], unit = "%"}
""",
}
if int(pytest.__version__.split(".")[0]) >= 9:
    INI["pytest.toml"] = """
[pytest.crucible_metrics]
words = {better = "lower"}
"""
    INI["pyproject.toml  "] = """
[tool.pytest]
crucible_metrics = ['words = "lower"']
"""


@pytest.mark.parametrize("name", INI)
def test_a_project_declares_for_all_experiments(pytester: pytest.Pytester, name: str) -> None:
    """In every file that pytest reads."""
    pytester.path.joinpath(name.strip()).write_text(INI[name])
    pytester.makepyfile(WORDS.format(more=""))
    assert rows(support.run(pytester).stdout.str())["words.mean"].split()[0] == "regressed"


def test_the_marker_counts_more_than_the_project(pytester: pytest.Pytester) -> None:
    """And the project more than a plugin."""
    pytester.path.joinpath("pytest.ini").write_text(INI["tox.ini"])
    pytester.makeconftest("def pytest_crucible_declare(): return {'words': 'higher'}")
    pytester.makepyfile(
        test_a=WORDS.format(more=""),
        test_b=WORDS.replace('"exp"', '"other"').format(more=', metrics={"words": "higher"}'),
    )
    text = support.run(pytester).stdout.str()
    assert re.findall(r"(\w+) +words\.mean +\+", text) == ["regressed", "improved"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("words = lower", "words"),
        ('words = "les"', "words: better='les' is not lower or higher"),
        ('cost = "lower"', "'cost' is a built-in metric"),
        ("f = {formula = 'a +'}", "f: formula: 'a +' is no formula"),
        ("{", "crucible_metrics: "),
    ],
)
def test_a_wrong_line_is_named(pytester: pytest.Pytester, line: str, problem: str) -> None:
    """With the file, before any test runs."""
    pytester.path.joinpath("pytest.ini").write_text(f"[pytest]\ncrucible_metrics = {line}\n")
    pytester.makepyfile(WORDS.format(more=""))
    result = support.run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (told,) = [each for each in result.stderr.lines if "crucible_metrics" in each]
    assert "pytest.ini: ini value crucible_metrics: " in told
    assert problem in told


# --- what nobody knows ------------------------------------------------------------------------


def test_an_undeclared_number_is_changed(pytester: pytest.Pytester) -> None:
    """It fails nothing, and one line says how to declare it."""
    pytester.makepyfile(WORDS.format(more=""))
    result = support.run(pytester)
    text = result.stdout.str()
    assert result.ret == 0
    assert rows(text)["words.mean"].split()[0] == "changed"
    assert text.count('metrics={"words": "lower"}') == 1
    command = (sys.executable, "-m", "pytest_crucible", "compare")
    pytester.makepyfile(WORDS.format(more="").replace("10 + case", "20 + case"))
    support.run(pytester, "--crucible-output=after")
    asked = ("--fail-on=changed", "--metric=words")
    for more, code, word in (((), 0, "changed"), (asked[:1], 0, "changed"), (asked, 1, "CHANGED")):
        found = pytester.run(*command, "crucible-results", "after", *more)
        assert found.ret == code
        assert rows(found.stdout.str())["words.mean"].split()[0] == word


CLASSIFIER = """
import pytest
from pytest_crucible import Metric

@pytest.mark.experiment("clf", conditions=("always", "rule"){more})
@pytest.mark.parametrize("case", range(40))
def test_clf(case, experiment):
    label = case % 3 > 0
    said = label if experiment.condition == "rule" else True
    experiment.record(tp=said and label, fp=said and not label, fn=label and not said)
"""
HOOK = """
def pytest_crucible_metrics(observations, metrics):
    r = observations.recorded
    tp, fp, fn = (sum(r[k].values) for k in ("tp", "fp", "fn"))
    return {"f1": 2*tp/(2*tp+fp+fn)}
"""


def test_a_number_of_a_hook_confirms_nothing(pytester: pytest.Pytester) -> None:
    """It has a row in the comparison, which decides nothing."""
    pytester.makeconftest(HOOK)
    pytester.makepyfile(CLASSIFIER.format(more=', expect=["f1 >= 0.5", "rule.f1 >= always"]'))
    text = support.run(pytester).stdout.str()
    assert "  f1: no interval: a plugin gave only the number; declare it with formula=" in text
    assert re.search(r"NO INTERVAL +f1 +\+0\.", text)
    assert re.findall(r"(\w+) +(?:always|rule) +(?:rule\.)?f1 >=", text) == ["INCONCLUSIVE"] * 3
    folder = str(only_run(pytester))
    command = (sys.executable, "-m", "pytest_crucible", "compare", folder, folder)
    found = json.loads(pytester.run(*command, "--json", "--fail-on=inconclusive").stdout.str())
    assert not any("f1" in failure for failure in found["comparisons"][0]["failures"])


def test_a_hook_that_raises_loses_only_its_numbers(pytester: pytest.Pytester) -> None:
    """The table is there, and one line names the hook."""
    pytester.makeconftest(HOOK.replace("2*tp/(2*tp+fp+fn)", "1 / 0"))
    pytester.makepyfile(CLASSIFIER.format(more=""))
    result = support.run(pytester)
    text = result.stdout.str()
    assert "problem: ZeroDivisionError: division by zero" in text
    assert re.search(r"tp\.mean +0\.6", text)
    assert rows(text)["fp.mean"].split()[0] == "changed"
    assert result.ret == 1


FORMULAS = """, metrics={
    "f1": Metric(formula="2*tp/(2*tp+fp+fn)", better="higher", range=(0, 1)),
    "none": {"formula": "tp / (fp - fp)"}, "gone": {"formula": "tp / tn"},
}, expect=["f1 >= 0.6", "rule.f1 > always", "none > 1"]"""


def test_a_formula_is_a_metric(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Interval, claims, comparison, manifest; again from the record; no value has a reason."""
    pytester.makepyfile(CLASSIFIER.format(more=FORMULAS))
    text = support.run(pytester, *mode).stdout.str()
    folder = str(only_run(pytester))
    again = pytester.run(sys.executable, "-m", "pytest_crucible", "show", folder).stdout.str()
    for shown in (text, again):
        assert re.search(r"\n  f1 +0\.788 \[0\.\d+, 0\.\d+\] +1\.000 \[0\.\d+, 1\.000\]", shown)
        assert rows(shown)["f1"].split()[0] == "IMPROVED"
        assert shown.count("CONFIRMED") == 3
        assert "no none of always: it divides by zero: fp - fp is 0" in shown
        assert "no gone of rule: nobody recorded tn" in shown
        assert len(re.findall("INCONCLUSIVE +(?:always|rule) +none > 1", shown)) == 2
    gate = (sys.executable, "-m", "pytest_crucible", "gate", folder, "--expect")
    assert pytester.run(*gate, "f1 > 0.5").ret == 0
    assert pytester.run(*gate, "f1 > 0.99").ret == 1
    compared = pytester.run(sys.executable, "-m", "pytest_crucible", "compare", folder, folder)
    assert "f1" in compared.stdout.str()


JUDGED = """
import random
import pytest
from pytest_crucible import Metric

@pytest.mark.experiment(
    "judge", conditions=("old", "new"), failures="record", margin=0.15,
    metrics={"kappa": Metric(formula="kappa(judge, human)"), "three": Metric(
        formula="alpha_ordinal(judge, human, other)")},
    expect=["new.kappa > 0.6", "old.kappa > 0.6", "new.kappa > old"],
)
@pytest.mark.parametrize("case", range(150))
def test_it(case, experiment):
    rng = random.Random(case)
    human = rng.randrange(2)
    wrong = rng.random() < (0.05 if experiment.condition == "new" else 0.4)
    experiment.record(judge=bool(human) != wrong, human=human)
    if case % 3:
        experiment.record(other=human)
"""


def test_agreement_is_a_metric(pytester: pytest.Pytester) -> None:
    """Interval, claims, comparison of arms and of runs; again from the record."""
    pytester.makepyfile(JUDGED)
    text = support.run(pytester).stdout.str()
    folder = str(only_run(pytester))
    again = pytester.run(sys.executable, "-m", "pytest_crucible", "show", folder).stdout.str()
    for shown in (text, again):
        assert re.search(r"\n  kappa +0\.\d+ \[-?0\.\d+, 0\.\d+\] +0\.9\d+ \[0\.8\d+, ", shown)
        assert re.search(r"\n  three +0\.\d+ \[0\.\d+, 0\.\d+\] +0\.9\d+ ", shown)
        assert rows(shown)["kappa"].split()[0] == "IMPROVED"
        assert re.search(r"CONFIRMED +new +new\.kappa > 0\.6", shown)
        assert re.search(r"REJECTED +old +old\.kappa > 0\.6", shown)
        assert re.search(r"CONFIRMED +new +new\.kappa > old", shown)
    compared = pytester.run(sys.executable, "-m", "pytest_crucible", "compare", folder, folder)
    assert rows(compared.stdout.str())["kappa"].split()[0] == "EQUIVALENT"


def test_values_outside_a_declared_range_are_told(pytester: pytest.Pytester) -> None:
    """In one line; there is no verdict, and nothing is lost."""
    more = ', metrics={"words": Metric(range=(0, 16))}, expect=["words.mean < 16"]'
    source = WORDS.replace("import pytest", "import pytest\nfrom pytest_crucible import Metric")
    pytester.makepyfile(source.format(more=more))
    text = support.run(pytester).stdout.str()
    told = "1 of 12 values of words outside its range 0 to 16: 16.1 in "
    assert f"{told}test_values_outside_a_declared_range_are_told.py::test_it[11] of new" in text
    assert re.search(r"CONFIRMED +old +words\.mean < 16", text)
    assert re.search(rf"INCONCLUSIVE +new +words\.mean < 16 .*{re.escape(told)}", text)
    assert rows(text)["words.mean"].split()[0] == "INCONCLUSIVE"


def test_a_baseline_of_zero_has_no_margin(pytester: pytest.Pytester) -> None:
    """From nothing to four cents is a regression; from nothing to nothing is none."""
    pytester.makepyfile("""
        import os, pytest
        @pytest.mark.experiment("free")
        @pytest.mark.parametrize("k", range(100))
        def test_cost(k, experiment):
            experiment.execute("req_llm.request.stop", {"cost_usd": float(os.environ["COST"])})
    """)
    for name, cost in (("base", "0"), ("head", "0.04")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COST", cost)
            support.run(pytester, f"--crucible-output={name}")
    command = (sys.executable, "-m", "pytest_crucible", "compare", "base")
    regressed, same = (pytester.run(*command, name) for name in ("head", "base"))
    assert (regressed.ret, same.ret) == (1, 0)
    assert rows(regressed.stdout.str())["cost"].split()[0] == "REGRESSED"
    assert rows(same.stdout.str())["cost"].split()[0] == "EQUIVALENT"
