"""Command line and ini, settled once into one frozen value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible._layout import TEXT_FORMATS, split_format

OUTPUT = "crucible-results"  # not hidden: CI upload steps skip hidden folders
INCONCLUSIVE = ("fail", "pass", "warn")
FAIL_ON = ("regression", "inconclusive", "missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user asked for.

    Attributes:
        export: formats to write the run in, besides the run folder itself.
        output: folder in which each run gets a folder; absolute.
        inconclusive: what an expectation that stays open does to the session: fail, pass or warn.
        baseline: artifact to compare this run with.
        fail_on: what of that comparison fails the session: regression, inconclusive, missing.
        instrument: clients whose instrumentors are turned on, or ``auto``.
        prices: file with the user's prices.
        budget_usd: what the whole session may spend.
    """

    export: tuple[str, ...]
    output: Path
    inconclusive: str
    baseline: Path | None
    fail_on: tuple[str, ...]
    instrument: tuple[str, ...] = ()
    prices: Path | None = None
    budget_usd: float | None = None

    def pricer(self) -> Any:
        """What tells the costs of calls: the user's prices, and others'."""
        from pytest_crucible.events.pricing import Pricer, read_prices

        return Pricer(read_prices(self.prices) if self.prices is not None else None)


SETTINGS = pytest.StashKey[Settings]()


def sdk_installed() -> bool:
    """Whether the ``otel`` extra is there; imports nothing but the namespace package.

    The API alone, which clients bring along, makes no spans.
    """
    try:
        return find_spec("opentelemetry.sdk.trace") is not None
    except (ImportError, ValueError):
        return False


def add_options(parser: pytest.Parser) -> None:
    """Declare the command line options and ini values."""
    group = parser.getgroup("crucible", "experiments (pytest-crucible)")
    group.addoption(
        "--crucible-export", metavar="FORMATS",
        help="write the run's events as csv, json, jsonl, parquet (comma-separated), "
        "or compressed: csv.gz, jsonl.zst",
    )  # fmt: skip
    group.addoption(
        "--crucible-output", metavar="DIR",
        help=f"folder that runs are written to (default: {OUTPUT} in the root directory)",
    )  # fmt: skip
    group.addoption(
        "--crucible-inconclusive", metavar="WHAT",
        help="what an inconclusive expectation does to the session: fail, pass, warn (default)",
    )  # fmt: skip
    group.addoption(
        "--crucible-baseline", metavar="PATH",
        help="compare this run with another artifact: run folder, CSV, JSONL or Parquet",
    )  # fmt: skip
    group.addoption(
        "--crucible-fail-on", metavar="WHAT",
        help="what of the comparison fails the session: regression (default), inconclusive, "
        "missing, none (comma-separated)",
    )  # fmt: skip
    group.addoption(
        "--crucible-instrument", metavar="CLIENTS",
        help="turn on installed OpenTelemetry instrumentors: auto, none (default), or openai, …",
    )  # fmt: skip
    group.addoption(
        "--crucible-prices", metavar="FILE", help="prices of models, TOML or JSON",
    )  # fmt: skip
    group.addoption(
        "--crucible-budget", metavar="USD", help="skip further trials once this much is spent",
    )  # fmt: skip
    parser.addini("crucible_instrument", "default for --crucible-instrument", default="")
    parser.addini(
        "crucible_prices", "default for --crucible-prices, from the root directory", default=""
    )
    parser.addini("crucible_budget", "default for --crucible-budget", default="")
    parser.addini("crucible_baseline", "default for --crucible-baseline", default="")
    parser.addini("crucible_fail_on", "default for --crucible-fail-on", default="")
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
        baseline=_baseline(config),
        fail_on=_fail_on(config),
        instrument=_instrument(config),
        prices=_prices(config),
        budget_usd=_budget(config),
    )


