"""What a conftest's enricher sets is part of the record, for whoever reads it later."""

from __future__ import annotations

import pytest

from pytest_crucible.cli.main import main
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.report.terminal import render
from pytest_crucible.runs.enriched import SUFFIX
from tests.session import support

SUITE = """
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e", expect=["cost.total <= 1"])
@pytest.mark.parametrize("n", range(4))
def test_a(n):
    telemetry.execute("req_llm.request.stop", {"duration": 2_000_000, "units": n}, {"model": "m"})
"""

ENRICHER = """
def pytest_crucible_enrich(event, enriched):
    enriched.cost_usd = event.measurements["units"] / 4
    enriched.extra["region"] = "eu"
"""


def test_show_tells_what_the_session_told(
    pytester: pytest.Pytester, mode: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Summary, ``crucible show``, ``gate`` and every export agree on the enriched cost."""
    pytester.makeconftest(ENRICHER)
    pytester.makepyfile(SUITE)
    result = support.run(pytester, *mode, f"--crucible-export={','.join(FORMATS)}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    folder = support.newest(pytester).path
    assert folder is not None
    capsys.readouterr()
    for path in (folder, *(folder / f"events.{name}" for name in FORMATS)):
        assert main(["gate", str(path), "--expect", "cost.total <= 1"]) == 1
        out = capsys.readouterr().out
        assert "REJECTED  default  cost.total <= 1  $1.50" in out
    shown = [line.text for line in render(support.results(pytester))]
    assert "  REJECTED  default  cost.total <= 1  $1.50" in shown
    assert set(shown) <= {"", *result.outlines}


def test_an_enricher_that_raises_costs_no_record(pytester: pytest.Pytester) -> None:
    """The session fails and says where; the summary and the record are there without it."""
    pytester.makeconftest("def pytest_crucible_enrich(event, enriched): raise KeyError('x')")
    pytester.makepyfile(SUITE)
    result = support.run(pytester)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "  recorded 4/4 trials · 4 events", "problem: KeyError: 'x' (*conftest.py:1)*",
    ])  # fmt: skip
    assert len(support.only(pytester).trials) == 4
    kept = [path.read_text() for path in pytester.path.rglob(f"*{SUFFIX}")]
    assert not any("region" in text for text in kept)
