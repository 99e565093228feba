"""Differences between the environments of two runs, and what each means for latency."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.environment import environment_differences
from pytest_crucible.analysis.run import open_run
from tests.analysis.support import arm, run_of

AROUND = {
    "run": "r", "machine": "x86_64", "cpu_count": 4, "cpu_model": "AMD EPYC", "usable_cores": 4,
    "governor": "performance", "virtualization": "none", "load": {"start": 0.3, "end": 0.9},
}  # fmt: skip


def told(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The differences between two manifests around the same record."""
    run = open_run(run_of(tmp_path, arm("default", "pp")).path or "")
    results = analyse(run)
    base, cand = (replace(run, manifest=manifest) for manifest in (before, after))
    return environment_differences((base, results), (cand, results))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"cpu_model": "Xeon"},
         ["CPU: AMD EPYC → Xeon; latency rows compare the processors, too"]),
        ({"cpu_count": 64, "usable_cores": 1.5},
         ["usable cores: 4 → 1.5; latency of what runs in parallel changes with them"]),
        ({"cpu_count": 64, "usable_cores": None}, ["cpu_count: 4 → 64"]),
        ({"governor": "powersave"},
         ["CPU governor: performance → powersave; the clock of the CPU differs, and latency rows "
          "with it"]),
        ({"virtualization": "docker"},
         ["virtualization: none → docker; latency rows compare that, too"]),
        ({"load": {"start": 5.0, "end": 9.14}},
         ["load: 9.1 on 4 cores in the candidate, 0.9 in the other; the candidate waited for the "
          "CPU, and its latency rows contain that"]),
        ({"load": {"end": 3.9}}, []),
        ({"load": {"end": 4.1}, "cpu_count": 4}, [
            "load: 4.1 on 4 cores in the candidate, 0.9 in the other; the candidate waited for the "
            "CPU, and its latency rows contain that"]),
        ({"load": {}}, []),
        ({"load": {"end": 9.0}, "cpu_count": "4, 8"}, []),
        ({"cpu_model": None, "governor": None, "virtualization": None, "load": None}, []),
    ],
)  # fmt: skip
def test_each_difference_of_machines_is_a_line(
    tmp_path: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    """It says what differs and what it means; what one side does not know is no difference."""
    assert told(tmp_path, AROUND, AROUND | changes) == expected


def test_the_busy_side_is_named(tmp_path: Path) -> None:
    """A loaded baseline makes the candidate look fast; two loaded sides are alike."""
    busy = AROUND | {"load": {"start": 7.0}}
    (line,) = told(tmp_path / "a", busy, AROUND)
    assert line.startswith("load: 7.0 on 4 cores in the baseline, 0.9 in the other")
    assert told(tmp_path / "b", busy, AROUND | {"load": {"end": 7.9}}) == []
