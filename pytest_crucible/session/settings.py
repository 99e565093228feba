"""Command line and ini, settled once into one frozen value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

OUTPUT = "crucible-results"  # not hidden: CI upload steps skip hidden folders
_BUILT_IN = ("csv", "jsonl", "parquet")
INCONCLUSIVE = ("fail", "pass", "warn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user asked for.

    Attributes:
        export: formats to write the run in, besides the run folder itself.
        output: folder in which each run gets a folder; absolute.
        inconclusive: what an expectation that stays open does to the session: fail, pass or warn.
    """

    export: tuple[str, ...]
    output: Path
    inconclusive: str


SETTINGS = pytest.StashKey[Settings]()


def add_options(parser: pytest.Parser) -> None:
    """Declare the command line options and ini values."""
    group = parser.getgroup("crucible", "experiments (pytest-crucible)")
    group.addoption(
        "--crucible-export", metavar="FORMATS",
        help="write the run's events as csv, jsonl, parquet (comma-separated)",
    )  # fmt: skip
    group.addoption(
        "--crucible-output", metavar="DIR",
        help=f"folder that runs are written to (default: {OUTPUT} in the root directory)",
    )  # fmt: skip
    group.addoption(
        "--crucible-inconclusive", metavar="WHAT",
        help="what an inconclusive expectation does to the session: fail, pass, warn (default)",
    )  # fmt: skip
    parser.addini("crucible_inconclusive", "default for --crucible-inconclusive", default="")
    parser.addini("crucible_export", "default for --crucible-export", default="")
    parser.addini(
        "crucible_output", "default for --crucible-output, from the root directory", default=""
    )


def settle(config: pytest.Config) -> Settings:
    """Read options and ini values, and check what can be checked before any test runs.

    Raises:
        pytest.UsageError: names the value, where it stands and the valid ones.
    """
    return Settings(
        export=_formats(config),
        output=_output(config),
        inconclusive=_choice(config, "inconclusive", INCONCLUSIVE) or "warn",
    )


def _choice(config: pytest.Config, name: str, valid: tuple[str, ...]) -> str:
    text, where = _given(config, name)
    if text and text not in valid:
        raise pytest.UsageError(f"{where}: {text!r} is not one of {', '.join(valid)}")
    return text


def _formats(config: pytest.Config) -> tuple[str, ...]:
    text, where = _given(config, "export")
    wanted = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not wanted:
        return ()
    valid = sorted({*_BUILT_IN, *plugin_exporters(config)})
    for each in wanted:
        if each not in valid:
            raise pytest.UsageError(
                f"{where}: unknown export format {each!r}; valid: {', '.join(valid)}"
            )
    if "parquet" in wanted and find_spec("pyarrow") is None:
        raise pytest.UsageError(f"{where}: parquet needs: pip install 'pytest-crucible[parquet]'")
    return wanted


def plugin_exporters(config: pytest.Config) -> Mapping[str, Any]:
    """Exporters that conftests and plugins add, by format."""
    found: dict[str, Any] = {}
    results: Iterable[Mapping[str, Any] | None] = config.hook.pytest_crucible_exporters()
    for each in results:
        found.update(each or {})
    return found


def _output(config: pytest.Config) -> Path:
    text, where = _given(config, "output")
    explicit = bool(text)
    base = config.invocation_params.dir if where.startswith("--") else config.rootpath
    output = Path(os.path.abspath(base / os.path.expanduser(text or OUTPUT)))
    if explicit and not hasattr(config, "workerinput"):
        _check(output, where)
    return output


def _check(output: Path, where: str) -> None:
    # Imported here: a session that asked for nothing must not pay for it.
    from pytest_crucible._errors import OutputError
    from pytest_crucible.artifact.files import check_writable

    try:
        check_writable(output)
    except OutputError as error:
        raise pytest.UsageError(f"{where}: {error}") from error


def _given(config: pytest.Config, name: str) -> tuple[str, str]:
    """The value, and where it stands, for messages."""
    option = config.getoption(f"crucible_{name}")
    if option is not None:
        return str(option), f"--crucible-{name}"
    return str(config.getini(f"crucible_{name}")), f"ini value crucible_{name}"
