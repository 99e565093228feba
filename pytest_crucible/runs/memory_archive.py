"""Archives of experiments in memory: written as a run folder first, then packed."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_crucible import _clock
from pytest_crucible._layout import NODES, SUFFIX
from pytest_crucible.capture.frames import SCHEMA, Frame, HeaderFrame, encode
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.runs.archive import pack
from pytest_crucible.runs.manifest import write_manifest
from pytest_crucible.runs.run import BY_INDEX, run_files

NODE = "main"


def archive_frames(
    path: Path,
    run: str,
    frames: Iterable[tuple[int, Frame]],
    experiments: Mapping[str, Mapping[str, Any]],
) -> Path:
    """Write the frames of a run in memory into an archive.

    Args:
        path: the archive; its folder must exist.
        run: id of the run.
        frames: all frames, with their positions.
        experiments: by name, the ``definition`` and further entries for the manifest.

    Returns:
        ``path``.

    Raises:
        OSError: the archive cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="crucible-") as temporary:
        folder = Path(temporary)
        (folder / NODES).mkdir()
        spool = SpoolStore(folder / NODES / f"{NODE}{SUFFIX}", _header(run))
        for _, frame in frames:
            spool.append(encode(frame))
        spool.close()
        write_manifest(
            folder, {"run": run, "positions": BY_INDEX, "experiments": dict(experiments)}
        )
        return pack(folder, run_files(folder), path)


def _header(run: str) -> HeaderFrame:
    return HeaderFrame(
        schema=SCHEMA,
        run=run,
        node=NODE,
        uid=secrets.token_hex(8),
        pid=os.getpid(),
        host=socket.gethostname(),
        wall_ns=_clock.wall_ns(),
        monotonic_ns=_clock.monotonic_ns(),
    )
