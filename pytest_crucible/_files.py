"""File names and safe writing. Only this module turns names into paths."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pytest_crucible import _clock
from pytest_crucible._errors import DefinitionError, OutputError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICES = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")  # devices on Windows
_HASHED = re.compile(r"-[0-9a-f]{8}$")  # a name that looks like a slug with a hash
_MAX_SLUG = 60
SPECIAL = "a device or a pipe"
# Of more than one letter: Windows has drives. `Path` makes one slash of two.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)")
_SECRETS = re.compile(r"(?<=://)[^/]*@|\?.*")


def local_path(given: str | os.PathLike[str]) -> Path:
    """A path that somebody gave, as one of this machine.

    Raises:
        DefinitionError: it is no path, or the address of a storage, ``s3://…``, which would else
            become a local folder ``s3:``.
    """
    try:
        text = os.fspath(given)
    except TypeError:
        raise DefinitionError(f"a path is a text or a pathlib.Path, not {given!r:.80}") from None
    if isinstance(text, bytes):
        raise DefinitionError(f"a path is a text or a pathlib.Path, not {given!r:.80}")
    url = _URL.match(text)
    # A text with one slash means what it says; of a `Path` nobody can tell any more.
    if url is not None and (url[2] or not isinstance(given, str)):
        shown = _SECRETS.sub("", f"{url[1]}://{text[url.end() :]}")  # accounts, passwords
        raise DefinitionError(
            f"{shown}: there is no storage for {url[1]}:// in this version; give a local path"
        )
    return Path(given)


def slug(name: str) -> str:
    """Make a file name (without ending) of any text: one path component, never hidden, never empty.

    A name that had to be changed gets a hash, so that no two names become one file.
    """
    safe = _UNSAFE.sub("-", name).strip("-.")[:_MAX_SLUG].strip("-.")
    usable = bool(safe) and not _DEVICES.match(safe)
    if usable and safe == name and not _HASHED.search(safe):
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}-{digest}" if usable else f"experiment-{digest}"


def new_run_id() -> str:
    """Make a run id that sorts by time and is unique: ``20261123T174502123-3f9a1c``.

    It contains milliseconds, because two short sessions may begin in the same second, and the
    newest run of a folder is found by its name.
    """
    ms = _clock.wall_ns() // 1_000_000
    now = datetime.fromtimestamp(ms // 1000, tz=UTC)
    return f"{now:%Y%m%dT%H%M%S}{ms % 1000:03}-{secrets.token_hex(3)}"


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[str]]:
    """Open a new text file next to ``path``; if the block succeeds, rename it to ``path``.

    Raises:
        OutputError: ``path`` is a device or a pipe, which a rename would take away from everybody.
    """
    _check_replaceable(path)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(fresh, mode, encoding="utf-8", newline="") as file:
            yield file
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_path(path: Path) -> Iterator[Path]:
    """Like `replacing`, for writers that open the file themselves."""
    _check_replaceable(path)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield fresh
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def is_special(path: Path) -> bool:
    """Whether a path is a device, a pipe or a socket: it may be written to, but not replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _check_replaceable(path: Path) -> None:
    if is_special(path):
        raise OutputError(f"{path} is {SPECIAL}; write it elsewhere")


def check_writable(folder: Path) -> None:
    """Check that files can be made in ``folder``, which need not exist yet; leave none behind.

    Raises:
        OutputError: it is a file, or cannot be written.
    """
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"output folder {str(folder)!r}: {str(existing)!r} is a file")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OutputError(
            f"output folder {str(folder)!r}: cannot write in {str(existing)!r}: {error.strerror}"
        ) from error


def make_output_folder(folder: Path) -> Path:
    """Make a folder for results; several processes may call this at once.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output folder {str(folder)!r}: {error.strerror}") from error
    return folder


def make_run_folder(output: Path, run: str) -> Path:
    """Make the folder of one run, with its ``nodes`` folder.

    A new output folder gets a ``.gitignore``: results are large and generated, and running tests
    must not make a clean working tree dirty.

    Raises:
        OutputError: it cannot be made.
    """
    fresh = not output.exists()
    nodes = make_output_folder(output / run / "nodes")
    if fresh:
        try:
            (output / ".gitignore").write_text("*\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"output folder {str(output)!r}: {error.strerror}") from error
    return nodes.parent
