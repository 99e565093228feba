"""The end of a session: read the run, judge it, write it, print it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_crucible._clock import iso_from_us, wall_ns
from pytest_crucible._errors import CrucibleError
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.judging import decisions_of, judged
from pytest_crucible.analysis.results import Results
from pytest_crucible.events.pricing import genai_prices_version, pricers, read_prices
from pytest_crucible.hooks.plugins import NO_PLUGINS, Plugins
from pytest_crucible.metrics.observations import Enricher
from pytest_crucible.report.lines import Line, has_sparklines
from pytest_crucible.report.terminal import render
from pytest_crucible.runs.enriched import enriched_path, keep_enriched
from pytest_crucible.runs.late_enrichment import ENRICHERS
from pytest_crucible.runs.manifest import name_and_version, surroundings, write_manifest
from pytest_crucible.runs.run import RecordedRun, open_folder, open_recorded
from pytest_crucible.session.plugins import session_plugins
from pytest_crucible.session.random_order import seed_base, seed_of
from pytest_crucible.session.settings import LOAD, SETTINGS
from pytest_crucible.session.turns import TURNS, Turns
from pytest_crucible.stats.verdict import ERRORED, NOT_RUN, Verdict

if TYPE_CHECKING:
    from pytest_crucible.analysis.run_comparison import RunComparison

RESULTS = pytest.StashKey["Finished"]()


class Finished:
    """What the summary prints.

    Attributes:
        results: results of the run; None if it could not be read.
        comparison: comparison with the baseline; None without a baseline.
        folder: the run folder.
        exports: the exported files.
        problems: one sentence per failure to read or write, or failure of a plugin.
        plugins: the plugins of this session.
    """

    def __init__(self, folder: Path, config: pytest.Config) -> None:
        self.folder = folder
        self.results: Results | None = None
        self.comparison: RunComparison | None = None
        self.exports: list[Path] = []
        self.problems: list[str] = []
        self.plugins = session_plugins(config, self.problems.append)


def finish(
    session: pytest.Session, folder: Path, notes: Sequence[str], reported: int = 0
) -> Finished:
    """Read the run folder, judge, write manifest and exports, and set the exit status.

    Args:
        session: the session of the process that prints the summary.
        folder: the run folder.
        notes: one sentence per loss that the session noticed.
        reported: number of attempts that pytest reported; fewer in the record means loss.

    Returns:
        What the summary prints. Errors are among its ``problems``; none is raised.
    """
    config = session.config
    finished = config.stash[RESULTS] = Finished(folder, config)
    try:
        run = open_folder(folder, plugins=NO_PLUGINS)  # they enrich below, after the prices
        arguments = [str(argument) for argument in config.invocation_params.args]
        around = surroundings(config.rootpath, ["pytest", *arguments], config.stash.get(LOAD, None))
        named = _enrichers(config, finished.plugins)
        enrichers = [enricher for _, enricher in named]
        if enrichers:
            run, enrichers = _keep_enriched(run, enrichers, finished)
        if named and not enrichers:  # the run folder has what they set
            around[ENRICHERS] = [name for name, _ in named]
        results = analyse(run, enrichers, plugins=finished.plugins)
        recorded = sum(m.tests.attempts for e in results.experiments for m in e.metrics.values())
        recorded += sum(experiment.warmup[0] for experiment in results.experiments)
        if recorded < reported:
            notes = [*notes, f"{reported} attempts were reported, {recorded} are in the record"]
        results = finished.results = results.with_notes(notes)
        _compare(config, replace(run, manifest=around), results, finished)
        results = finished.results
        _export(config, run, enrichers, finished, results)
        write_manifest(folder, {**around, **_manifest(config, run, results, finished)})
    except (CrucibleError, OSError) as error:
        finished.problems.append(str(error))
    except Exception as error:
        # Most likely from a hook of a conftest. The record is complete and on disk: say so, instead
        # of a traceback in place of the summary.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        finished.problems.append(
            f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno}); the record is "
            f"complete, `crucible recover` makes its manifest"
        )
    _set_exit_status(session, finished)
    return finished


def _keep_enriched(
    run: RecordedRun, enrichers: list[Enricher], finished: Finished
) -> tuple[RecordedRun, list[Enricher]]:
    """Write the fields that enrichers set, for later readers without plugins; reopen the run.

    Returns:
        The run with these fields, and no enrichers; if they cannot be written, the arguments.
    """
    try:
        for node in run.nodes:
            keep_enriched(node, enrichers)
    except OSError as error:
        finished.problems.append(f"only this summary has what enrichers set: {error.strerror}")
        return run, enrichers
    for path in [enriched_path(Path(node.source)) for node in run.nodes]:
        if not path.stat().st_size:
            path.unlink()
    return open_folder(finished.folder, plugins=NO_PLUGINS), []


def _compare(config: pytest.Config, run: RecordedRun, results: Results, finished: Finished) -> None:
    baseline = config.stash[SETTINGS].baseline
    if baseline is None:
        return
    from pytest_crucible.analysis.run_comparison import ANY
    from pytest_crucible.analysis.run_drafts import draft_runs, judge_drafts

    every = ANY in config.stash[SETTINGS].fail_on

    try:
        base = open_recorded(baseline, plugins=finished.plugins)
        before = analyse(base, plugins=finished.plugins)
        draft = draft_runs(
            (base, before), (run, results), lambda options: replace(options, every=every)
        )
        # What fails this session is one family: its claims, and the comparison with the baseline.
        finished.comparison = judge_drafts([draft], decisions_of(results.experiments))[0]
        experiments = judged(results.experiments, draft.decisions)
        finished.results = replace(results, experiments=experiments)
    except (CrucibleError, OSError) as error:
        # Most likely a torn record: it could be opened when the session began.
        finished.problems.append(f"--crucible-baseline: {error}")


def _set_exit_status(session: pytest.Session, finished: Finished) -> None:
    results = finished.results
    unmet = _unmet(session.config, finished)
    bad = (
        results is None
        or bool(unmet)
        or results.lost
        or results.refused
        or bool(finished.problems or results.problems)
    )
    bad = bad or bool(_regressions(session.config, finished))
    bad = bad or bool(_not_run(session.config, finished))
    if bad and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _export(
    config: pytest.Config,
    run: RecordedRun,
    enrichers: list[Enricher],
    finished: Finished,
    results: Results,
) -> None:
    if not config.stash[SETTINGS].export:
        return
    from pytest_crucible.exports.described import described, told
    from pytest_crucible.exports.export import export_events
    from pytest_crucible.exports.formats import parse_format
    from pytest_crucible.queries.anomalies import marks

    formats = finished.plugins.formats()
    mark = described(
        told(e.definition.described for e in results.experiments),
        marks(metrics for e in results.experiments for metrics in e.metrics.values()),
    )
    for name in config.stash[SETTINGS].export:
        path = finished.folder / f"events.{name}"
        try:
            form, compression = parse_format(name, formats)
            path = finished.folder / f"events{form.endings[0]}{compression}"
            export_events(lambda: run.events, path, form, enrichers, mark)
        except Exception as error:
            # A plugin's exporter may raise anything; the manifest must be written all the same.
            kind = (
                "" if isinstance(error, (CrucibleError, OSError)) else f"{type(error).__name__}: "
            )
            finished.problems.append(f"export to {path} failed: {kind}{error}")
        else:
            finished.exports.append(path)


def _manifest(
    config: pytest.Config, run: RecordedRun, results: Results, finished: Finished
) -> dict[str, Any]:
    started = min((n.header.wall_ns for n in run.nodes if n.header), default=wall_ns())
    turns: Turns | None = config.pluginmanager.getplugin(TURNS)
    return {
        "run": run.id,
        "tool": f"pytest-crucible {version('pytest-crucible')}",
        "started": iso_from_us(started // 1000),
        "finished": iso_from_us(wall_ns() // 1000),
        "plugins": _plugins(config),
        "seeds": {**_seeds(config), **_orders(config, run, results)},
        "pricing": {
            "table": _shown(prices) if (prices := config.stash[SETTINGS].prices) else None,
            "genai_prices": genai_prices_version(),
        },
        "exports": [path.name for path in finished.exports],
        "problems": finished.problems,
        # Of two runs with the same one the tests took turns: drift hits both alike.
        **({} if turns is None else {"turns": turns.token}),
        **results.to_dict(),
    }


def _plugins(config: pytest.Config) -> dict[str, str]:
    plugins: list[tuple[Any, Any]] = config.pluginmanager.list_plugin_distinfo()
    return dict(name_and_version(dist) for _, dist in plugins)


def _seeds(config: pytest.Config) -> dict[str, Any]:
    """Return the seeds of this run, if set: that of pytest-randomly, and Python's hash seed."""
    seeds = {
        "randomly_seed": config.getoption("randomly_seed", None),
        "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED"),
    }
    return {name: seed for name, seed in seeds.items() if seed is not None}


