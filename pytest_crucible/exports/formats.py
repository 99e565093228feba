"""The formats of exports: one row per format, and everything about their names and endings.

Every session imports this module for its options, so it must stay light: a row only names its
functions, which are imported at first use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol

from pytest_crucible._errors import DefinitionError


class Exporter(Protocol):
    """Writes rows to a file. ``rows`` may be called several times; every call yields all rows."""

    def __call__(self, rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None: ...


class Reader(Protocol):
    """Reads rows back: yields the number of the line (or of the row, from 1), for messages, and the
    row.
    """

    def __call__(self, path: Path) -> Iterable[tuple[int, dict[str, Any]]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of exports.

    A function may also be a text ``module:function``, which is imported at first use.

    Attributes:
        name: the name that users type: ``csv``.
        write: an `Exporter`.
        read: a `Reader`, which yields the rows that ``write`` wrote. None: files of this format
            cannot be read, so they are no records.
        endings: endings of its files; default ``.NAME``. New files get the first one.
        compression: ``outer`` if ``write`` and ``read`` handle another ending ``.gz`` or ``.zst``;
            ``own`` if the format compresses itself; ``none`` if it has no compression.
        nested: whether its files keep the nesting of rows, so that the option ``flatten`` has an
            effect.
        pretty: an `Exporter` of the indented form; None if there is none.
        needs: module of an optional dependency.
        install: what to install for this dependency: ``pytest-crucible[parquet]``.

    Raises:
        DefinitionError: the name or an ending is not allowed.
    """

    name: str
    write: Exporter | str
    read: Reader | str | None = None
    endings: tuple[str, ...] = ()
    compression: Literal["outer", "own", "none"] = "none"
    nested: bool = False
    pretty: Exporter | str | None = None
    needs: str = ""
    install: str = ""

    def __post_init__(self) -> None:
        endings = self.endings or (f".{self.name}",)
        object.__setattr__(self, "endings", endings)
        if not self.name.isprintable() or not self.name or set(self.name) & _FORBIDDEN:
            raise DefinitionError(f"a format cannot be named {self.name!r}")
        for ending in endings:
            if len(ending) < 2 or ending[0] != "." or "/" in ending or ending.endswith(_RESERVED):
                raise DefinitionError(f"format {self.name!r}: {ending!r} cannot be its ending")

    def writer(self) -> Exporter:
        """Return its `Exporter`."""
        exporter: Exporter = _imported(self.write)
        return exporter

    def pretty_writer(self) -> Exporter:
        """Return the `Exporter` of its indented form.

        Raises:
            DefinitionError: it has no such form.
        """
        if self.pretty is None:
            names = ", ".join(row.name for row in FORMATS.values() if row.pretty is not None)
            raise DefinitionError(
                f"pretty is for {names} (an indented array), {self.name} has one form only"
            )
        exporter: Exporter = _imported(self.pretty)
        return exporter

    def reader(self) -> Reader | None:
        """Return its `Reader`; None if its files cannot be read."""
        reader: Reader | None = _imported(self.read)
        return reader


COMPRESSIONS = {".gz": "", ".zst": "pyarrow"}
"""Endings of compressed files, and the modules that they need. (The standard library has zstd only
from Python 3.14 on.)"""

ARCHIVE = ".zip"
"""Ending of a file that holds a complete run: a record, but no format of exports."""

_RESERVED = (*COMPRESSIONS, ARCHIVE)
_FORBIDDEN = frozenset("/\\, ")  # names are used in file names and in lists with commas
_PARQUET = "pytest-crucible[parquet]"

_ROWS = (
    Format(
        name="csv",
        write="pytest_crucible.exports.csv_file:write_csv",
        read="pytest_crucible.exports.csv_file:read_csv",
        compression="outer",
    ),
    Format(
        name="json",
        write="pytest_crucible.exports.json_file:write_json",
        pretty="pytest_crucible.exports.json_file:write_pretty_json",
        read="pytest_crucible.exports.json_file:read_json",
        compression="outer",
        nested=True,
    ),
    Format(
        name="jsonl",
        write="pytest_crucible.exports.jsonl_file:write_jsonl",
        read="pytest_crucible.exports.jsonl_file:read_jsonl",
        compression="outer",
        nested=True,
    ),
    Format(
        name="parquet",
        write="pytest_crucible.exports.parquet_file:write_parquet",
        read="pytest_crucible.exports.parquet_file:read_parquet",
        compression="own",
        needs="pyarrow",
        install=_PARQUET,
    ),
)

