"""The formats of exports: one row each, and everything that is asked of a format's name or ending.

Light, for the options of every session come from here: a row names its functions, which are
imported when they are first used.
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
    """Writes rows to a file. ``rows`` may be called as often as needed; each call starts over."""

    def __call__(self, rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None: ...


class Reader(Protocol):
    """Reads rows back, each with the number of its line (or its own, from 1) for messages."""

    def __call__(self, path: Path) -> Iterable[tuple[int, dict[str, Any]]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of exports.

    Functions are given themselves, or as ``module:function``, which imports them at first use.

    Attributes:
        name: what users type: ``csv``.
        write: an `Exporter`.
        read: gives back the rows that ``write`` was given, as ``(number, row)``. None: files of
            this format cannot be read, and so are no records.
        endings: of its files; default ``.NAME``. New files get the first one.
        compression: ``outer``, write and read obey ``.gz`` and ``.zst`` behind the ending; ``own``,
            it compresses itself; ``none``, neither.
        nested: whether rows keep their nesting, so that it means something to flatten them.
        pretty: writes the indented form, where there is one.
        needs: module of an optional dependency.
        install: what to install to get it: ``pytest-crucible[parquet]``.

    Raises:
        DefinitionError: a name or an ending that cannot be one.
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
        for each in endings:
            if len(each) < 2 or each[0] != "." or "/" in each or each.endswith(_RESERVED):
                raise DefinitionError(f"format {self.name!r}: {each!r} cannot be its ending")

    def writer(self) -> Exporter:
        """Its `Exporter`."""
        found: Exporter = _imported(self.write)
        return found

    def pretty_writer(self) -> Exporter:
        """The `Exporter` of its indented form.

        Raises:
            DefinitionError: it has none.
        """
        if self.pretty is None:
            names = ", ".join(each.name for each in FORMATS.values() if each.pretty is not None)
            raise DefinitionError(
                f"pretty is for {names} (an indented array), {self.name} has one form only"
            )
        found: Exporter = _imported(self.pretty)
        return found

    def reader(self) -> Reader | None:
        """Its `Reader`, if it has one."""
        found: Reader | None = _imported(self.read)
        return found


COMPRESSIONS = {".gz": "", ".zst": "pyarrow"}
"""Endings of compressed files, and the modules they need: the standard library has zstd from
Python 3.14 on only."""

ARCHIVE = ".zip"
"""Ending of a whole run in one file: a record, but no format of exports."""

_RESERVED = (*COMPRESSIONS, ARCHIVE)
_FORBIDDEN = frozenset("/\\, ")  # in names: they are parts of file names, and listed with commas
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
    """The ending that tells how a file or format of this name is compressed, or an empty text."""
    return next((each for each in COMPRESSIONS if _ends(name, each)), "")


def find_format(text: str, known: Mapping[str, Format] = FORMATS) -> tuple[Format, str] | None:
    """What users type, ``csv.gz``, as a format and the ending of its compression; None if unknown.

    Args:
        text: of the option.
        known: the formats by name.
    """
    if text in known:
        return known[text], ""
    packed = compression_of(text)
    found = known.get(text.removesuffix(packed))
    return (found, packed) if found is not None and found.compression == "outer" else None


def parse_format(text: str, known: Mapping[str, Format] = FORMATS) -> tuple[Format, str]:
    """The same, where it has to be one.

    Raises:
        DefinitionError: nobody knows it; names the valid ones.
    """
    found = find_format(text, known)
    if found is not None:
        return found
    inner = known.get(text.removesuffix(compression_of(text)))
    if inner is not None:
        raise DefinitionError(f"{text!r}: {_not_packed(inner)}; use {inner.name!r}")
    told = f"unknown export format {text!r}" if text else "no ending that tells the format"
    raise DefinitionError(f"{told}; valid: {', '.join(sorted(known))}")


def check_ending(format: Format, packed: str, path: Path) -> None:
    """Make sure that a file's ending does not say that it is compressed in another way.

    Raises:
        DefinitionError: it does.
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
    """The format that a file's ending tells, compressed or not; None if it tells none."""
    packed = compression_of(path.name)
    for each in known.values():
        packed_too = packed if each.compression == "outer" else ""
        if any(_ends(path.name, end) or _ends(path.name, end + packed_too) for end in each.endings):
            return each
    return None


def _ends(name: str, ending: str) -> bool:
    return name.endswith(ending) and len(name) > len(ending)


def format_of(path: Path, known: Mapping[str, Format] = FORMATS) -> str:
    """The name of the format that a file's ending tells, with its compression: ``csv.gz``.

    Of an ending that nobody knows, itself, without its dot.
    """
    packed = compression_of(path.name)
    found = format_of_file(path, known)
    if found is not None:
        return found.name + (packed if found.compression == "outer" else "")
    inner = Path(path.name.removesuffix(packed))
    return inner.suffix.lstrip(".") + packed


def endings_read(known: Mapping[str, Format] = FORMATS) -> list[str]:
    """The endings of the files that can be read as records, that of archives among them."""
    read = (each.endings for each in known.values() if each.read is not None)
    return [*chain.from_iterable(read), ARCHIVE]


def to_install(format: Format, packed: str = "") -> str | None:
    """What has to be installed before files of this format can be written; None if nothing."""
    if packed and COMPRESSIONS[packed] and find_spec(COMPRESSIONS[packed]) is None:
        return _PARQUET
    return (format.install or format.needs) if format.needs and not _there(format.needs) else None


def _there(module: str) -> bool:
    return find_spec(module.partition(".")[0]) is not None
