"""Recovery: write the manifest of a run whose controller died before it could."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from pytest_crucible._clock import iso_from_us
from pytest_crucible._errors import ArtifactError
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import Results
from pytest_crucible.events.pricing import Price, pricers
from pytest_crucible.hooks.installed import installed
from pytest_crucible.runs.enriched import LateEnrichedReader, keep_enriched
from pytest_crucible.runs.late_enrichment import ENRICHERS
from pytest_crucible.runs.manifest import NAME, write_manifest
from pytest_crucible.runs.run import RecordedRun, is_run, open_folder


def unfinished_runs(path: Path) -> list[Path]:
    """Return the runs without a manifest: ``path`` itself, or those in it.

    Raises:
        ArtifactError: ``path`` is no folder, or holds no run.
    """
    if not path.is_dir():
        raise ArtifactError(f"{path}: no such folder")
    runs = [path] if is_run(path) else sorted(run for run in path.iterdir() if is_run(run))
    if not runs:
        raise ArtifactError(f"{path}: no run in this folder")
    return [run for run in runs if not (run / NAME).exists()]


def recover(folder: Path, prices: Mapping[str, Price] | None = None) -> Results:
    """Write the manifest of one unfinished run from its spools; price its calls as a session does.

    A second call gives the same manifest.

    Args:
        folder: the run folder.
        prices: the user's prices, which the killed session may have had.

    Raises:
        ArtifactError: a process of the run is still alive, or the run cannot be read.
    """
    run = open_folder(folder)
    results = analyse(run, pricing := pricers(prices))
    alive = _alive(run)
    if alive is not None:
        raise ArtifactError(f"{folder}: still running (process {alive}); wait for its end")
    late = any(isinstance(node.enriched, LateEnrichedReader) for node in run.nodes)
    if late or pricing:  # as at the end of a session: later readers may lack the plugins
        for node in run.nodes:
            keep_enriched(node, pricing)
    ran = [*("prices" for _ in pricing), *(name for name, _ in installed().enrichers() if late)]
    names = {ENRICHERS: ran} if ran else {}
    started = min((node.header.wall_ns for node in run.nodes if node.header), default=0)
    manifest = {
        "run": run.id,
        "recovered": True,
        "started": iso_from_us(started // 1000),
        **names,
        **results.to_dict(),
    }
    write_manifest(folder, manifest)
    return results


def _alive(run: RecordedRun) -> int | None:
    here = socket.gethostname()
    for node in run.nodes:
        header = node.header
        if header is None or header.host != here or node.closed:
            continue
        try:
            os.kill(header.pid, 0)
        except ProcessLookupError:
            continue
        except PermissionError:
            pass  # alive, but of another user
        return header.pid
    return None
