"""The documentation: what it names exists, and the code it shows to users runs."""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pytest_crucible
from pytest_crucible.cli.main import main
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.hooks import specs
from pytest_crucible.runs.experiment_definition import KEYWORDS
from tests.session import support

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pytest_crucible"
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
}
every_page = pytest.mark.parametrize("page", sorted(PAGES))

INVENTED = {"NAME", "FILE", "answers"}
"""Words in paths that stand for others, or for files of the reader's project."""


def blocks(page: str, language: str = "python") -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


def anchors(page: str) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def column(page: str, first_row: str) -> list[str]:
    """The first cells of the table that begins with this row."""
    table = PAGES[page].partition(first_row)[2].partition("\n\n")[0]
    return re.findall(r"^\| ([^|]*?) \|", table, re.MULTILINE)


@every_page
def test_links_lead_somewhere(page: str) -> None:
    """To a file, and to a heading in it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.relative_to(ROOT).as_posix()), link


@every_page
def test_paths_exist(page: str) -> None:
    """Of modules and tests, from the root or within the package."""
    for path in re.findall(r"\b(?:\w+/)+\w+\.py\b", PAGES[page]):
        if not any(word in path for word in INVENTED) and "scratch" not in path:
            assert (ROOT / path).exists() or (PACKAGE / path).exists(), path


@every_page
def test_public_names_exist(page: str) -> None:
    """``crucible.NAME`` and what is imported from the package."""
    text = PAGES[page]
    named = set(re.findall(r"(?<![\w.])crucible\.([A-Za-z]\w+)\(", text))
    for names in re.findall(r"from pytest_crucible import ([\w, ]+)", text):
        named |= set(names.split(", "))
    assert named <= set(pytest_crucible.__all__)


@every_page
def test_commands_and_options_exist(page: str) -> None:
    """Options of commands in blocks and in text, and those of pytest."""
    text = PAGES[page]
    known = {command: help_of(command) for command in set(re.findall(r"`?crucible (\w+)", text))
             if command in COMMANDS}  # fmt: skip
    for command, options in re.findall(r"\bcrucible (\w+)((?: [^`|\n]*)?)", text):
        for option in re.findall(r"(?<!\S)--[a-z-]+", options if command in known else ""):
            assert option in known[command], f"crucible {command} {option}"
    settings = (PACKAGE / "session/settings.py").read_text(encoding="utf-8")
    for option in re.findall(r"--crucible-[a-z-]+|\bcrucible_(?:export|output|fail_on)\b", text):
        assert f'"{option}"' in settings, option


COMMANDS = sorted(path.stem for path in (PACKAGE / "cli").glob("*.py"))


@cache
def help_of(command: str) -> str:
    """What ``crucible COMMAND --help`` prints; nothing for a file that is no command."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([command, "--help"])
    return printed.getvalue()


def test_the_readme_has_every_option_and_keyword() -> None:
    """Its tables are those of ``pytest --help`` and of the marker."""
    settings = (PACKAGE / "session/settings.py").read_text(encoding="utf-8")
    options = set(re.findall(r'"(--crucible-[a-z-]+)"', settings))
    listed = column("README.md", "| option | ini | |\n|---|---|---|\n")
    assert {cell.strip("`").partition("=")[0] for cell in listed} == options
    keywords = column("README.md", "| marker keyword | default | |\n|---|---|---|\n")
    named = re.findall(r"`(\w+)`", " ".join(keywords))
    assert sorted(named) == sorted(["name", *KEYWORDS])


def test_the_docs_have_every_hook_command_and_format() -> None:
    """Hooks in docs/extending.md and the README, commands in docs/cli.md, formats in exports.md."""
    hooks = {name for name in vars(specs) if name.startswith("pytest_crucible_")}
    listed = column("docs/extending.md", "| hook | adds |\n|---|---|\n")
    assert {cell.strip("`").partition("(")[0] for cell in listed} == hooks
    assert set(re.findall(r"pytest_crucible_\w+", PAGES["README.md"])) == hooks
    commands = {name for name in COMMANDS if "usage: crucible " + name in help_of(name)}
    assert commands <= {heading.removeprefix("#") for heading in anchors("docs/cli.md")}
    formats = column("docs/exports.md", "| format | what | reads the run in |\n|---|---|---|\n")
    assert {cell.strip("`") for cell in formats} == set(FORMATS)


def users_code() -> Iterator[tuple[str, int, str]]:
    for page in sorted(PAGES):
        for number, block in enumerate(blocks(page)):
            yield page, number, block


def test_python_blocks_are_python() -> None:
    """Every block that says so compiles; lines out of their context are blocks of text."""
    for page, number, block in users_code():
        compile(block, f"{page} block {number}", "exec")


def extending() -> list[str]:
    """The blocks for plugins."""
    return blocks("docs/extending.md")


def test_the_readme_s_test_runs(pytester: pytest.Pytester) -> None:
    """With an application of its name."""
    pytester.makepyfile(
        my_app="""
        from types import SimpleNamespace

        def answer(question, prompt):
            text = {"2 + 2?": "4", "3 * 3?": "9"}[question]
            cost = 0.002 if prompt == "long" else 0.001
            return SimpleNamespace(text=text, input_tokens=9, output_tokens=1, cost_usd=cost)
        """
    )
    (block,) = (block for block in blocks("README.md") if "from my_app import" in block)
    pytester.makepyfile(test_answer=block)
    text = support.run(pytester, "--crucible-export=csv").stdout.str()
    assert "recorded 12/12 trials (2 cases × 2 conditions × 3 repeats)" in text
    assert re.search(r"INCONCLUSIVE +short +short\.cost\.total < long", text)