def _orders(config: pytest.Config, run: RecordedRun, results: Results) -> dict[str, int]:
    """Return the seeds of the random order of cases, of the experiments that may stop early."""
    base = seed_base(config, run.id)
    names = (each.definition.name for each in results.experiments if each.definition.stop)
    return {f"order of {name}": seed_of(base, name) for name in names}


def _enrichers(config: pytest.Config, plugins: Plugins) -> list[tuple[str, Enricher]]:
    path = config.stash[SETTINGS].prices
    table = None if path is None else read_prices(path)
    prices: list[tuple[str, Enricher]] = [("prices", pricer) for pricer in pricers(table)]
    return [*prices, *plugins.enrichers()]


def summary_lines(
    config: pytest.Config, finished: Finished, sparklines: bool = True
) -> Iterator[Line]:
    """Yield the lines that the session prints at its end."""
    if finished.results is not None:
        yield from render(finished.results, sparklines)
        if finished.comparison is not None:
            from pytest_crucible.report.compare_text import render_comparison

            yield from render_comparison(finished.comparison)
            yield Line("")
        yield from map(Line, finished.plugins.summary(finished.results))
    for problem in finished.problems:
        yield Line(f"problem: {problem}", "red")
    files = "".join(f" · {path.name}" for path in finished.exports)
    yield Line(f"run: {_shown(finished.folder)}{files}")