def _instrument(config: pytest.Config) -> tuple[str, ...]:
    text, where = _given(config, "instrument")
    if not text:
        return ()
    from pytest_crucible._errors import DefinitionError, MissingExtraError
    from pytest_crucible.bridges.instrumentors import parse_instrument

    try:
        names = parse_instrument(text)
        if names and not sdk_installed():
            raise MissingExtraError("turning on instrumentors", "otel")
    except (DefinitionError, MissingExtraError) as error:
        raise pytest.UsageError(f"{where}: {error}") from error
    return names


def _path(config: pytest.Config, text: str, where: str) -> Path:
    """From where the command was given, or for ini values from the root directory."""
    base = config.invocation_params.dir if where.startswith("--") else config.rootpath
    return Path(os.path.abspath(base / os.path.expanduser(text)))


def _prices(config: pytest.Config) -> Path | None:
    text, where = _given(config, "prices")
    if not text:
        return None
    from pytest_crucible._errors import DefinitionError
    from pytest_crucible.events.pricing import read_prices

    path = _path(config, text, where)
    if not hasattr(config, "workerinput"):
        try:
            read_prices(path)
        except DefinitionError as error:
            raise pytest.UsageError(f"{where}: {error}") from error
    return path


def _budget(config: pytest.Config) -> float | None:
    text, where = _given(config, "budget")
    if not text:
        return None
    try:
        budget = float(text.removeprefix("$"))
    except ValueError:
        budget = 0.0
    if not 0 < budget < float("inf"):
        raise pytest.UsageError(f"{where}: {text!r} is not an amount of US dollars above zero")
    return budget


def _baseline(config: pytest.Config) -> Path | None:
    text, where = _given(config, "baseline")
    if not text:
        return None
    path = _path(config, text, where)
    if not hasattr(config, "workerinput"):
        # Imported here: a session that asked for nothing must not pay for it.
        from pytest_crucible._errors import CrucibleError
        from pytest_crucible.runs.run import open_recorded

        try:
            # The run itself, now: an output folder's newest run will soon be this one.
            return open_recorded(path).path
        except CrucibleError as error:
            raise pytest.UsageError(f"{where}: {error}") from error
    return path


def _fail_on(config: pytest.Config) -> tuple[str, ...]:
    text, where = _given(config, "fail_on")
    wanted = tuple(part.strip() for part in (text or "regression").split(",") if part.strip())
    for each in wanted:
        if each not in (*FAIL_ON, "none"):
            valid = ", ".join((*FAIL_ON, "none"))
            raise pytest.UsageError(f"{where}: {each!r} is not one of {valid}")
    return tuple(each for each in wanted if each != "none")


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
    valid = sorted({*TEXT_FORMATS, "parquet", *plugin_exporters(config)})
    for each in wanted:
        if each not in valid and split_format(each)[0] not in TEXT_FORMATS:
            raise pytest.UsageError(
                f"{where}: unknown export format {each!r}; valid: {', '.join(valid)}"
            )
        needs_pyarrow = each == "parquet" or split_format(each)[1] == ".zst"
        if needs_pyarrow and find_spec("pyarrow") is None:
            raise pytest.UsageError(
                f"{where}: {each} needs: pip install 'pytest-crucible[parquet]'"
            )
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
    output = _path(config, text or OUTPUT, where)
    if explicit and not hasattr(config, "workerinput"):
        _check(output, where)
    return output


def _check(output: Path, where: str) -> None:
    # Imported here: a session that asked for nothing must not pay for it.
    from pytest_crucible._errors import OutputError
    from pytest_crucible._files import check_writable

    try:
        check_writable(output)
    except OutputError as error:
        raise pytest.UsageError(f"{where}: {error}") from error


def _given(config: pytest.Config, name: str) -> tuple[str, str]:
    """The value, and where it stands, for messages."""
    option = config.getoption(f"crucible_{name}")
    if option is not None:
        return str(option), f"--crucible-{name.replace('_', '-')}"
    return str(config.getini(f"crucible_{name}")), f"ini value crucible_{name}"