FORMATS: dict[str, Format] = {row.name: row for row in _ROWS}
"""The formats of this package by name; plugins may add more."""


def _imported(function: Any) -> Any:
    if not isinstance(function, str):
        return function
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def compression_of(name: str) -> str:
    """Return the ending of compression in the name of a file or format; empty if it has none."""
    return next((ending for ending in COMPRESSIONS if _ends(name, ending)), "")


def find_format(text: str, known: Mapping[str, Format] = FORMATS) -> tuple[Format, str] | None:
    """Return the format and the ending of compression that a text means; None if unknown.

    Args:
        text: the text that the user typed: ``csv``, ``csv.gz``.
        known: all formats by name.
    """
    if text in known:
        return known[text], ""
    packed = compression_of(text)
    row = known.get(text.removesuffix(packed))
    return (row, packed) if row is not None and row.compression == "outer" else None


def parse_format(text: str, known: Mapping[str, Format] = FORMATS) -> tuple[Format, str]:
    """Return the format and the ending of compression that a text means.

    Args:
        text: the text that the user typed: ``csv``, ``csv.gz``.
        known: all formats by name.

    Raises:
        DefinitionError: there is no such format; names the valid ones.
    """
    parsed = find_format(text, known)
    if parsed is not None:
        return parsed
    inner = known.get(text.removesuffix(compression_of(text)))
    if inner is not None:
        raise DefinitionError(f"{text!r}: {_not_packed(inner)}; use {inner.name!r}")
    problem = f"unknown export format {text!r}" if text else "no ending that tells the format"
    raise DefinitionError(f"{problem}; valid: {', '.join(sorted(known))}")


def check_ending(format: Format, packed: str, path: Path) -> None:
    """Make sure that the ending of a file fits its format and compression.

    Args:
        format: the format of the file.
        packed: the ending of the compression that the user asked for; empty for none.
        path: the file.

    Raises:
        DefinitionError: the ending says that the file is compressed in another way.
    """
    if packed and compression_of(path.name) != packed:
        raise DefinitionError(f"{path}: a {format.name}{packed} file ends with {packed}")
    if compression_of(path.name) and format.compression != "outer":
        left_out = compression_of(path.name)
        raise DefinitionError(f"{path}: {_not_packed(format)}; leave out {left_out}")


def _not_packed(format: Format) -> str:
    how = "compresses itself" if format.compression == "own" else "cannot be compressed"
    return f"{format.name} {how}"


def format_of_file(path: Path, known: Mapping[str, Format] = FORMATS) -> Format | None:
    """Return the format of a file by its ending, compressed or not; None if no format has it."""
    packed = compression_of(path.name)
    for row in known.values():
        packed_too = packed if row.compression == "outer" else ""
        if any(_ends(path.name, end) or _ends(path.name, end + packed_too) for end in row.endings):
            return row
    return None


def _ends(name: str, ending: str) -> bool:
    return name.endswith(ending) and len(name) > len(ending)


def format_of(path: Path, known: Mapping[str, Format] = FORMATS) -> str:
    """Return the name of a file's format with its compression, by its ending: ``csv.gz``.

    If no format has the ending, return the ending itself, without its dot.
    """
    packed = compression_of(path.name)
    row = format_of_file(path, known)
    if row is not None:
        return row.name + (packed if row.compression == "outer" else "")
    inner = Path(path.name.removesuffix(packed))
    return inner.suffix.lstrip(".") + packed


def endings_read(known: Mapping[str, Format] = FORMATS) -> list[str]:
    """Return the endings of all files that can be read as records, including `ARCHIVE`."""
    read = (row.endings for row in known.values() if row.read is not None)
    return [*chain.from_iterable(read), ARCHIVE]


def to_install(format: Format, packed: str = "") -> str | None:
    """Return what the user must install to write files of this format; None if nothing is missing.

    Args:
        format: the format.
        packed: the ending of the compression; empty for none.
    """
    if packed and COMPRESSIONS[packed] and find_spec(COMPRESSIONS[packed]) is None:
        return _PARQUET
    return (format.install or format.needs) if format.needs and not _there(format.needs) else None


def _there(module: str) -> bool:
    return find_spec(module.partition(".")[0]) is not None