def _shown(path: Path) -> str:
    """Return a path relative to the working directory, if that is shorter."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)
    return relative if len(relative) < len(str(path)) else str(path)


def print_summary(terminal: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the summary, unless the user gave ``-q -q``."""
    finished = config.stash.get(RESULTS, None)
    if finished is None or terminal.verbosity < -1:
        return
    terminal.section("experiments")
    encoding = getattr(config.get_terminal_writer()._file, "encoding", None)
    for line in summary_lines(config, finished, has_sparklines(encoding)):
        terminal.write_line(line.text, **({line.style: True} if line.style else {}))
    # Pytest's last line must not be green if the session fails: there, and in the short summary, an
    # expectation that is not met counts as a failed test.
    reports = [_failure(unmet) for unmet in _unmet(config, finished)]
    reports += [_regression(reason) for reason in _regressions(config, finished)]
    reports += [_failed(f"experiment {name}", NOT_RUN) for name in _not_run(config, finished)]
    if reports:
        terminal.stats.setdefault("failed", []).extend(reports)


def forget(config: pytest.Config) -> None:
    """Release the results: Python's collector visits remaining objects several times at exit."""
    if RESULTS in config.stash:
        del config.stash[RESULTS]


def print_after_internal_error(session: pytest.Session) -> None:
    """Print the summary after an internal error, when pytest prints none."""
    terminal = session.config.pluginmanager.getplugin("terminalreporter")
    if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR and terminal is not None:
        print_summary(terminal, session.config)


def _unmet(config: pytest.Config, finished: Finished) -> list[tuple[str, Verdict]]:
    """Return the verdicts that fail the session, with the names of their experiments."""
    inconclusive = config.stash[SETTINGS].inconclusive
    return finished.results.unmet(inconclusive) if finished.results else []


def _regressions(config: pytest.Config, finished: Finished) -> list[str]:
    """Return why the comparison with the baseline fails the session, one sentence per reason."""
    if finished.comparison is None:
        return []
    if not finished.comparison.comparable:
        return ["nothing to compare with the baseline"]
    return finished.comparison.failures(config.stash[SETTINGS].fail_on)


def _not_run(config: pytest.Config, finished: Finished) -> list[str]:
    """Return the experiments that fail the session because nothing of them ran."""
    asked = "missing" in config.stash[SETTINGS].fail_on
    return finished.results.not_run if asked and finished.results else []


class _OneLine(str):
    """One line that says what failed. Pytest 8.4 reads it from attributes of a traceback."""

    __slots__ = ()

    @property
    def reprcrash(self) -> _OneLine:
        return self

    @property
    def message(self) -> str:
        return str(self)


def _regression(text: str) -> pytest.TestReport:
    return _failed("comparison with the baseline", text)


def _failure(unmet: tuple[str, Verdict]) -> pytest.TestReport:
    name, verdict = unmet
    what = f"experiment {name} ({verdict.condition})"
    why = verdict.reason if verdict.verdict == ERRORED else verdict.expectation
    return _failed(what, f"{verdict.verdict}: {why}")


def _failed(what: str, why: str) -> pytest.TestReport:
    return pytest.TestReport(what, (what, None, what), {}, "failed", _OneLine(why), "call")
