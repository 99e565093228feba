"""Cost of the plugin for a suite of trivial tests, and for the start of pytest.

Every measurement is the CPU time of a new process, its children included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.rounds import ROUNDS, Figure, Row, interleaved

TESTS = 5_000

_PLAIN = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_it(number):
    pass
"""
_MARKED = _PLAIN.replace("@pytest", '@pytest.mark.experiment("benchmark")\n@pytest', 1)
_QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly")
_WITHOUT = ("-p", "no:crucible")


def _cpu_ms(folder: Path, arguments: Sequence[str]) -> float:
    """Run pytest with these arguments and return its CPU time in ms."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"pytest {arguments} failed:\n{done.stdout}{done.stderr}")
    user = after.ru_utime - before.ru_utime
    return (user + after.ru_stime - before.ru_stime) * 1000


def rows(tests: int = TESTS, rounds: int = ROUNDS) -> list[Row]:
    """Measure a suite of ``tests`` tests and the start; return the rows of the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for name, text in (("plain", _PLAIN), ("marked", _MARKED)):
            (folder / f"{name}.py").write_text(text.format(tests=tests), encoding="utf-8")
        run = partial(_cpu_ms, folder)
        figures = interleaved(
            {
                "without": partial(run, [*_QUIET, *_WITHOUT, "plain.py"]),
                "unused": partial(run, [*_QUIET, "plain.py"]),
                "marked": partial(run, [*_QUIET, "marked.py"]),
            },
            rounds,
        )
        # --version twice: with one, pytest answers before it loads any plugin.
        starts = interleaved(
            {
                "without": partial(run, [*_WITHOUT, "--version", "--version"]),
                "with": partial(run, ["--version", "--version"]),
            },
            3 * rounds,  # the difference is small, so it needs more rounds
        )
    plain = figures["without"]
    table = [Row(f"{tests:,} trivial tests, without the plugin", _ms(plain))]
    for name, limit in (("unused", 1.01), ("marked", 1.15)):
        ratio = figures[name].over(plain)
        extra = (figures[name].median - plain.median) * 1000 / tests
        text = f"{_ms(figures[name])}, {ratio:.3f} ×, {extra:+.0f} µs a test"
        kind = "installed, unused" if name == "unused" else "every one marked"
        table.append(Row(f"{tests:,} trivial tests, {kind}", text, f"≤ {limit} ×", ratio <= limit))
    pairs = zip(starts["with"].values, starts["without"].values, strict=True)
    later = Figure(tuple(a - b for a, b in pairs)).median
    text = f"{later:+.1f} ms on {starts['without'].median:.0f}"
    table.append(Row("pytest --version, with the plugin", text, "≤ 10 ms", later <= 10))
    return table


def _ms(figure: Figure) -> str:
    return f"{figure.median:,.0f} ms ± {figure.spread:.0%}"
