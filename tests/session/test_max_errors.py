"""Trials that broke, and trials that did not run: the same word from the session to the gate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_crucible.cli.main import main
from tests.session import support

BROKEN = """
import pytest

def call(n):
    if n < {broken}:
        raise ConnectionError("the answer")

@pytest.mark.experiment("net", expect=["tests.trials < 100"]{more})
@pytest.mark.parametrize("n", range({trials}))
def test_net(n):
    call(n)
"""
LINE = "ConnectionError at test_it.py:5"


def broken(pytester: pytest.Pytester, broken: int = 5, trials: int = 5, more: str = "") -> None:
    pytester.makepyfile(test_it=BROKEN.format(broken=broken, trials=trials, more=more))


def test_a_broken_harness_confirms_nothing(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """A claim may hold, and still nothing was measured: the head and the exit status agree."""
    broken(pytester)
    result = support.run(pytester, *mode)
    assert result.ret == 1
    result.stdout.fnmatch_lines([
        "ERRORED  net",
        "  recorded 5/5 trials",
        f"  ERRORED *max_errors 5%*5 of 5 trials errored: 5 × {LINE}",
        "  CONFIRMED *tests.trials < 100*",
        f"    5 × {LINE}",
        "FAILED experiment net (default) - ERRORED: 5 of 5 *",
        "*1 failed, 5 recorded as failed*",
    ])  # fmt: skip
    assert "CONFIRMED  net" not in result.stdout.str()
    tests = support.only(pytester).metrics[support.DEFAULT].tests
    assert (tests.errored, tests.failed, tests.pass_rate) == (5, 0, 0.0)


def test_every_report_says_the_same(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gate, show, Markdown, JSON, JUnit and annotations."""
    broken(pytester)
    support.run(pytester)
    run = str(support.newest(pytester).path)
    capsys.readouterr()
    files = {name: pytester.path / f"out.{name}" for name in ("markdown", "json", "junit")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert main(["gate", run, "--github", *options]) == 1
    out = capsys.readouterr().out
    assert "ERRORED  net\n" in out
    assert "::error file=test_it.py,line=7,title=ERRORED%3A net::max_errors 5%25 (default): " in out
    assert "### 🔴 ERRORED net" in files["markdown"].read_text()
    data = json.loads(files["json"].read_text())["experiments"]["net"]
    assert (data["verdict"], data["verdicts"][0]["verdict"]) == ("ERRORED", "ERRORED")
    assert 'failure message="ERRORED: ' in files["junit"].read_text()
    assert main(["show", run]) == 0
    assert capsys.readouterr().out.startswith("ERRORED  net\n")
    assert main(["gate", run, "--expect", "tests.trials < 100"]) == 1


@pytest.mark.parametrize(
    ("more", "options", "ini", "status"),
    [
        ("", (), "", 1),
        (", max_errors=0.2", (), "", 0),
        (", max_errors='20%'", (), "", 0),
        (", max_errors='19%'", (), "", 1),
        ("", ("--crucible-max-errors=20%",), "", 0),
        ("", ("--crucible-max-errors=0.2",), "", 0),
        ("", (), "20 %", 0),
        ("", ("--crucible-max-errors=1%",), "20%", 1),
        (", max_errors=0.2", ("--crucible-max-errors=0",), "", 0),
        (", max_errors=0", ("--crucible-max-errors=100%",), "", 1),
    ],
)
def test_how_many_may_break(
    pytester: pytest.Pytester, more: str, options: tuple[str, ...], ini: str, status: int
) -> None:
    """The marker before the option, the option before the ini value, and 5 % by default; the gate
    takes what the session took."""
    broken(pytester, 2, 10, more)
    pytester.makeini(f"[pytest]\ncrucible_max_errors = {ini}\n")
    assert support.run(pytester, *options).ret == status
    assert main(["gate", str(support.newest(pytester).path)]) == status


@pytest.mark.parametrize("value", ["5", "-1", "much", "101%", "nan"])
def test_what_is_no_share_is_refused(pytester: pytest.Pytester, value: str) -> None:
    """In one line that says what would be valid; five is most likely a percentage."""
    broken(pytester)
    expected = f"must be a share between 0 and 1, such as 0.05 or '5%', not {value!r}"
    line = support.refused(support.run(pytester, f"--crucible-max-errors={value}"))
    assert line.startswith(f"--crucible-max-errors {expected}")
    assert ("; 5 percent are '5%'" in line) == (value == "5")
    broken(pytester, more=f", max_errors={value!r}")
    line = support.refused(support.run(pytester))
    assert f"@pytest.mark.experiment: max_errors {expected}" in line


def test_the_stricter_of_two_markers_counts(pytester: pytest.Pytester) -> None:
    """Two tests of one experiment may both say it."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", max_errors=0.9)
        def test_a():
            pass

        @pytest.mark.experiment("e", max_errors=0.1)
        def test_b():
            pass

        @pytest.mark.experiment("e")
        def test_c():
            pass
    """)
    support.run(pytester)
    assert support.only(pytester).definition.max_errors == 0.1


def test_errors_without_expectations_are_told_too(pytester: pytest.Pytester) -> None:
    """The session fails anyway; the experiment says why."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e")
        def test_a():
            {}["the answer"]
    """)
    result = support.run(pytester)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERRORED  e", "*1 of 1 trial errored: 1 × KeyError at *"])


