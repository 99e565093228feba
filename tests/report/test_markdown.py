"""Markdown in a pull request: what matters first, and nothing that breaks out of its cell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from pytest_crucible.report.markdown import compare_markdown, escape, results_markdown
from pytest_crucible.runs.experiment_definition import define
from tests.report.support import compared, made, observed

HOSTILE = "a|b <script>x</script> @octocat `c` #1 [d](e) *f*"


def cells(row: str) -> list[str]:
    """The cells of a table's row, as Markdown splits it."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def check_tables(markdown: str) -> int:
    """Every row has as many cells as its header; the number of rows."""
    width = count = 0
    for line in markdown.splitlines():
        if line.startswith("|"):
            width = width or len(cells(line))
            assert len(cells(line)) == width, line
            count += 1
        else:
            width = 0
    return count


def test_regressions_come_first_and_the_rest_is_folded(tmp_path: Path) -> None:
    """The heading is the verdict, then the regressions in the open; all else in one fold."""
    base = made(tmp_path / "a", observed(range(100)))
    cand = made(tmp_path / "b", observed(range(100), slower=2))
    found = compare_markdown(compared(base, cand))
    seen, _, folded = found.partition("<details><summary>5 other metrics</summary>")
    assert seen.startswith("### 🔴 REGRESSED: 1 regressed, 2 equivalent\n\nb against a\n")
    assert re.findall(r"🔴 REGRESSED \| exp \| (\S+) \|", seen) == ["latency"]
    assert "EQUIVALENT |" not in seen
    assert folded.count("🟢 EQUIVALENT") == 2
    assert re.findall(r"\| (\w+), shown only \| exp \| (\S+) \|", folded) == [
        ("inconclusive", "score.mean"), ("inconclusive", "latency.p95"), ("inconclusive", "tokens"),
    ]  # fmt: skip
    assert re.search(r"</details>\n\nmargin 5 pp \(success\\_rate\), 5 % ", folded)
    assert check_tables(found) == 2 + 1 + 2 + 5


def test_regressions_come_before_removals(tmp_path: Path) -> None:
    """The worst is at the top, whichever experiment was defined first."""
    first, second = (list(observed(range(40), experiment=name)) for name in ("a", "b"))
    base = made(tmp_path / "a", [*first, *second])
    cand = made(
        tmp_path / "b",
        [*observed(experiment="a", score=None), *observed(experiment="b", slower=2)],
        define("a", primary=["score"]),
    )
    found = compare_markdown(compared(base, cand))
    assert 0 < found.index("🔴 REGRESSED | b | latency") < found.index("🟠 REMOVED | a | score")


def test_what_may_be_worse_is_in_the_open(tmp_path: Path) -> None:
    """Of what is folded the rows that decide come first, of all experiments."""
    sides = []
    for name, slower, noise in (("a", 1.0, 1), ("b", 1.06, 2)):
        arms = [
            observed(range(60), experiment=each, slower=slower, noise=noise) for each in ("x", "y")
        ]
        sides.append(made(tmp_path / name, [event for arm in arms for event in arm]))
    found = compare_markdown(compared(*sides))
    seen, _, folded = found.partition("<details><summary>10 other metrics</summary>")
    assert re.findall(r"🟡 INCONCLUSIVE \| (\w) \| (\S+) \|", seen) == [
        ("x", "latency"), ("y", "latency"),
    ]  # fmt: skip
    assert seen.count("worse, maybe within your margin of 5 %") == 2
    flags = ["shown only" in line for line in folded.splitlines() if line.startswith("| ")][1:]
    assert flags == sorted(flags)
    assert flags.count(True) == 6
    assert "| pairs that differ 0 |" in folded
    assert "</details>\n\n" in folded


def test_nothing_changed_is_one_heading_and_a_fold(tmp_path: Path) -> None:
    """A pull request that changes nothing is not shouted at."""
    run = made(tmp_path / "a", observed(range(200)))
    found = compare_markdown(compared(run, run))
    seen = found.partition("<details>")[0]
    assert seen.startswith("### 🟢 EQUIVALENT: 3 equivalent\n\na against itself\n")
    assert "<summary>6 metrics</summary>" in found
    assert "|" not in seen


