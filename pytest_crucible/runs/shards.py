"""Merging shards: several runs of one CI matrix become one run folder."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_crucible._errors import ArtifactError, OutputError
from pytest_crucible._layout import NODES, SUFFIX
from pytest_crucible.runs.enriched import enriched_path
from pytest_crucible.runs.late_enrichment import ENRICHERS
from pytest_crucible.runs.manifest import NAME, manifest_notes, read_manifest, write_manifest
from pytest_crucible.runs.overwrite_guard import run_folder_around
from pytest_crucible.runs.run import distinct_spools, is_run

_SHARED = (
    "command_line", "git", "python", "implementation", "platform", "machine", "cpu_count",
    "cpu_model", "usable_cores", "governor", "virtualization", "packages", "plugins", "seeds",
)  # fmt: skip
"""Not the load: that of one shard is not that of the others."""

_LISTED = (
    "python", "implementation", "platform", "machine", "cpu_count", "cpu_model", "usable_cores",
    "governor", "virtualization",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Spool:
    path: Path
    uid: str
    run: str


def runs_in(path: Path) -> list[Path]:
    """Return the run folders that a shard argument names: the folder itself, or all runs in it.

    Raises:
        ArtifactError: ``path`` is no folder, or holds no run.
    """
    if not path.is_dir():
        raise ArtifactError(f"{path}: not a run folder (merging needs run folders, not exports)")
    # Hidden folders are merges that were killed half-way.
    inside = (run for run in path.iterdir() if not run.name.startswith(".") and is_run(run))
    runs = [path] if is_run(path) else sorted(inside)
    if not runs:
        raise ArtifactError(f"{path}: no run in this folder")
    return runs


def merge_shards(
    shards: Sequence[Path], target: Path, describe: Callable[[Path], Mapping[str, Any]]
) -> dict[str, Any]:
    """Copy the spools of all shards into one new run folder.

    The result does not depend on the order of the shards, nor on duplicates. The shards are not
    changed. ``target`` appears only when it is complete, and replaces an earlier merge.

    Args:
        shards: run folders, or folders of runs.
        target: the run folder to make.
        describe: called with the merged folder while that still has a temporary name; returns
            further entries for the manifest.

    Returns:
        The manifest.

    Raises:
        ArtifactError: a shard cannot be read, or has a schema that this version does not read.
        OutputError: ``target`` exists and is no earlier merge, or it cannot be written.
    """
    runs = sorted({run.resolve() for shard in shards for run in runs_in(shard)})
    _check_target(target)
    manifests = [read_manifest(run) for run in runs]
    spools = _spools(runs)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    present = [manifest for manifest in manifests if manifest]
    try:
        (fresh / NODES).mkdir(parents=True)
        for spool in spools:
            copy = fresh / NODES / f"{spool.uid}{SUFFIX}"
            shutil.copyfile(spool.path, copy)
            if enriched_path(spool.path).exists():
                shutil.copyfile(enriched_path(spool.path), enriched_path(copy))
        manifest = {
            "run": "merged-" + _digest(spool.uid for spool in spools),
            "merged": sorted({spool.run for spool in spools}),
            **_shared(present, complete=len(present) == len(runs)),
        }
        # Written first, for `describe` to read: only the shards' manifests have these notes.
        manifest["completeness"] = {"notes": _notes(present)}
        write_manifest(fresh, manifest)
        manifest |= describe(fresh)
        write_manifest(fresh, manifest)
        _swap(fresh, target)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return manifest


def _check_target(target: Path) -> None:
    run = run_folder_around(target)
    if run is not None:
        raise OutputError(f"{target} is in the run folder {str(run)!r}; write it elsewhere")
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{target}: exists and is no folder; nothing was written")
    if any(target.iterdir()) and "merged" not in (read_manifest(target) or {}):
        raise OutputError(f"{target}: exists and is no earlier merge; nothing was written")
    others = sorted(path.name for path in target.iterdir() if path.name not in (NAME, NODES))
    if others:
        raise OutputError(
            f"{target}: holds {others[0]!r}, which no merge made; nothing was written"
        )


def _spools(runs: Sequence[Path]) -> list[_Spool]:
    """Return the spools of all runs, one per process: of several copies, the longest."""
    paths = [path for run in runs for path in sorted((run / NODES).glob(f"*{SUFFIX}"))]
    spools = []
    for path, header in distinct_spools(paths):
        if header is None:
            raise ArtifactError(f"{path}: does not begin with a header")
        spools.append(_Spool(path, header.uid, header.run))
    if not spools:
        raise ArtifactError(f"{runs[0]}: no recorded events in it")
    return sorted(spools, key=lambda spool: spool.uid)


def _shared(manifests: Sequence[Mapping[str, Any]], *, complete: bool) -> dict[str, Any]:
    """Return the entries that all manifests share; versions that differ, as one list.

    The names of enrichers are among them only if every shard has a manifest (``complete``).
    """
    keys = (*_SHARED, ENRICHERS) if complete else _SHARED
    shared = {key: manifests[0][key] for key in keys if manifests and _same(manifests, key)}
    for key in _LISTED:
        values = sorted({str(manifest[key]) for manifest in manifests if manifest.get(key)})
        if len(values) > 1:
            shared[key] = ", ".join(values)
    return shared


def _notes(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({note for manifest in manifests for note in manifest_notes(manifest)})


def _digest(uids: Any) -> str:
    return hashlib.sha256(" ".join(uids).encode()).hexdigest()[:12]


def _same(manifests: Sequence[Mapping[str, Any]], key: str) -> bool:
    first = manifests[0].get(key)
    return all(key in manifest and manifest[key] == first for manifest in manifests)


def _swap(fresh: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(fresh, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
