"""Settings: command line options and ini values, checked once and then frozen."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_crucible.metrics.catalog import Metric

TURNS_OPTION = "crucible-turns"
OUTPUT = "crucible-results"  # not hidden: CI upload steps skip hidden folders
INCONCLUSIVE = ("fail", "pass", "warn")
FAIL_ON = ("regression", "inconclusive", "missing", "changed", "any")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of the user.

    Attributes:
        export: names of the formats to export.
        output: folder that holds the run folders; absolute.
        inconclusive: what an inconclusive expectation does to the session: fail, pass or warn.
        baseline: recorded run to compare this run with.
        fail_on: what fails the session: regression, inconclusive, missing, changed, any.
        sequential: judge every experiment at any look.
        max_errors: the share of an experiment's trials that may break; None: 5 %.
        instrument: clients whose instrumentors are turned on, or ``auto``.
        prices: file with the user's prices.
        budget_usd: how much the whole session may spend, in USD.
        metrics: numbers that the project declares for all its experiments.
    """

    export: tuple[str, ...]
    output: Path
    inconclusive: str
    baseline: Path | None
    fail_on: tuple[str, ...]
    sequential: bool = False
    max_errors: float | None = None
    instrument: tuple[str, ...] = ()
    prices: Path | None = None
    budget_usd: float | None = None
    metrics: tuple[Metric, ...] = ()

    def pricer(self) -> Any:
        """Return the pricer of calls: it knows the user's prices, and public ones."""
        from pytest_crucible.events.pricing import Pricer, read_prices

        return Pricer(read_prices(self.prices) if self.prices is not None else None)


SETTINGS = pytest.StashKey[Settings]()
LOAD = pytest.StashKey[float | None]()
"""Load of the machine when the first test was about to run."""


