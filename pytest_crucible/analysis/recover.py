"""Recovery: a manifest for a run whose controller died before it could write one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pytest_crucible._clock import iso_from_us
from pytest_crucible._errors import ArtifactError
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import Results
from pytest_crucible.hooks.installed import installed
from pytest_crucible.runs.enriched import LateEnrichedReader, keep_enriched
from pytest_crucible.runs.late_enrichment import ENRICHERS
from pytest_crucible.runs.manifest import NAME, write_manifest
from pytest_crucible.runs.run import RecordedRun, is_run, open_folder


def unfinished_runs(path: Path) -> list[Path]:
    """The runs without a manifest: ``path`` itself, or those in it.

    Raises:
        ArtifactError: there is no run at all.
    """
    if not path.is_dir():
        raise ArtifactError(f"{path}: no such folder")
    runs = [path] if is_run(path) else sorted(each for each in path.iterdir() if is_run(each))
    if not runs:
        raise ArtifactError(f"{path}: no run in this folder")
    return [run for run in runs if not (run / NAME).exists()]


def recover(folder: Path) -> Results:
    """Write the manifest of one unfinished run from what its nodes recorded.

    Everything comes from the spools, so recovering twice gives the same.

    Raises:
        ArtifactError: a process of the run is still alive, or nothing can be read.
    """
    run = open_folder(folder)
    results = analyse(run)
    alive = _alive(run)
    if alive is not None:
        raise ArtifactError(f"{folder}: still running (process {alive}); wait for its end")
    enriched = [node for node in run.nodes if isinstance(node.enriched, LateEnrichedReader)]
    for node in enriched:  # as at the end of a session: later readers may lack the plugins
        keep_enriched(node)
    names = {ENRICHERS: [name for name, _ in installed().enrichers()]} if enriched else {}
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
            pass  # somebody else's, but alive
        return header.pid
    return None
