"""Merging shards: several runs of one CI matrix become one run folder."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_crucible._errors import ArtifactError, OutputError
from pytest_crucible._frames import SCHEMA, HeaderFrame
from pytest_crucible.artifact.manifest import read_manifest
from pytest_crucible.artifact.run import NODES, is_run
from pytest_crucible.stores.spool import SUFFIX, SpoolReader

_SHARED = (
    "command_line", "git", "python", "implementation", "platform", "machine", "cpu_count",
    "packages", "plugins", "seeds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Spool:
    path: Path
    uid: str
    run: str


def runs_in(path: Path) -> list[Path]:
    """The run folders that a shard argument names: itself, or all runs in it.

    Raises:
        ArtifactError: there is none.
    """
    if not path.is_dir():
        raise ArtifactError(f"{path}: not a run folder (merging needs run folders, not exports)")
    runs = [path] if is_run(path) else sorted(each for each in path.iterdir() if is_run(each))
    if not runs:
        raise ArtifactError(f"{path}: no run in this folder")
    return runs


def merge_shards(shards: Sequence[Path], target: Path) -> dict[str, Any]:
    """Put the spools of all shards into one new run folder, ``target``.

    The result does not depend on the order of the shards, nor on how often one is named. Inputs
    are only read. ``target`` appears at once, complete, in place of an earlier merge.

    Returns:
        What the manifest can say before the events are read; the caller completes and writes it.

    Raises:
        ArtifactError: a shard cannot be read, or is of another schema.
        OutputError: ``target`` exists and is no run, or cannot be made.
    """
    runs = sorted({run.resolve() for shard in shards for run in runs_in(shard)})
    if target.exists() and not is_run(target) and any(target.iterdir()):
        raise OutputError(f"{target}: exists and is no run folder; nothing was written")
    manifests = [read_manifest(run) for run in runs]
    spools = _spools(runs)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        (fresh / NODES).mkdir(parents=True)
        for spool in spools:
            shutil.copyfile(spool.path, fresh / NODES / f"{spool.uid}{SUFFIX}")
        _swap(fresh, target)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    known = [manifest for manifest in manifests if manifest]
    return {
        "run": "merged-" + _digest(spool.uid for spool in spools),
        "merged": sorted({spool.run for spool in spools}),
        **{key: known[0][key] for key in _SHARED if known and _same(known, key)},
    }


def _spools(runs: Sequence[Path]) -> list[_Spool]:
    """The spools of all runs, each process once: the longest copy if there are several."""
    found: dict[str, _Spool] = {}
    for run in runs:
        for path in sorted((run / NODES).glob(f"*{SUFFIX}")):
            header = next((frame for _, frame in SpoolReader(path)), None)
            if not isinstance(header, HeaderFrame):
                raise ArtifactError(f"{path}: does not begin with a header")
            if header.schema != SCHEMA:
                raise ArtifactError(f"{path}: schema {header.schema}, this version reads {SCHEMA}")
            known = found.get(header.uid)
            if known is None or path.stat().st_size > known.path.stat().st_size:
                found[header.uid] = _Spool(path, header.uid, header.run)
    if not found:
        raise ArtifactError(f"{runs[0]}: no recorded events in it")
    return [found[uid] for uid in sorted(found)]


def _digest(uids: Any) -> str:
    return hashlib.sha256(" ".join(uids).encode()).hexdigest()[:12]


def _same(manifests: Sequence[dict[str, Any]], key: str) -> bool:
    return all(key in each and each[key] == manifests[0].get(key) for each in manifests)


def _swap(fresh: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    if target.exists():
        os.replace(target, old)
    os.replace(fresh, target)
    shutil.rmtree(old, ignore_errors=True)
