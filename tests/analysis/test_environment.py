"""How the environments of two runs differ: is it fair to compare them?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.environment import environment_differences
from pytest_crucible.analysis.run import open_run
from pytest_crucible.runs.manifest import write_manifest
from tests.report.support import compared, made, observed

AROUND: dict[str, Any] = {
    "run": "r", "python": "3.11.4", "machine": "x86_64", "cpu_count": 2,
    "packages": {"numpy": "2.0", "openai": "1.0"}, "git": {"commit": "abcdef0123456789"},
}  # fmt: skip


def differences(tmp_path: Path, **changes: Any) -> list[str]:
    base, cand = made(tmp_path / "a", observed()), made(tmp_path / "b", observed())
    write_manifest(base, AROUND)
    write_manifest(cand, AROUND | changes)
    return list(compared(base, cand).differences)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"python": "3.12.0"}, ["python: 3.11.4 → 3.12.0"]),
        ({"machine": "arm64", "cpu_count": 8}, ["machine: x86_64 → arm64", "cpu_count: 2 → 8"]),
        ({"packages": {"numpy": "2.1", "httpx": "1"}},
         ["packages: httpx absent → 1, numpy 2.0 → 2.1, openai 1.0 → absent"]),
        ({"packages": {}}, []),
        ({"git": {"commit": "1234567890abcdef", "dirty": True}},
         ["candidate: recorded from a dirty tree at 1234567890"]),
        ({"git": None}, []),
    ],
)  # fmt: skip
def test_different_surroundings_are_told(
    changes: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    """Python, machine, packages and dirty trees that differ stand beside the verdict."""
    assert differences(tmp_path, **changes) == expected


def test_many_changed_packages_are_cut(tmp_path: Path) -> None:
    """An upgrade of everything is one line, with the number of the rest."""
    packages = {f"p{i}": "2" for i in range(20)} | AROUND["packages"]
    (line,) = differences(tmp_path, packages=packages)
    assert line.endswith(" and 12 more")
    assert line.count("absent → 2") == 8


def test_different_models_are_told(tmp_path: Path) -> None:
    """Another model under the same name of experiment is the first thing to know."""
    base = made(tmp_path / "a", observed(model="m1"))
    cand = made(tmp_path / "b", observed(model="m2"))
    assert "models: m1 → m2" in compared(base, cand).differences


def test_an_unknown_environment_is_told_by_side(tmp_path: Path) -> None:
    """Exported files hold no surroundings: the side that lacks them is named."""
    run = open_run(write_manifest(made(tmp_path / "a", observed()), AROUND))
    bare = replace(run, manifest=None)
    results = analyse(run)
    unknown = "environment of the {} unknown: no manifest"
    for sides, named in (
        ((run, bare), "candidate"),
        ((bare, run), "baseline"),
        ((bare, bare), "baseline and the candidate"),
    ):
        first, second = sides
        found = environment_differences((first, results), (second, results))
        assert found == [unknown.format(named)]
