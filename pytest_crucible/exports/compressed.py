"""Compressed files: ``.gz`` and ``.zst`` endings, for writing and for reading line by line."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pytest_crucible._errors import ArtifactError, MissingExtraError
from pytest_crucible._files import replacing_path
from pytest_crucible.exports.formats import compression_of

_GZIP_LEVEL = 6  # 9 takes three times as long and saves a percent


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write bytes to, compressed as its ending says; in place when the block succeeds.

    The same bytes always make the same file: no time, no name in it.

    Raises:
        MissingExtraError: zstd, and pyarrow is not installed.
    """
    kind = compression_of(path.name)
    with replacing_path(path) as fresh, open(fresh, "wb") as file:
        if kind == ".gz":
            with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed:
                yield packed  # type: ignore[misc]
        elif kind == ".zst":
            pyarrow = _pyarrow()
            with pyarrow.CompressedOutputStream(pyarrow.PythonFile(file), "zstd") as packed:
                yield packed
        else:
            yield file


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, uncompressed, with their ends.

    Raises:
        ArtifactError: torn, or not compressed as its ending says; names the line.
        MissingExtraError: zstd, and pyarrow is not installed.
    """
    number, kind = 1, compression_of(path.name)
    if not kind:
        with open(path, "rb") as file:
            yield from file
        return
    source: Any = gzip.open(path) if kind == ".gz" else _zstd(path)  # noqa: SIM115  (below)
    with source:
        while True:
            try:
                line = source.readline()
            except (OSError, EOFError, zlib.error) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # of the disk, not of the data
                problem = " ".join(str(error).split())
                raise ArtifactError(
                    f"{path}:{number}: torn, or no {kind} file: {problem}"
                ) from error
            if not line:
                return
            yield line
            number += 1


def _zstd(path: Path) -> Any:
    stream = _pyarrow().CompressedInputStream(str(path), "zstd")
    return io.BufferedReader(stream, 1 << 16)


def _pyarrow() -> Any:
    # The extra there is already; the standard library has zstd from Python 3.14 on only.
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("zstd compression", "parquet") from error
    return pyarrow
