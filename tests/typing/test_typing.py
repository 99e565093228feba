"""The package as type checkers of its users see it: installed, and held to its annotations.

What is right passes, what is wrong is an error at its line, under mypy and pyright alike, both
strict. The marker is not among it: ``pytest.mark`` gives any name and takes any arguments, which no
plugin can narrow. What it gets is checked as soon as tests are collected; see `test_marker`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
MARK = "# wrong"
# Kept from run to run, as mypy's own: to read NumPy anew takes half a minute.
CACHE = HERE.parents[1] / ".mypy_cache" / "users"

Place = tuple[str, int]


def mypy(folder: Path) -> dict[Place, str]:
    """The errors that mypy finds, by file and line."""
    command = [
        sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary",
        f"--cache-dir={CACHE}", "right", "wrong",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    found = {}
    for line in done.stdout.splitlines():
        if told := re.match(r"(.+?):(\d+): error: (.*)", line):
            found[told[1], int(told[2])] = told[3]
    return found


def pyright(folder: Path) -> dict[Place, str]:
    """The errors that pyright finds; basedpyright is the same, and comes with its Node."""
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    command = [
        sys.executable, "-m", "basedpyright", "--outputjson", f"--pythonpath={sys.executable}",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    told: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    return {
        (
            str(Path(each["file"]).relative_to(folder.resolve())),
            each["range"]["start"]["line"] + 1,
        ): each["message"]
        for each in told
        if each["severity"] == "error"
    }


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_right_calls_pass_and_wrong_ones_fail(
    checker: Callable[[Path], dict[Place, str]], tmp_path: Path
) -> None:
    """Each wrong line has an error, and no other line has one."""
    for name in ("right", "wrong"):
        shutil.copytree(HERE / name, tmp_path / name, ignore=shutil.ignore_patterns("__*"))
    expected = {
        (str(path.relative_to(tmp_path)), number)
        for path in tmp_path.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.endswith(MARK)
    }
    found = checker(tmp_path)
    assert {place: found[place] for place in found.keys() - expected} == {}
    assert sorted(expected - found.keys()) == []