def test_the_hooks_of_the_docs_run(pytester: pytest.Pytester) -> None:
    """All of docs/extending.md in one conftest: formats, metrics, columns, lines."""
    parts = [block for block in extending() if "pytest_crucible_exporters" not in block]
    for number, part in enumerate(extending()):
        pytester.makepyfile(**{f"part_{number}": part})
    formats = [f"part_{number}" for number, part in enumerate(extending())
               if "pytest_crucible_exporters" in part]  # fmt: skip
    merged = "\n".join(f"import {name}" for name in formats)
    merged += "\ndef pytest_crucible_exporters():\n    found = {}\n"
    merged += "".join(f"    found.update({n}.pytest_crucible_exporters())\n" for n in formats)
    pytester.makeconftest("\n\n".join([*parts, merged, "    return found\n"]))
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("e", expect=["cost_per_pass < 1", "effort_per_word < 1"])
        @pytest.mark.parametrize("case", range(12))
        def test_it(case, experiment):
            with experiment.span("req_llm.request", model="house-7b", prompt_version="2") as span:
                span.measure(input_tokens=1_000, output_tokens=100)
            experiment.record(effort=case / 100)
        """
    )
    text = support.run(pytester, "--crucible-export=counts,lines").stdout.str()
    assert "problem" not in text
    assert re.search(r"INCONCLUSIVE +default +cost_per_pass < 1", text)
    assert re.search(r"effort_per_word +0\.0055\d* s \[", text)
    assert "e: 0.0034 USD" in text
    (counts,) = pytester.path.rglob("events.counts")
    assert '"req_llm.request.stop": 12' in counts.read_text(encoding="utf-8")
    (lines,) = pytester.path.rglob("events.lines")
    assert '"prompt_version":' in lines.read_text(encoding="utf-8").replace(" ", "")


LIBRARY = """
import time
import pytest_crucible as crucible
from pytest_crucible import telemetry

def run_my_pipeline():
    for number in range(5):
        with telemetry.span("req_llm.request", model="gpt-4o-mini") as span:
            span.measure(input_tokens=100, cost_usd=0.01)

warm_up_something_else = run_my_pipeline
"""


def run_library(pytester: pytest.Pytester, *parts: str) -> str:
    """Run blocks one after the other, in a process of their own."""
    script = pytester.makepyfile(script="\n\n".join([LIBRARY, *parts]))
    result = pytester.runpython(script)
    assert result.ret == 0, result.stderr.str()
    return result.stdout.str()


def test_the_library_of_the_readme_runs(pytester: pytest.Pytester) -> None:
    """It compares two arms and writes a file of both."""
    (block,) = (block for block in blocks("README.md") if "export_multiple" in block)
    printed = run_library(pytester, block)
    assert re.search(r"inconclusive +score.mean +0.8\d* +0.9\d*", printed)
    assert re.search(r"INCONCLUSIVE +long +score.mean > 0.8", printed)
    assert pytester.path.joinpath("both.csv").exists()


def test_the_page_on_agreement_runs(pytester: pytest.Pytester) -> None:
    """Its arrays give what it shows, and its test is an experiment that reaches its verdict."""
    suite, arrays = blocks("docs/agreement.md")
    script = pytester.makepyfile(script=arrays)
    printed = pytester.runpython(script).stdout.str()
    page = (ROOT / "docs/agreement.md").read_text("utf-8")
    shown = [line for line in printed.splitlines() if line.startswith(("Cohen", "Krippendorff"))]
    assert len(shown) == 2
    assert all(line in page for line in shown)
    given = """
        from types import SimpleNamespace
        ANSWERS = [SimpleNamespace(text=str(i), label=i % 2) for i in range(60)]
        grade = lambda text: (int(text) + (text == "7")) % 2
    """
    pytester.makepyfile(test_it=textwrap.dedent(given) + suite)
    result = support.run(pytester)
    assert result.ret == 0
    result.stdout.re_match_lines([r" *CONFIRMED +default +kappa > 0\.6 .*"])


def test_the_library_page_runs(pytester: pytest.Pytester) -> None:
    """Course, recorded runs, queries and streams; and what docs/anomalies.md looks for."""
    pytest.importorskip("pandas")
    course, past, verdicts, by_name, opened, queries, streams = blocks("docs/library.md")
    (outliers,) = (b for b in blocks("docs/anomalies.md") if "open_run" in b)
    options = next(b for b in blocks("docs/exports.md") if "ExportOptions" in b)
    packed = "crucible.archive(exp, 'run.zip')"
    opened, outliers = (b.replace('"crucible-results"', '"run.zip"') for b in (opened, outliers))
    exported = options.replace("experiment,", "exp,")
    nodes = "nodes = [run, run]\nclass Node:\n    def __init__(self, run): self.run = run\n"
    nodes += "    def events(self): return self.run.events\nnodes = [Node(run), Node(run)]"
    queries = queries.replace("print(len(slow), slow[-1].metadata)", "assert len(slow) == 0")
    printed = run_library(pytester, course, queries, exported, packed, opened, outliers, nodes,
                          streams, past, "assert exp.events[0].attribution == 'inserted'",
                          verdicts, by_name)  # fmt: skip
    page = (ROOT / "docs/library.md").read_text("utf-8")
    shown = re.findall(r"^(?:paired t|Mann-Whitney|Fisher's exact) test[^:]*: .*$", printed, re.M)
    assert len(shown) == 3
    assert all(line in page for line in shown)
    assert "IMPROVED" in printed
    assert re.search(r"CONFIRMED +long +score.mean > 0.8", printed)
    assert re.search(r"CONFIRMED +long +long.score.mean > short", printed)
    assert pytester.path.joinpath("events.jsonl.gz").exists()
