"""``crucible metrics``."""

from __future__ import annotations

import json

import pytest

from pytest_crucible.cli.main import main
from pytest_crucible.metrics.catalog import BUILT_IN
from tests.cli.support import failure


def test_metrics_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, in the order of the catalogue."""
    assert main(["metrics"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["metric", "unit", "better", "range", "interval", "compared"]
    assert [line.split()[0] for line in lines] == list(BUILT_IN)


def test_a_pattern_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, too; and as Markdown."""
    assert main(["metrics", "latency.p9*", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["metric"] for each in found] == ["latency.p90", "latency.p95", "latency.p99"]
    assert found[1]["unit"] == "ms"
    assert main(["metrics", "latency.p95", "--markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("|--")


def test_what_matches_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With what there is."""
    line = failure(capsys, "metrics", "latencies*")
    assert line.startswith("metrics: none matches 'latencies*'; they begin with success_rate, ")
