"""What is printed when the session is over, and when nothing is."""

from __future__ import annotations

import pytest

from tests.session import support

SUITE = """
import pytest

@pytest.mark.experiment(
    "ensemble_vs_single",
    hypothesis="the ensemble is more reliable",
    conditions=("control", "treatment"),
    trials=2,
    expect=["tests.passed >= 4", "treatment.tests.failed {bound}"],
)
@pytest.mark.parametrize("n", [1, 2])
def test_a(n, experiment):
    usage = {{"cost": 0.01, "input_tokens": 10, "output_tokens": 5}}
    with experiment.span("req_llm.request", model="m") as span:
        span.measure(**usage)
    experiment.record(score=n / 2)
"""


def test_the_whole_table(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Verdict, hypothesis, completeness, conditions side by side, expectations, where it went."""
    pytester.makepyfile(SUITE.format(bound="<= 0"))
    result = support.run(pytester, *mode)
    assert result.ret == 0
    folder = support.newest(pytester).path
    assert folder is not None
    result.stdout.fnmatch_lines([
        "*= experiments =*",
        "CONFIRMED  ensemble_vs_single: the ensemble is more reliable",
        "  recorded 8/8 trials (2 cases × 2 conditions × 2 repeats) · 16 events",
        "  * control *treatment*",
        "  success_rate *100.0 %*100.0 %*",
        "  score.mean *0.75*0.75*",
        "  latency.p50 * µs*",
        "  cost.total *$0.04*$0.04*",
        "  tokens.total *60*60*",
        "  CONFIRMED *control *tests.passed >= 4*",
        "  CONFIRMED *treatment *tests.passed >= 4*",
        "  CONFIRMED *treatment *treatment.tests.failed <= 0*",
        f"run: {support.OUTPUT}/{folder.name}",
        "*8 passed*",
    ])  # fmt: skip


def test_a_hypothesis_that_is_rejected(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """One unmet expectation rejects the experiment, though the others hold, and all are shown."""
    pytester.makepyfile(SUITE.format(bound="> 0"))
    result = support.run(pytester, *mode)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "REJECTED  ensemble_vs_single: the ensemble is more reliable",
        "  CONFIRMED *control *tests.passed >= 4*",
        "  CONFIRMED *treatment *tests.passed >= 4*",
        "  REJECTED *treatment *treatment.tests.failed > 0*",
        "FAILED experiment ensemble_vs_single (treatment) - REJECTED: treatment.tests*",
    ])  # fmt: skip


def test_no_expectation_no_verdict(pytester: pytest.Pytester) -> None:
    """Without expectations nothing is judged: the title is name and hypothesis alone."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", hypothesis="it works")
        def test_a():
            pass

        @pytest.mark.experiment("f")
        def test_b():
            pass
    """)
    result = support.run(pytester)
    result.stdout.fnmatch_lines(["e: it works", "  recorded 1/1 trials*", "f", "  recorded 1/1*"])
    assert not [word for word in ("CONFIRMED", "REJECTED") if word in result.stdout.str()]


def test_colour(pytester: pytest.Pytester) -> None:
    """Verdicts are coloured where the terminal has colour, and plain text elsewhere."""
    pytester.makepyfile(SUITE.format(bound="> 0"))
    coloured = support.run(pytester, "--color=yes").stdout.str()
    assert "\x1b[31mREJECTED  ensemble_vs_single" in coloured
    assert "\x1b[32m  CONFIRMED" in coloured
    assert "\x1b" not in support.run(pytester, "--color=no").stdout.str()


def test_one_q_still_prints(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """``-q`` keeps the table: it is what one runs an experiment for."""
    pytester.makepyfile(SUITE.format(bound="<= 0"))
    support.run(pytester, *mode, "-q").stdout.fnmatch_lines(["CONFIRMED  ensemble_vs_single*"])


@pytest.mark.parametrize("quiet", [("-q", "-q"), ("-qq",), ("-qqq",)])
@pytest.mark.parametrize(("bound", "status"), [("<= 0", 0), ("> 0", 1)])
def test_two_q_print_nothing_of_ours(
    pytester: pytest.Pytester, quiet: tuple[str, ...], bound: str, status: int
) -> None:
    """``-q -q`` asks for silence: no table; the run is recorded and the exit status still tells."""
    pytester.makepyfile(SUITE.format(bound=bound))
    result = support.run(pytester, *quiet)
    assert result.ret == status
    for word in ("experiment", "CONFIRMED", "REJECTED", "recorded", "run:"):
        assert word not in result.stdout.str()
    assert len(support.only(pytester).trials) == 8


def test_without_a_terminal_reporter(pytester: pytest.Pytester) -> None:
    """With the terminal plugin switched off the run is recorded and judged all the same."""
    pytester.makepyfile(SUITE.format(bound="> 0"))
    result = pytester.runpytest_inprocess(*support.ARGUMENTS, "-p", "no:terminal")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert support.only(pytester).verdict == "REJECTED"


def test_collecting_records_nothing(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """``--collect-only`` lists the items and leaves neither folder nor summary."""
    pytester.makepyfile(SUITE.format(bound="<= 0"))
    result = support.run(pytester, *mode, "--collect-only", "--crucible-export=csv")
    assert result.ret == 0
    assert "= experiments =" not in result.stdout.str()
    assert not pytester.path.joinpath(support.OUTPUT).exists()


@pytest.mark.parametrize("select", [("-k", "plain"), ("-m", "not experiment")])
def test_deselected_experiments_leave_nothing(
    pytester: pytest.Pytester, mode: tuple[str, ...], select: tuple[str, ...]
) -> None:
    """If no experiment was selected, none is recorded and none is printed."""
    pytester.makepyfile(SUITE.format(bound="<= 0") + "\ndef test_plain(): pass\n")
    result = support.run(pytester, *mode, *select)
    result.assert_outcomes(passed=1, deselected=0 if "-n2" in mode else 8)
    assert "= experiments =" not in result.stdout.str()
    assert not pytester.path.joinpath(support.OUTPUT).exists()


def test_the_path_is_shown_from_where_the_user_stands(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of the run can be pasted into the next command."""
    pytester.makepyfile(SUITE.format(bound="<= 0"))
    pytester.makeini("[pytest]")
    below = pytester.mkdir("below")
    monkeypatch.chdir(below)
    result = support.run(pytester, "..")
    (line,) = [line for line in result.outlines if line.startswith("run: ")]
    assert below.joinpath(line.removeprefix("run: "), "manifest.json").is_file()


def test_what_could_not_be_encoded_is_counted(pytester: pytest.Pytester) -> None:
    """Values that had to be kept as text never fail a test, and the summary says how many."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e")
        def test_a():
            telemetry.execute("x", {"n": 2**70}, {"what": object()})
    """)
    result = support.run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["2 values could not be encoded and kept as text"])


def test_a_detached_handler_marks_the_run_incomplete(pytester: pytest.Pytester) -> None:
    """A handler that raised was detached: the run says that it is incomplete, and why."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        def broken(name, measurements, metadata, config):
            raise ValueError("boom")

        @pytest.mark.experiment("e")
        def test_a():
            telemetry.attach("mine", "x", broken)
            telemetry.execute("x")
            telemetry.execute("x")
    """)
    result = support.run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["incomplete: main: handler 'mine' was detached after it raised*"])
    manifest = support.newest(pytester).manifest
    assert manifest is not None
    assert manifest["completeness"]["complete"] is False
