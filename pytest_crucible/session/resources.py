"""``resources=True``: CPU time and peak memory of every trial, recorded as its numbers.

They are about the call of the test, without the set-up of fixtures, and about this process: all its
threads; of child processes only the CPU time, if they have ended. What a system cannot tell is not
recorded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.capture.recorder import record_into
from pytest_crucible.events.event import RECORD
from pytest_crucible.session.marker import IDENTITY
from pytest_crucible.session.trials import TrialHooks

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak of the resident memory, VmHWM
_MB = 1_000_000


class Resources:
    """Measures the trials that want it. Registered if a marker has ``resources=True``."""

    def __init__(self, hooks: TrialHooks) -> None:
        self._hooks = hooks

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        identity, opened = item.stash.get(IDENTITY, None), self._hooks.opened
        if opened is None or identity is None or not identity.definition.resources:
            return (yield)
        gpu = reset_gpu_peak()
        memory = reset_peak()
        cpu = cpu_ns()
        try:
            return (yield)
        finally:
            numbers = {"cpu_ms": (cpu_ns() - cpu) / 1e6}
            if memory:
                numbers["peak_memory_mb"] = peak_bytes() / _MB
            if gpu is not None:
                numbers["gpu_peak_memory_mb"] = gpu.max_memory_allocated() / _MB
            record_into(opened, RECORD, numbers, {})


def cpu_ns() -> int:
    """Return the CPU time of this process, user and system, and of its ended children."""
    children = 0.0
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        children = used.ru_utime + used.ru_stime
    return time.process_time_ns() + round(children * 1e9)


def reset_peak() -> bool:
    """Make the kernel forget the peak of the resident memory; False if it cannot.

    Without that, the peak only grows: the trial that runs first would be charged for all.
    """
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Return the largest resident memory since `reset_peak`."""
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def reset_gpu_peak() -> Any:
    """Reset PyTorch's peak of GPU memory and return ``torch.cuda``; None if no GPU is in use.

    PyTorch is never imported here, and no GPU is initialised.
    """
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_available() or not cuda.is_initialized():
        return None
    cuda.reset_peak_memory_stats()
    return cuda
