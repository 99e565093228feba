"""Installed and unused, the plugin cannot be noticed. In subprocesses, as users run it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.session import support

HEAVY = ("numpy", "scipy", "msgspec", "opentelemetry", "tabulate", "pyarrow", "jsonlines")

SUITE = f"""
import os
import sys
import warnings
import pytest

def test_passed():
    pass

def test_failed():
    assert [1, 2] == [1, 3]

def test_skipped():
    pytest.skip("why")

@pytest.mark.xfail
def test_xfailed():
    assert 0

@pytest.fixture
def broken():
    raise ValueError("broken")

def test_error(broken):
    pass

def test_warned():
    warnings.warn("careful")

@pytest.mark.parametrize("n", [1, 2])
def test_parametrized(n):
    print("printed", n)

def test_nothing_heavy():
    assert not [name for name in {HEAVY!r} if name in sys.modules]
"""

CONFTEST = f"""
import sys

def pytest_unconfigure(config):
    print("heavy:", [name for name in {HEAVY!r} if name in sys.modules])
"""


def files(folder: Path) -> set[str]:
    """Everything below ``folder`` but what pytester itself puts there."""
    everything = {path.relative_to(folder) for path in folder.rglob("*")}
    return {
        str(path)
        for path in everything
        if not path.parts[0].startswith(("runpytest-", "stdout", "stderr"))
    }


def shown(result: pytest.RunResult) -> list[str]:
    """The output without what differs from run to run, and without the list of plugins."""
    text = re.sub(r"(?m)^plugins: .*\n?", "", result.stdout.str())
    text = re.sub(r"\bin \d+\.\d+s\b", "in a while", text)
    text = re.sub(r"\[gw\d+\]", "[gw]", text)  # which worker takes the file first is luck
    text = re.sub(r"\d+\.\d+s (call|setup|teardown)", r"some \1", text)
    return re.sub(r"=+", "=", text).splitlines()


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for name in [name for name in os.environ if name.startswith(("COV", "COVERAGE"))]:
        monkeypatch.delenv(name)
    pytester.makepyfile(SUITE)
    pytester.makeconftest(CONFTEST)
    return pytester


@pytest.mark.parametrize(
    "arguments",
    [
        "-v",
        "-q",
        "-v -n2 --dist=loadfile",
    ],
)
def test_unmarked_tests_run_as_without_it(suite: pytest.Pytester, arguments: str) -> None:
    """Same output, same exit status, no file, and nothing heavy imported, also on workers."""
    before = files(suite.path)
    options = (*support.ARGUMENTS, *arguments.split())
    with_it = suite.runpytest_subprocess(*options)
    assert files(suite.path) == before
    without = suite.runpytest_subprocess(*options, "-p", "no:crucible")
    assert with_it.ret == without.ret == pytest.ExitCode.TESTS_FAILED
    assert shown(with_it) == shown(without)
    with_it.assert_outcomes(passed=5, failed=1, skipped=1, xfailed=1, errors=1, warnings=1)
    with_it.stdout.fnmatch_lines(["heavy: []"])
    assert with_it.errlines == without.errlines


def test_options_alone_wake_nothing(suite: pytest.Pytester) -> None:
    """An export asked for in a suite without experiments makes no folder and imports nothing."""
    before = files(suite.path)
    options = (*support.ARGUMENTS, "--crucible-export=csv,parquet", "--crucible-output=here")
    suite.runpytest_subprocess(*options).stdout.fnmatch_lines(["heavy: []"])
    assert files(suite.path) == before


def test_it_can_be_switched_off(pytester: pytest.Pytester) -> None:
    """``-p no:crucible`` switches it off: marked tests are plain tests, nothing is recorded."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.filterwarnings("ignore")
        @pytest.mark.experiment("e", conditions=("a", "b"))
        def test_a():
            pass
    """)
    result = support.run(
        pytester, "-p", "no:crucible", "-W", "ignore::pytest.PytestUnknownMarkWarning"
    )
    result.assert_outcomes(passed=1)
    assert not pytester.path.joinpath(support.OUTPUT).exists()


def test_without_tests_nothing_is_imported(suite: pytest.Pytester) -> None:
    """A session without tests is as inert as one without experiments."""
    before = files(suite.path)
    result = suite.runpytest_subprocess(*support.ARGUMENTS, "-k", "nothing_like_this")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["heavy: []"])
    assert files(suite.path) == before


def test_recording_reads_nothing(suite: pytest.Pytester) -> None:
    """For a test that only records nothing is imported that reads, traces or is rewritten."""
    suite.makepyfile(
        test_marked="""
        import sys
        import pytest

        @pytest.mark.experiment("e")
        def test_it():
            reading = ("numpy", "pytest_crucible.queries.events", "pytest_crucible.metrics.summary")
            assert not [name for name in (*reading, "opentelemetry.trace") if name in sys.modules]
            from pytest_crucible.experiments import handle
            assert not type(handle.__loader__).__module__.startswith("_pytest")
        """
    )
    result = suite.runpytest_subprocess(*support.ARGUMENTS, "test_marked.py")
    result.assert_outcomes(passed=1)


def test_reading_is_imported_before_it_is_measured(suite: pytest.Pytester) -> None:
    """Where tests ask for the experiment, what reads it is there before the first begins."""
    suite.makepyfile(
        test_marked="""
        import sys
        import pytest

        @pytest.mark.experiment("e")
        def test_it(experiment):
            before = set(sys.modules)
            assert len(experiment.events) == 0
            experiment.metrics()
            experiment.logged("loss")
            new = set(sys.modules) - before
            assert not [name for name in new if name.startswith(("pytest_crucible", "numpy"))]
        """
    )
    result = suite.runpytest_subprocess(*support.ARGUMENTS, "test_marked.py")
    result.assert_outcomes(passed=1)
