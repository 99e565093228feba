"""Tests mirror the package: each module has its test file, and none outlives its module."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest_crucible
from tests.slow import LEFT_OUT, SLOW, is_slow

PACKAGE = Path(pytest_crucible.__file__).parent
TESTS = Path(__file__).parent

WITHOUT = {
    "__init__": "names only: test_exported_names imports each",
    "__main__": "three lines: cli/test_main and cli/test_printing start it",
    "_forks": "one call: record/test_spool_faults and experiments/test_recording fork",
    "_layout": "names of folders and endings: whoever writes or reads a run uses them",
    "metrics/distribution": "a value: metrics/test_summary works it out",
    "session/row_readers": "session/test_case_files reads files of every kind with it",
    "session/plugins": "who is asked: hooks/test_installed runs sessions with and without them",
    "plugin": "hooks of a few lines: session/test_inert says what they cost, all others use them",
    "telemetry": "names only: capture/test_bus and capture/test_span test what they name",
}
"""Modules that have no test file of their name, and why."""

BESIDE = {
    "benchmarks/test_ab": "the simulation of `crucible ab`",
    "benchmarks/test_speed": "the benchmarks run",
    "bridges/test_hostile": "instrumentations that do what they should not, over all bridges",
    "cli/test_against": "the arms of one run, compared",
    "clients/": "the real client libraries, in an environment of their own",
    "record/test_interrupts": "signals at any place of bus, recorder and stores",
    "record/test_merge_property": "any split of a run over nodes, up to its metrics",
    "record/test_spool_faults": "kills, forks and full disks under a spool",
    "session/test_baseline": "a run against its baseline, to the exit status",
    "session/test_concurrency": "every way in which code runs at once",
    "session/test_disk_full": "a real disk without room",
    "session/test_declared": "metrics that authors and plugins declare, in a session and offline",
    "session/test_dist_modes": "the ways in which xdist distributes",
    "session/test_enriched": "what a conftest's enricher set, in every later reader",
    "session/test_faults": "processes that really die",
    "session/test_family": "what decides, and at which level, to the exit status",
    "session/test_inert": "sessions without experiments",
    "session/test_isolation": "experiments in and beside each other, and the state of the session",
    "session/test_late_markers": "markers that hooks, fixtures and tests add",
    "session/test_manifest": "what is in the manifest of a session",
    "session/test_max_errors": "trials that broke or did not run, from marker to gate",
    "session/test_neighbours": "other plugins in the same session",
    "session/test_sampling": "samples from marker to verdict",
    "session/test_special_metrics": "anomalies, ensembles, hedging and traces in a session",
    "session/test_ssh": "workers on another host",
    "session/test_subtests": "tests with subtests, in every mode",
    "session/test_warmup": "trials that do not count, from marker to summary",
    "session/test_validate": "events against the catalog in a session",
    "stats/test_clusters_published": "related cases, means to formulas, against others",
    "stats/test_sampled": "what is said of a sample",
    "stats/test_statsmodels": "intervals, tests and plans beside statsmodels",
    "stats/test_simulations": "intervals and verdicts over simulated runs",
    "test_docs": "what the documentation shows runs",
    "test_examples": "the examples reach their verdicts",
    "test_exported_names": "the public names",
    "test_mirror": "this file",
    "typing/": "what users write, under two type checkers",
    "test_reference": "the reference system's own numbers",
}
"""Test files that keep a promise of several modules; folders end with a slash."""


def below(folder: Path, pattern: str) -> frozenset[str]:
    """The files below a folder that hold something, as ``room/name``."""
    found = (path.relative_to(folder) for path in folder.rglob(pattern) if path.stat().st_size)
    return frozenset(path.with_suffix("").as_posix() for path in found)


MODULES, FILES = below(PACKAGE, "*.py"), below(TESTS, "test_*.py")


def file_of(module: str) -> str:
    """The test file of a module, whether it is there or not."""
    room, slash, name = module.rpartition("/")
    return f"{room}{slash}test_{name.lstrip('_')}"


@cache
def functions(file: str) -> frozenset[str]:
    """The names of the tests in a file."""
    found = set()
    for node in ast.parse((TESTS / f"{file}.py").read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
    return frozenset(name for name in found if name.startswith("test"))


def test_every_module_has_a_test_file_of_its_name() -> None:
    """`pytest_crucible/ROOM/NAME.py` is tested in `tests/ROOM/test_NAME.py`, or is named above."""
    assert {each for each in MODULES if file_of(each) not in FILES} == set(WITHOUT)


def test_no_test_file_outlives_its_module() -> None:
    """A file of tests bears the name of a module that is there, or is named above."""
    folders = tuple(each for each in BESIDE if each.endswith("/"))
    left = FILES - {file_of(each) for each in MODULES}
    assert {each for each in left if not each.startswith(folders)} == {
        each for each in BESIDE if not each.endswith("/")
    }
    assert all((TESTS / folder).is_dir() for folder in folders)


def test_every_test_file_holds_tests() -> None:
    """An empty one would stand in for a module's tests."""
    assert [file for file in sorted(FILES) if not functions(file)] == []


def test_what_is_slow_is_there() -> None:
    """Each line of the list names a file, or a function in it, and none names what another does."""
    for line in LEFT_OUT:
        file, colons, function = line.partition("::")
        name = file.removesuffix(".py")
        assert name in FILES, line
        assert not colons or function in functions(name), line
        assert not colons or file not in LEFT_OUT, line
    assert sum(len(lines.split()) for lines in SLOW.values()) == len(LEFT_OUT)


def test_no_module_is_tested_by_slow_tests_alone() -> None:
    """`make quick` touches every room, and every module that has tests of its own."""
    mirrored = {file_of(each) for each in MODULES} & FILES
    quick = {
        file
        for file in mirrored
        if any(not is_slow(f"tests/{file}.py::{each}") for each in functions(file))
    }
    assert mirrored - quick == set()
    assert {file.partition("/")[0] for file in quick if "/" in file} == {
        path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"
    }