def test_cases_and_experiments_that_went_and_came(tmp_path: Path) -> None:
    """They are listed above the tables, where they cannot be missed."""
    base = made(tmp_path / "a", [*observed(range(40)), *observed(experiment="old")])
    cand = made(tmp_path / "b", [*observed(range(1, 41)), *observed(experiment="new")])
    seen = compare_markdown(compared(base, cand)).partition("<details>")[0]
    assert "- 🟠 **REMOVED** in exp: 1 case: tests/t.py::test\\_it\\[0\\] (success" in seen
    assert "- 🔵 **ADDED** in exp: 1 case: tests/t.py::test\\_it\\[40\\] (success" in seen
    assert "- 🟠 **REMOVED** old: only in the baseline\n" in seen
    assert "- 🔵 **ADDED** new: only in the candidate\n" in seen


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", "a\\|b"), ("<script>", "&lt;script&gt;"), ("a & b", "a &amp; b"),
        ("@octocat", "@\u200boctocat"), ("#12", "#\u200b12"), ("`x`", "\\`x\\`"),
        ("a\nb\r\nc\u2028d", "a b c d"), ("[x](y)", "\\[x\\](y)"), ("*_~", "\\*\\_\\~"),
        ("\\|", "\\\\\\|"),
    ],
)  # fmt: skip
def test_nothing_means_anything(text: str, escaped: str) -> None:
    """No character of a name is Markdown, HTML, a mention, a reference, or a new line."""
    assert escape(text) == escaped


def test_hostile_names_stay_in_their_cells(tmp_path: Path) -> None:
    """Names of experiments, cases and metrics, and run ids, cannot add markup or notify anybody."""
    base = made(tmp_path / "a", observed([1, HOSTILE], experiment=HOSTILE, score=HOSTILE))
    cand = made(tmp_path / HOSTILE.replace("/", "-"), observed([1], experiment=HOSTILE, score="s"))
    found = compare_markdown(compared(base, cand))
    found += results_markdown(analyse(open_run(base)))
    assert check_tables(found) > 6
    assert "<script" not in found
    assert not re.search(r"@\w", found)
    assert not re.search(r"#\d", found)
    assert not re.search(r"(?<!\\)`", found)


def test_a_run_shows_what_is_not_met_first(tmp_path: Path) -> None:
    """Verdict and claim, how complete, expectations with the unmet on top, metrics folded."""
    expect = ["success_rate > 0.5", "latency.p50 < 1"]
    definition = define("exp", hypothesis="it works", expect=expect)
    found = results_markdown(analyse(open_run(made(tmp_path / "a", observed(), definition))))
    assert found.startswith("### 🔴 REJECTED exp: it works\n\nrecorded 40/40 trials")
    assert found.index("🔴 REJECTED | default | latency") < found.index("🟢 CONFIRMED | default")
    table = found.partition("<details><summary>metrics, with 95 % intervals</summary>")[2]
    assert cells(table.split("\n")[2]) == ["metric", "default"]
    assert "| latency.p50 | " in table
    check_tables(found)


def test_claims_that_decide_nothing_stand_last(tmp_path: Path) -> None:
    """In small letters, without a mark."""
    definition = define("exp", expect=["latency.p50 < 1", "success_rate > 0.5"])
    run = open_run(made(tmp_path / "a", observed(), definition))
    found = results_markdown(analyse(run, only=["success_rate"]))
    assert found.startswith("### 🟢 CONFIRMED exp\n")
    assert found.index("🟢 CONFIRMED | default") < found.index("| rejected | default | latency")


def test_a_run_without_expectations_has_no_verdict(tmp_path: Path) -> None:
    """Nothing was claimed, so nothing is judged; what is missing is still told."""
    folder = made(tmp_path / "a", observed())
    spool = folder / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-20])
    found = results_markdown(analyse(open_run(folder)))
    assert found.startswith("### ⚪ exp\n")
    assert "- ⚠️ incomplete: main: did not end in good order" in found
