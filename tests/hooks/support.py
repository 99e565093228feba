"""A small package with plugins, installed into a folder, and processes that find it there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import QUIET

PLUGIN = """
import json

from pytest_crucible import Format

def pytest_crucible_enrich(event, enriched):
    enriched.cost_usd = (enriched.cost_usd or 0) + 0.5  # asked twice, it would count twice
    enriched.extra = {**enriched.extra, "region": "eu"}

def pytest_crucible_metrics(observations, metrics):
    return {"acme.index": metrics.cost.total * 2}

def write(rows, path):
    with open(path, "w") as file:
        for row in rows():
            file.write(json.dumps(row) + "\\n")

def read(path):
    with open(path) as file:
        for number, line in enumerate(file, 1):
            yield number, json.loads(line)

def count(rows, path):
    path.write_text(str(sum(not row["event"].startswith("crucible.") for row in rows())))

def pytest_crucible_exporters():
    return {"acme": Format(name="acme", write=write, read=read), "count": count}

def pytest_crucible_summary(results):
    return [f"acme: {len(results.experiments)} experiment"]
"""

SUITE = """
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e")
@pytest.mark.parametrize("n", range(3))
def test_a(n):
    telemetry.execute("req_llm.request.stop", {"duration": 2_000_000}, {"model": "m"})
"""


def install(
    site: Path,
    source: str = PLUGIN,
    name: str = "acme",
    groups: Sequence[str] = ("pytest_crucible",),
) -> Path:
    """Make a package of one module, as an installer leaves it; returns where to import it from."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    site.joinpath(f"{name}.py").write_text(source)
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    sections = [f"[{group}]\n{name} = {name}\n" for group in groups]
    info.joinpath("entry_points.txt").write_text("\n".join(sections))
    return site


def run(
    cwd: Path, site: Path | None, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Python in which the packages of a folder are installed, too."""
    around = {key: each for key, each in os.environ.items() if not key.startswith("PYTEST_")}
    around["PYTHONPATH"] = str(site or "")
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env={**around, **(env or {})}, check=False,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def crucible(cwd: Path, site: Path | None, *arguments: str) -> str:
    """What a command prints; it must work and complain of nothing."""
    done = run(cwd, site, "-m", "pytest_crucible", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def session(cwd: Path, site: Path | None, *arguments: str, code: int = 0) -> list[str]:
    """The lines of a pytest session over `SUITE`."""
    cwd.joinpath("test_a.py").write_text(SUITE)
    done = run(cwd, site, "-m", "pytest", "-q", *QUIET, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.splitlines()
