"""Archives: a whole run in one file, to keep it, send it and read it elsewhere.

A ZIP file with the run's manifest, the record of each node byte by byte, and a list of their
SHA-256 sums. The same run always gives the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import struct
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pytest_crucible._errors import ArtifactError
from pytest_crucible._files import replacing_path
from pytest_crucible.exports.formats import ARCHIVE

SUFFIX = ARCHIVE
SUMS = "crucible-archive.json"
VERSION = 1
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of ZIP; the real one would change the bytes
_BLOCK = 1 << 20
# Measured: what zipfile raises for archives with one wrong byte; RuntimeError for "encrypted".
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError, RuntimeError,
)  # fmt: skip


class Unpacked:
    """A temporary folder that exists for as long as this object does."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="crucible-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def pack(folder: Path, files: Sequence[Path], path: Path) -> Path:
    """Write files of a run folder into one archive.

    Args:
        folder: the run folder; names in the archive are relative to it.
        files: the files to pack, all of them in the folder.
        path: the archive; written completely or not at all, also over an earlier one.

    Returns:
        ``path``.

    Raises:
        OSError: a file cannot be read, or the archive cannot be written.
    """
    sums: dict[str, str] = {}
    with replacing_path(path) as fresh, zipfile.ZipFile(fresh, "w") as archive:
        for file in sorted(files):
            name = file.relative_to(folder).as_posix()
            digest = hashlib.sha256()
            with open(file, "rb") as source, archive.open(_entry(name), "w") as target:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    target.write(block)
            sums[name] = digest.hexdigest()
        listed = {"crucible_archive": VERSION, "sha256": sums}
        archive.writestr(_entry(SUMS), json.dumps(listed, indent=2) + "\n")
    return path


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def unpack(path: Path) -> Unpacked:
    """Unpack an archive into a temporary run folder, checking every file against its sum.

    Raises:
        ArtifactError: the file is no archive, is torn, or holds other bytes than were packed.
        OSError: the archive cannot be read, or the folder cannot be written.
    """
    unpacked = Unpacked()
    try:
        with zipfile.ZipFile(path) as archive:
            sums = _sums(archive, path)
            for name, expected in sums.items():
                if _extract(archive, name, unpacked.folder / name) != expected:
                    raise ArtifactError(f"{path}: {name} is not what was archived (SHA-256)")
    except ArtifactError:
        raise
    except (*_DAMAGED, OSError) as error:
        # EINVAL: the archive names an offset before the beginning of the file.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ArtifactError(f"{path}: torn, or no ZIP file: {error}") from error
    return unpacked


def _sums(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    try:
        listed = json.loads(archive.read(SUMS))
        version, sums = listed["crucible_archive"], dict(listed["sha256"])
    except (KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path}: not an archive of pytest-crucible: no {SUMS}") from error
    if version != VERSION:
        raise ArtifactError(f"{path}: archive version {version!r}, this version reads {VERSION}")
    for name in sums:
        # An archive can come from anybody: refuse names that `pack` would not write.
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/") or "\\" in name or ":" in name:
            raise ArtifactError(f"{path}: {name!r} would be unpacked outside its folder")
    return sums


def _extract(archive: zipfile.ZipFile, name: str, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(name) as source, open(target, "wb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