# --- nothing ran -------------------------------------------------------------------------------

SKIPPED = """
import pytest

@pytest.mark.experiment("e", expect=["success_rate > 90%", "cost.total < 1"]{more})
@pytest.mark.parametrize("n", range(3))
{mark}
def test_a(n):
    {body}
"""


def skipped(pytester: pytest.Pytester, mark: str = "", body: str = "pass", more: str = "") -> None:
    pytester.makepyfile(SKIPPED.format(mark=mark, body=body, more=more))


@pytest.mark.parametrize(
    ("mark", "body"),
    [
        ("@pytest.mark.skip", "pass"),
        ("@pytest.mark.skipif(True, reason='no key')", "pass"),
        ("", "pytest.skip('no key')"),
        ("", "pytest.importorskip('no_such_module')"),
        ("@pytest.mark.xfail(run=False)", "assert 0"),
    ],
)
def test_what_did_not_run_is_not_run(
    pytester: pytest.Pytester,
    mode: tuple[str, ...],
    mark: str,
    body: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither confirmed nor rejected, and green: nobody has a key everywhere."""
    skipped(pytester, mark, body)
    result = support.run(pytester, *mode)
    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "NOT RUN  e",
        "  recorded 0/3 trials · 3 skipped",
        "  NOT RUN  default  success_rate > 90%  3 trials skipped",
    ])  # fmt: skip
    run = str(support.newest(pytester).path)
    capsys.readouterr()
    assert main(["gate", run]) == 0
    assert "NOT RUN  e\n" in capsys.readouterr().out
    assert main(["gate", run, "--expect", "success_rate > 90%"]) == 0


@pytest.mark.parametrize("expect", [True, False])
def test_who_asks_has_it_fail(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str], expect: bool
) -> None:
    """``--crucible-fail-on missing`` and ``gate --fail-on missing`` want it to run."""
    source = SKIPPED.format(mark="@pytest.mark.skip", body="pass", more="")
    if not expect:
        source = source.replace('expect=["success_rate > 90%", "cost.total < 1"]', "")
    pytester.makepyfile(source)
    result = support.run(pytester, "--crucible-fail-on=missing")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED experiment e - NOT RUN"])
    run = str(support.newest(pytester).path)
    capsys.readouterr()
    report = pytester.path / "out.xml"
    assert main(["gate", run, "--fail-on", "missing", "--junit", str(report)]) == 1
    assert capsys.readouterr().err == "crucible: not passed: NOT RUN: e\n"
    assert report.read_text().count("<failure") == (2 if expect else 0)
    assert main(["gate", run]) == (0 if expect else 3)


def test_reports_mark_it_as_skipped(pytester: pytest.Pytester) -> None:
    """JUnit has a word for it; Markdown shows neither green nor red."""
    skipped(pytester, "@pytest.mark.skip")
    support.run(pytester)
    files = {name: pytester.path / f"out.{name}" for name in ("markdown", "junit")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    main(["gate", str(support.newest(pytester).path), *options])
    assert "### ⚪ NOT RUN e" in files["markdown"].read_text()
    assert files["junit"].read_text().count('<skipped message="NOT RUN: 3 trials skipped') == 2


def test_one_trial_that_ran_is_judged(pytester: pytest.Pytester) -> None:
    """Skipped ones do not count, and do not excuse it."""
    skipped(pytester, body="n or pytest.skip('x')\n    assert 0")
    result = support.run(pytester)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["REJECTED  e", "  recorded 2/3 trials · 1 skipped"])


def test_a_session_that_broke_off_stays_red(pytester: pytest.Pytester) -> None:
    """Missing trials were meant to run: the record is incomplete, whatever the word."""
    pytester.makepyfile(test_0="def test_first():\n    assert 0\n")
    pytester.makepyfile(test_1=SKIPPED.format(mark="", body="pass", more=""))
    result = support.run(pytester, "-x", "-p", "no:randomly")
    assert result.ret == 1
    result.stdout.fnmatch_lines([
        "NOT RUN  e", "  recorded 0/3 trials · 3 missing", "incomplete: 3 trials never ran: *",
    ])  # fmt: skip
    assert main(["gate", str(support.newest(pytester).path)]) == 1


# --- numbers of a few trials -------------------------------------------------------------------


def test_numbers_of_a_few_trials_say_so(
    pytester: pytest.Pytester, mode: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the table, in what reads it later, and not where every trial recorded the number."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("judge")
        @pytest.mark.parametrize("k", range(10))
        def test_p(k, experiment):
            experiment.record(full=k / 10)
            if k < 2:
                experiment.record(faithfulness=0.9 + k / 20)
    """)
    result = support.run(pytester, *mode)
    result.stdout.fnmatch_lines([
        "  faithfulness.mean *0.925 [[]*[]] (2 of 10 trials)", "  full.mean *[]]",
    ])  # fmt: skip
    folder = support.newest(pytester).path
    assert isinstance(folder, Path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["experiments"]["judge"]["coverage"] == {"default": {"faithfulness": [2, 10]}}
    capsys.readouterr()
    main(["show", str(folder)])
    assert "(2 of 10 trials)" in capsys.readouterr().out
    main(["gate", str(folder), "--markdown"])
    out = capsys.readouterr().out
    assert "(2 of 10 trials)" in out
    assert out.count("of 10 trials)") == 1
