"""``crucible merge``: one run of many shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.support import run
from tests.report.support import made, observed


def test_merge_shows_and_writes_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary of all shards is printed, and the new folder is a run with its manifest."""
    shards = [made(tmp_path / f"s{i}", observed(range(i * 9, i * 9 + 9))) for i in range(3)]
    assert run("merge", *shards, "-o", tmp_path / "m") == 0
    out = capsys.readouterr().out
    assert "recorded 27/27 trials" in out
    assert out.endswith(f"\nmerged: 3 runs into {tmp_path / 'm'}\n")
    assert run("show", tmp_path / "m") == 0
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert manifest["experiments"]["exp"]["recorded"] == 27
    assert str(tmp_path) not in json.dumps(manifest)


def test_merge_tells_a_torn_shard_without_its_temporary_place(tmp_path: Path) -> None:
    """The manifest names the file within the run: merging again gives the same bytes."""
    shard = made(tmp_path / "s", observed())
    spool = shard / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-30])
    found = []
    for _ in range(2):
        assert run("merge", shard, "-o", tmp_path / "m") == 0
        found.append((tmp_path / "m" / "manifest.json").read_text())
    assert found[0] == found[1]
    assert '"nodes/s-main.spool: torn at byte ' in found[0]
