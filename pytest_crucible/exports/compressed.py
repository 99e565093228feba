"""Compressed files (``.gz``, ``.zst``): write bytes, read lines."""

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
    """Open a file to write bytes, which are compressed if its ending says so.

    The file replaces ``path`` when the block ends without an error. The same bytes always make the
    same file: it holds neither time nor name.

    Raises:
        MissingExtraError: the ending is ``.zst``, and pyarrow is not installed.
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
    """Yield the lines of a file, uncompressed, with their line ends.

    Raises:
        ArtifactError: the file is torn, or not compressed as its ending says; names the line.
        MissingExtraError: the ending is ``.zst``, and pyarrow is not installed.
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
                    raise  # an error of the disk, not of the data
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
    # Of an extra that exists anyway; the standard library has zstd only from Python 3.14 on.
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("zstd compression", "parquet") from error
    return pyarrow
