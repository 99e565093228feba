"""Slices as tables, in every report, with names that would like to be something else."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from pytest_crucible.report.verdict_rows import ASIDE
from tests.cli.support import failure
from tests.cli.support import run as crucible
from tests.session.support import run

HOSTILE = """
import os, pytest
NAMES = ["<b>x</b>", "a|b`c`*d*", "line1\\nline2", "\\x1b[31mred\\x1b[0m", "=1+1", "\\u202egnp", "",
         None, 0, "long " * 50 + "a", "long " * 50 + "b"]
@pytest.mark.experiment("exp", slices=["name", "tags", "odd|name"], tags=["<t>", "u|v"])
def test_it(experiment):
    for number in range(110):
        names = {"name": NAMES[number % 11], "odd|name": ["a", "b"] if number % 2 else "a"}
        with experiment.case(number, **names):
            experiment.record(score=number / 110 - float(os.environ.get("LESS", 0)))
"""
SHOWN = ["<b>x</b>", "a|b`c`*d*", "line1 line2", "=1+1", "(empty)", "(none)", "0"]


@pytest.fixture
def hostile(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(HOSTILE)
    assert run(pytester, "--crucible-output=base").ret == 0
    return pytester


def test_the_terminal_has_a_row_per_slice(
    hostile: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    """Aligned, in one line each, without control characters."""
    capsys.readouterr()
    assert crucible("show", "base", "--by", "name") == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("  by name, intervals corrected for 11 slices")
    rows = lines[start + 2 : start + 13]
    for name in SHOWN:
        assert sum(row.startswith(f"  {name} ") for row in rows) == 1, name
    assert all(row.isprintable() for row in rows)
    assert len({len(row) for row in rows}) == 1
    assert sum(row.startswith("  long long") for row in rows) == 2
    assert not any("by tags" in line for line in lines)


def test_the_session_shows_the_slices_of_the_marker(pytester: pytest.Pytester) -> None:
    """Each name has its table, and a case may be in several slices."""
    pytester.makepyfile(HOSTILE)
    result = run(pytester)
    result.stdout.fnmatch_lines(
        [
            "  by tags, intervals corrected for 2 slices",
            "  <t> * 110 *",
            "  u|v * 110 *",
            "  by odd|name, *",
            "  a * 110 *",
            "  b *  55 *",
        ]
    )


def test_many_slices_are_cut(pytester: pytest.Pytester) -> None:
    """The title says how many there are."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("exp", slices=["n"], conditions=["x", "y"])
        def test_it(experiment):
            for number in range(30):
                with experiment.case(number, n=number):
                    pass
        """
    )
    result = run(pytester)
    result.stdout.fnmatch_lines(
        ["  by n, the 20 largest of 30 slices, intervals corrected for 20 slices",
         "  slice * condition * cases *"]
    )  # fmt: skip


def test_markdown_and_json_have_them(hostile: pytest.Pytester) -> None:
    """Markup in names stays text; every number is there."""
    outputs = ["--markdown", "g.md", "--json", "g.json"]
    assert crucible("gate", "base", "--expect", "score.mean > 0", "--by", "name", *outputs) == 0
    markdown = (hostile.path / "g.md").read_text(encoding="utf-8")
    assert "&lt;b&gt;x&lt;/b&gt;" in markdown
    assert "<b>" not in markdown
    assert "\x1b" not in markdown
    table = markdown[markdown.index("by name") :].split("</details>")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 13
    assert len({line.replace(r"\|", "").count("|") for line in rows}) == 1
    data = json.loads((hostile.path / "g.json").read_text(encoding="utf-8"))
    (slices,) = data["experiments"]["exp"]["slices"]
    assert slices["by"] == "name"
    assert sum(each["cases"] for each in slices["slices"]) == 110


def test_comparisons_by_slice(
    hostile: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Below the verdict of the whole, which they do not change, in small letters."""
    monkeypatch.setenv("LESS", "0.3")
    assert run(hostile, "--crucible-output=head").ret == 0
    capsys.readouterr()
    outputs = ["--markdown", "c.md", "--json", "c.json", "--junit", "c.xml"]
    arguments = ["--by", "name", "--metric", "score", *outputs]
    assert crucible("compare", "base", "head", *arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("REGRESSED  1 regressed, 1 equivalent")
    start = lines.index("  by name, corrected for the number of slices; none decides the verdict")
    rows = [line.split()[0] for line in lines[start:] if ": score.mean " in line]
    assert rows == ["regressed"] * 11
    assert not any(ASIDE in line for line in lines)
    assert "<b>" not in (hostile.path / "c.md").read_text(encoding="utf-8")
    data = json.loads((hostile.path / "c.json").read_text(encoding="utf-8"))
    slices = data["comparisons"][0]["arms"][0]["slices"]["name"]
    assert [row["primary"] for row in slices] == [False] * 22
    cases = ET.parse(hostile.path / "c.xml").getroot().iter("testcase")
    assert [case.get("name") for case in cases] == ["success_rate", "score.mean"]


@pytest.mark.parametrize(
    "command", [("show", "base"), ("gate", "base"), ("compare",) + ("base",) * 2]
)
def test_a_name_that_is_not_on_record_is_refused(
    hostile: pytest.Pytester, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """One line with the valid ones."""
    capsys.readouterr()
    said = failure(capsys, *command, "--by", "nmae")
    assert said == "no slices by 'nmae' on record; did you mean 'name'? valid: name, tags, odd|name"
