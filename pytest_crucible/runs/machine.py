"""Facts about the machine that latency depends on: processor, cores, clock, load, container.

They are read from files of the system, without a subprocess, in about a millisecond. What a system
does not tell is left out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_MOST_CORES = 16
"""So many cores are asked for their governor; a machine hardly ever has two."""
_CONTAINERS = (
    ("docker", "docker"),
    ("podman", "podman"),
    ("libpod", "podman"),
    ("kubepods", "kubernetes"),
    ("containerd", "containerd"),
    ("lxc", "lxc"),
)
"""What stands in a cgroup's path, and the name of the container that it means."""


def machine_facts(load_at_start: float | None = None, root: Path = _ROOT) -> dict[str, object]:
    """Return what is known about this machine, for the manifest.

    Args:
        load_at_start: what `load_average` returned when the session began.
        root: the root of the file system.

    Returns:
        ``cpu_model``; ``usable_cores``, what affinity and the container's quota allow;
        ``governor`` of the processor's clock; ``virtualization``, e.g. ``docker in a virtual
        machine``, ``none`` for bare metal; ``load`` of one minute, at ``start`` and ``end``.
    """
    loads = {"start": load_at_start, "end": load_average()}
    facts: dict[str, object] = {
        "cpu_model": _cpu_model(root),
        "usable_cores": usable_cores(root),
        "governor": _governor(root),
        "virtualization": _virtualization(root),
        "load": {at: round(load, 2) for at, load in loads.items() if load is not None} or None,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def load_average() -> float | None:
    """Return how many threads ran or wanted to, on average over the last minute."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows; a container that hides it
        return None


def usable_cores(root: Path = _ROOT) -> float | None:
    """Return how many cores this process may keep busy; a container may allow 1.5."""
    quotas = list(_quotas(root))
    allowed = _allowed()
    cores = len(allowed) if allowed is not None else os.cpu_count()
    if cores is None:
        return min(quotas, default=None)
    return min([cores, *quotas])


def _allowed() -> set[int] | None:
    try:
        return set(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS, Windows
        return None


def _quotas(root: Path) -> Iterator[float]:
    """Yield what the cgroups of this process allow, in cores (cgroup v2, then v1)."""
    own = ""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":
            own = path.strip("/")
    groups = root / "sys/fs/cgroup"
    for folder in (groups / own, *(groups / own).parents):  # the parents' limits hold, too
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)
        if folder == groups:
            break
    quota, period = (_text(groups / f"cpu/cpu.cfs_{what}_us") for what in ("quota", "period"))
    if quota.isdigit() and period.isdigit() and int(period):
        yield int(quota) / int(period)


def _cpu_model(root: Path) -> str | None:
    named = dict(_first_processor(root))
    for key in ("model name", "Processor", "cpu model", "cpu"):  # x86, old ARM, MIPS, POWER
        if named.get(key):
            return named[key]
    if "CPU part" in named:  # ARM: the numbers of who designed it and of the design
        return f"ARM {named.get('CPU implementer', '')} {named['CPU part']}".replace("  ", " ")
    if sys.platform == "darwin":
        return _darwin_model()
    return os.environ.get("PROCESSOR_IDENTIFIER") if sys.platform == "win32" else None


def _first_processor(root: Path) -> Iterator[tuple[str, str]]:
    # Not all of it: a server's file has a megabyte. Not `platform.processor`: it starts `uname`.
    for line in _text(root / "proc/cpuinfo", 4096).splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), " ".join(value.split())
        elif not line.strip():
            return


def _darwin_model() -> str | None:
    import ctypes

    size = ctypes.c_size_t(256)
    buffer = ctypes.create_string_buffer(size.value)
    failed = ctypes.CDLL(None).sysctlbyname(
        b"machdep.cpu.brand_string", buffer, ctypes.byref(size), None, 0
    )
    return None if failed else buffer.value.decode(errors="replace")


def _governor(root: Path) -> str | None:
    cores = sorted(_allowed() or range(os.cpu_count() or 1))[:_MOST_CORES]
    folder = root / "sys/devices/system/cpu"
    found = (_text(folder / f"cpu{core}/cpufreq/scaling_governor") for core in cores)
    return ", ".join(sorted({*found} - {""})) or None


def _virtualization(root: Path) -> str | None:
    if not (root / "proc/self").exists():
        return None  # not Linux
    container, virtual = _container(root), _virtual(root)
    if virtual:
        return f"{container} in a virtual machine" if container else "virtual machine"
    return container or "none"


def _container(root: Path) -> str | None:
    named = _text(root / "run/systemd/container")
    if named:
        return named
    for marker, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / marker).exists():
            return name
    if (root / "var/run/secrets/kubernetes.io").exists():
        return "kubernetes"
    groups = _text(root / "proc/1/cgroup")
    return next((name for part, name in _CONTAINERS if part in groups), None)


def _virtual(root: Path) -> bool:
    flags = dict(_first_processor(root)).get("flags", "").split()
    release = _text(root / "proc/sys/kernel/osrelease").lower()
    vendor = _text(root / "sys/class/dmi/id/sys_vendor").lower()
    return (
        "hypervisor" in flags
        or "microsoft" in release  # WSL
        or (root / "sys/hypervisor/type").exists()
        or any(name in vendor for name in ("qemu", "vmware", "amazon ec2"))
    )


def _text(path: Path, most: int = 65536) -> str:
    """Return the beginning of a file of the system; empty if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(most).decode(errors="replace").strip()
    except OSError:
        return ""
