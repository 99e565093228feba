"""CPU time and peak memory of trials, as numbers of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_crucible.session import resources
from tests.session import support


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the peak of memory")
def test_each_trial_has_its_own_peak(pytester: pytest.Pytester) -> None:
    """A trial after a large one is not charged for it; set-up is not the trial's."""
    pytester.makepyfile("""
        import pytest, sys, time, types

        cuda = types.SimpleNamespace(
            is_available=lambda: True, is_initialized=lambda: True,
            reset_peak_memory_stats=lambda: None, max_memory_allocated=lambda: 7_000_000,
        )

        @pytest.fixture
        def torch(monkeypatch):
            monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
            large = bytearray(300_000_000)

        @pytest.mark.experiment("e", conditions={"large": 200_000_000, "small": 1}, resources=True)
        def test_a(experiment, torch):
            held = bytearray(experiment.arm)
            held[::4096] = b"x" * len(held[::4096])
            end = time.process_time() + 0.05
            while time.process_time() < end:
                pass
    """)
    support.run(pytester).assert_outcomes(passed=2)
    experiment = support.only(pytester)
    large, small = (experiment.groups[name].recorded for name in ("large", "small"))
    assert large["peak_memory_mb"].values[0] > small["peak_memory_mb"].values[0] + 150
    assert 50 <= small["cpu_ms"].values[0] < 5000
    assert small["gpu_peak_memory_mb"].values[0] == 7
    catalog = experiment.catalog
    assert (catalog["cpu_ms.mean"].unit, catalog["cpu_ms.mean"].better) == ("ms", "lower")
    assert catalog["peak_memory_mb.mean"].unit == "MB"


def test_without_a_reset_there_is_no_peak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the system cannot reset it, the peak would be that of an earlier trial."""
    monkeypatch.setattr(resources, "_CLEAR", tmp_path / "no" / "file")
    assert not resources.reset_peak()