def sdk_installed() -> bool:
    """Return whether the ``otel`` extra is installed; imports only the namespace package.

    The API without the SDK, which many clients install, makes no spans.
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
        # Not all names: the import of the list would cost every session milliseconds.
        help="write the run's events as csv, parquet, … (comma-separated; `crucible export --help` "
        "lists the formats), or compressed: csv.gz, jsonl.zst",
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
        help="compare this run with another artifact: run folder, archive or exported file",
    )  # fmt: skip
    group.addoption(
        "--crucible-fail-on", metavar="WHAT",
        help="verdicts that fail the session: regression (default), inconclusive, "
        "missing (also: an experiment of which nothing ran), changed, any (regressions of all "
        "metrics, not only of those that decide), none (comma-separated)",
    )  # fmt: skip
    group.addoption(
        "--crucible-sequential", action="store_true", default=None,
        help="judge expectations so that their verdicts hold however often cases are added",
    )  # fmt: skip
    group.addoption(
        "--crucible-max-errors", metavar="SHARE",
        help="share of an experiment's trials that may error or crash (default: 5%%)",
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
    group.addoption(f"--{TURNS_OPTION}", help=argparse.SUPPRESS)  # `crucible ab` gives it
    parser.addini("crucible_instrument", "default for --crucible-instrument", default="")
    parser.addini(
        "crucible_prices", "default for --crucible-prices, from the root directory", default=""
    )
    parser.addini("crucible_budget", "default for --crucible-budget", default="")
    parser.addini("crucible_baseline", "default for --crucible-baseline", default="")
    parser.addini("crucible_fail_on", "default for --crucible-fail-on", default="")
    parser.addini("crucible_sequential", "default for --crucible-sequential: true", default="")
    parser.addini("crucible_max_errors", "default for --crucible-max-errors", default="")
    parser.addini(
        "crucible_metrics", "direction, unit, range, margin, formula of recorded numbers (TOML)",
        type="linelist", default=[],
    )  # fmt: skip
    parser.addini("crucible_inconclusive", "default for --crucible-inconclusive", default="")
    parser.addini("crucible_export", "default for --crucible-export", default="")
    parser.addini(
        "crucible_output", "default for --crucible-output, from the root directory", default=""
    )


def settle(config: pytest.Config) -> Settings:
    """Read options and ini values, and check them before any test runs.

    Raises:
        pytest.UsageError: one line that names the option, its value and the valid ones.
    """
    return Settings(
        export=_formats(config),
        output=_output(config),
        inconclusive=_choice(config, "inconclusive", INCONCLUSIVE) or "warn",
        baseline=_baseline(config),
        fail_on=_fail_on(config),
        sequential=_sequential(config),
        max_errors=_max_errors(config),
        instrument=_instrument(config),
        prices=_prices(config),
        budget_usd=_budget(config),
        metrics=_metrics(config),
    )


def _metrics(config: pytest.Config) -> tuple[Metric, ...]:
    """Return the metrics of the ini value, which is a table of TOML, or lines of one."""
    try:
        lines = config.getini("crucible_metrics")
    except (TypeError, pytest.UsageError):  # a table below [tool.pytest]: no list of lines
        lines = ["{"]
    if not lines:
        return ()
    # Imported here: most projects declare nothing.
    from tomllib import TOMLDecodeError, loads

    from pytest_crucible._errors import DefinitionError
    from pytest_crucible.metrics.declared import declared

    where = f"{config.inipath}: ini value crucible_metrics"
    try:
        # Pytest makes text of a table below [tool.pytest.ini_options].
        table = _toml_table(config) if lines[0].startswith("{") else loads("\n".join(lines))
        return declared(table, by="metrics")
    except (TOMLDecodeError, DefinitionError) as error:
        text = str(error).removeprefix("metrics: ")
        hint = '; a line is TOML: words = "lower"' if isinstance(error, TOMLDecodeError) else ""
        raise pytest.UsageError(f"{where}: {text}{hint}") from error


def _toml_table(config: pytest.Config) -> object:
    """Return the table that the ini file has for ``crucible_metrics``."""
    from tomllib import loads

    assert config.inipath is not None
    if config.inipath.suffix != ".toml":
        return loads("{")  # lines of an .ini file that begin with a brace
    tables = loads(config.inipath.read_text(encoding="utf-8"))
    tables = tables.get("tool", tables).get("pytest", {})
    found: object = {**tables, **tables.get("ini_options", {})}["crucible_metrics"]
    return found


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
    """Return an absolute path: options start at the working directory, ini values at the root."""
    if ":" in text:
        from pytest_crucible._errors import DefinitionError
        from pytest_crucible._files import local_path

        try:
            local_path(text)
        except DefinitionError as error:
            raise pytest.UsageError(f"{where}: {error}") from error
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


def _sequential(config: pytest.Config) -> bool:
    text, where = _given(config, "sequential")
    if text.lower() not in ("", "true", "false"):
        raise pytest.UsageError(f"{where}: {text!r} is not one of true, false")
    return text.lower() == "true"


def _max_errors(config: pytest.Config) -> float | None:
    text, where = _given(config, "max_errors")
    if not text:
        return None
    from pytest_crucible._errors import DefinitionError
    from pytest_crucible.runs.experiment_definition import share

    try:
        return share(where, text)
    except DefinitionError as error:
        raise pytest.UsageError(str(error)) from error


def _baseline(config: pytest.Config) -> Path | None:
    text, where = _given(config, "baseline")
    if not text:
        return None
    path = _path(config, text, where)
    if not hasattr(config, "workerinput"):
        # Imported here: a session without this option must not pay for it.
        from pytest_crucible._errors import CrucibleError
        from pytest_crucible.exports.formats import ARCHIVE, format_of_file
        from pytest_crucible.runs.run import open_recorded
        from pytest_crucible.session.plugins import loaded_plugins, more_installed

        plugins = loaded_plugins(config, lambda problem: None)
        known = path.name.endswith(ARCHIVE) or format_of_file(path, plugins.formats())
        if path.is_file() and not known and more_installed(config):
            return path  # a plugin that is imported only with experiments may read it
        try:
            # Find the newest run of an output folder now: later it will be this run.
            return open_recorded(path, plugins=plugins).path
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
    from pytest_crucible.exports.formats import find_format
    from pytest_crucible.session.plugins import loaded_plugins, more_installed, wrong_format

    notes: list[str] = []
    known = loaded_plugins(config, notes.append).formats()
    for each in wanted:
        problem = wrong_format(each, known)
        if problem is None or (find_format(each, known) is None and more_installed(config)):
            continue  # `unknown_format` checks it later
        raise pytest.UsageError(f"{where}: {'; '.join([problem, *notes])}")
    return wanted


def unknown_format(config: pytest.Config) -> str | None:
    """Return what is wrong with the export formats, in one line; None if nothing is.

    Imports the installed plugins, which a session without experiments does not: call it only if
    there are experiments.
    """
    wanted = config.stash[SETTINGS].export
    if not wanted:
        return None
    from pytest_crucible.exports.formats import find_format
    from pytest_crucible.session.plugins import loaded_plugins, session_plugins, wrong_format

    notes: list[str] = []
    known = loaded_plugins(config, notes.append).formats()
    if all(find_format(each, known) for each in wanted):
        return None
    known = session_plugins(config, notes.append).formats()
    problems = [problem for each in wanted if (problem := wrong_format(each, known))]
    _, where = _given(config, "export")
    return f"{where}: {'; '.join([problems[0], *notes])}" if problems else None


def _output(config: pytest.Config) -> Path:
    text, where = _given(config, "output")
    explicit = bool(text)
    output = _path(config, text or OUTPUT, where)
    if explicit and not hasattr(config, "workerinput"):
        _check(output, where)
    return output


def _check(output: Path, where: str) -> None:
    # Imported here: a session without this option must not pay for it.
    from pytest_crucible._errors import OutputError
    from pytest_crucible._files import check_writable

    try:
        check_writable(output)
    except OutputError as error:
        raise pytest.UsageError(f"{where}: {error}") from error


def _given(config: pytest.Config, name: str) -> tuple[str, str]:
    """Return the value of an option, and its name for messages; the value is empty if not given."""
    option = config.getoption(f"crucible_{name}")
    if option is not None:
        return str(option), f"--crucible-{name.replace('_', '-')}"
    return str(config.getini(f"crucible_{name}")), f"ini value crucible_{name}"
