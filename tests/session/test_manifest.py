"""The manifest of a run: what a later reader needs, and nothing that is secret."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.runs.machine import machine_facts
from tests.session import support

SUITE = """
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e", hypothesis="h", conditions=("a", "b"), tags=["t"], sample_size=4,
                        expect=["tests.failed <= 0"])
def test_a():
    telemetry.execute("x", {"n": 1})
"""


def manifest(pytester: pytest.Pytester) -> dict[str, Any]:
    found = support.newest(pytester).manifest
    assert found is not None
    return found


def test_it_describes_the_run(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Run, tool, times, command line, Python, platform, packages, plugins, nodes: all in it."""
    pytester.makepyfile(SUITE)
    assert support.run(pytester, *mode, "--crucible-export=csv").ret == 0
    found = manifest(pytester)
    folder = support.newest(pytester).path
    assert folder is not None
    assert found["run"] == folder.name
    assert found["tool"] == f"pytest-crucible {found['plugins']['pytest-crucible']}"
    assert found["started"] <= found["finished"]
    assert "--crucible-export=csv" in found["command_line"]
    assert found["python"] == platform.python_version()
    assert found["platform"] == platform.platform()
    assert found["packages"]["pytest"] == pytest.__version__
    assert found["exports"] == ["events.csv"]
    assert found["problems"] == []
    workers = {"gw0", "gw1"} if "-n2" in mode else {"main"}
    assert {node["name"] for node in found["nodes"]} == workers
    assert all(node["closed"] for node in found["nodes"])
    assert found["completeness"]["complete"] is True
    assert found["completeness"]["reasons"] == []


def test_it_knows_the_machine(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """What latency depends on, with the load when the first test began and at the end."""
    pytester.makepyfile(SUITE)
    assert support.run(pytester, *mode).ret == 0
    found = manifest(pytester)
    facts = machine_facts(1.0)
    assert facts.keys() <= found.keys()
    assert all(found[name] == fact for name, fact in facts.items() if name != "load")
    assert found["load"].keys() == {"start", "end"}


def test_it_holds_experiments_and_verdicts(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """Definitions, metrics per condition, and what became of every expectation."""
    pytester.makepyfile(SUITE)
    assert support.run(pytester, *mode).ret == 0
    experiment = manifest(pytester)["experiments"]["e"]
    definition = experiment["definition"]
    assert definition["hypothesis"] == "h"
    assert definition["conditions"] == ["a", "b"]
    assert definition["tags"] == ["t"]
    assert definition["sample_size"] == 4
    assert experiment["trials"] == experiment["recorded"] == 2
    assert experiment["verdict"] == "CONFIRMED"
    assert experiment["conditions"]["a"]["tests"]["passed"] == 1
    assert experiment["conditions"]["b"]["summary"]["total_events"] == 1
    assert [each["verdict"] for each in experiment["verdicts"]] == ["CONFIRMED"] * 2


def test_it_is_written_when_tests_fail(pytester: pytest.Pytester) -> None:
    """A red session has a manifest too, and it says what is missing."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", trials=3)
        def test_a():
            assert 0
    """)
    assert support.run(pytester, "-x").ret == 1
    completeness = manifest(pytester)["completeness"]
    assert completeness["complete"] is False
    assert completeness["reasons"][0].startswith("2 trials never ran: ")


Git = Callable[..., None]


@pytest.fixture
def git(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Git:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(pytester.path.parent))

    def run(*arguments: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        subprocess.run(["git", *identity, *arguments], cwd=pytester.path, check=True)

    return run


@pytest.mark.parametrize("dirty", [False, True])
def test_it_knows_the_commit(pytester: pytest.Pytester, git: Git, dirty: bool) -> None:
    """Commit, branch and whether the tree was dirty; the run itself does not make it dirty."""
    path = pytester.makepyfile(SUITE)
    git("init", "-q", "-b", "work")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    if dirty:
        path.write_text(path.read_text() + "\n")
    assert support.run(pytester).ret == 0
    assert support.run(pytester).ret == 0
    found = manifest(pytester)["git"]
    assert found["branch"] == "work"
    assert len(found["commit"]) == 40
    assert found["dirty"] is dirty


def test_it_needs_no_repository(pytester: pytest.Pytester, git: Git) -> None:
    """Outside a repository there is no commit, and that is no problem."""
    pytester.makepyfile(SUITE)
    assert support.run(pytester).ret == 0
    assert manifest(pytester)["git"] is None


def test_it_keeps_no_secret(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys on the command line are blanked, and the environment is in no file of the run."""
    secrets = ("s3cret-argument", "s3cret-next", "s3cret-environment", "sk-s3cretKeyLikeThing123")
    monkeypatch.setenv("OPENAI_API_KEY", secrets[2])
    pytester.makeconftest("""
        def pytest_addoption(parser):
            parser.addoption("--api-key")
            parser.addoption("--auth-token")
            parser.addoption("--plain")
    """)
    pytester.makepyfile(SUITE)
    keys = (f"--api-key={secrets[0]}", "--auth-token", secrets[1], f"--plain={secrets[3]}")
    assert support.run(pytester, *keys).ret == 0
    found = manifest(pytester)
    assert "--api-key=***" in found["command_line"].replace("'", "")
    folder = support.newest(pytester).path
    assert folder is not None
    for path in folder.rglob("*.*"):
        for secret in secrets:
            assert secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("how", [(), ("-n2",)])
def test_it_knows_the_seeds(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    """The seeds that were set for the run are kept, so that it can be repeated."""
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    pytester.makepyfile(SUITE)
    assert support.run(pytester, *how, "-p", "randomly", "--randomly-seed=42").ret == 0
    assert manifest(pytester)["seeds"] == {"randomly_seed": 42, "PYTHONHASHSEED": "7"}


def test_it_is_plain_json(pytester: pytest.Pytester) -> None:
    """Strict JSON whatever metadata and numbers hold: no NaN, no infinity, no object."""
    pytester.makepyfile("""
        import pathlib
        import pytest

        @pytest.mark.experiment("e", metadata={"path": pathlib.Path("x"), "none": None})
        def test_a(experiment):
            experiment.record(score=float("inf"), other=float("nan"))
    """)
    support.run(pytester).assert_outcomes(passed=1)
    folder = support.newest(pytester).path
    assert folder is not None

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = Path(folder, "manifest.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=refuse)
    assert found["experiments"]["e"]["definition"]["metadata"]["none"] is None
