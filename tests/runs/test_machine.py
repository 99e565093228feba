"""Facts about the machine: from the system's files, absent where it does not tell."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_crucible.runs import machine
from pytest_crucible.runs.machine import load_average, machine_facts, usable_cores

XEON = """processor\t: 0
vendor_id\t: GenuineIntel
model\t\t: 85
model name\t: Intel(R) Xeon(R)  CPU @ 2.00GHz
flags\t\t: fpu vme {}

processor\t: 1
model name\t: another
"""
ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\nprocessor\t: 1\n"


def system(root: Path, files: Mapping[str, str]) -> Path:
    """A system with these files."""
    for name, text in {"proc/self/cgroup": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 4, 6}, raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.239, 2.0, 3.0), raising=False)


def test_a_bare_machine(tmp_path: Path) -> None:
    """Model, usable cores, governor and load, and that nothing stands between."""
    governors = {
        f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor": f"{name}\n"
        for core, name in ((0, "powersave"), (1, "unused"), (2, "performance"), (4, "powersave"))
    }
    root = system(tmp_path, {"proc/cpuinfo": XEON.format("sse"), **governors})
    assert machine_facts(0.5, root) == {
        "cpu_model": "Intel(R) Xeon(R) CPU @ 2.00GHz",
        "usable_cores": 4,
        "governor": "performance, powersave",
        "virtualization": "none",
        "load": {"start": 0.5, "end": 1.24},
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"var/run/secrets/kubernetes.io/token": "x"}, "kubernetes"),
        ({"proc/1/cgroup": "0::/kubepods/pod1"}, "kubernetes"),
        ({"proc/1/cgroup": "0::/init.scope"}, "none"),
        ({"proc/cpuinfo": XEON.format("hypervisor")}, "virtual machine"),
        ({"proc/cpuinfo": XEON.format("hypervisor"), ".dockerenv": ""},
         "docker in a virtual machine"),
        ({"proc/sys/kernel/osrelease": "5.15-Microsoft-standard-WSL2"}, "virtual machine"),
        ({"sys/hypervisor/type": "xen"}, "virtual machine"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, "virtual machine"),
    ],
)  # fmt: skip
def test_what_stands_between(tmp_path: Path, files: Mapping[str, str], expected: str) -> None:
    """Containers and virtual machines, by what they leave in the system's files."""
    assert machine_facts(root=system(tmp_path, files))["virtualization"] == expected


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 4),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 4),
        ({"sys/fs/cgroup/cpu.max": "900000 100000\n"}, 4),
        ({"proc/self/cgroup": "1:cpu:/\n0::/user/run\n",
          "sys/fs/cgroup/user/run/cpu.max": "max 100000",
          "sys/fs/cgroup/user/cpu.max": "200000 100000"}, 2),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 4),
    ],
)  # fmt: skip
def test_usable_cores_are_what_affinity_and_quota_allow(
    tmp_path: Path, files: Mapping[str, str], cores: float
) -> None:
    """A machine of 64 cores that lends one and a half has one and a half."""
    assert usable_cores(system(tmp_path, files)) == cores


def test_other_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ARM gives numbers; macOS tells by a call, Windows by a variable; else nothing is known."""
    assert machine_facts(root=system(tmp_path, {"proc/cpuinfo": ARM}))["cpu_model"] == (
        "ARM 0x41 0xd0c"
    )
    empty = tmp_path / "empty"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("PROCESSOR_IDENTIFIER", "Intel64 Family 6")
    assert machine_facts(root=empty)["cpu_model"] == "Intel64 Family 6"

    def sysctlbyname(name: bytes, buffer: Any, *rest: object) -> int:
        buffer.value = b"Apple M1"
        return 0

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(sysctlbyname=sysctlbyname))
    assert machine_facts(root=empty)["cpu_model"] == "Apple M1"
    failing = SimpleNamespace(sysctlbyname=lambda *given: -1)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: failing)
    assert "cpu_model" not in machine_facts(root=empty)


def test_what_a_system_does_not_tell_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No files, no affinity, no load: no fact, and no error."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "getloadavg")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine_facts(root=tmp_path) == {}
    assert load_average() is None
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert machine_facts(root=tmp_path) == {"usable_cores": 3}


def test_facts_are_quick_and_not_personal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started, no name of host or user is kept, and it takes a few ms at most."""
    monkeypatch.undo()
    monkeypatch.setattr(subprocess, "Popen", None)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        facts = machine.machine_facts(1.0)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.01
    text = json.dumps(facts)
    for personal in (socket.gethostname(), str(Path.home())):
        assert personal not in text
