"""How the environments of two runs differ: is it fair to compare them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run_comparison import BASELINE, CANDIDATE
from pytest_crucible.runs.run import RecordedRun

_ASPECTS = ("machine", "cpu_count", "platform", "python", "implementation")
_MAX_PACKAGES = 8
_MACHINE = {
    "cpu_model": ("CPU", "latency rows compare the processors, too"),
    "usable_cores": ("usable cores", "latency of what runs in parallel changes with them"),
    "governor": ("CPU governor", "the clock of the CPU differs, and latency rows with it"),
    "virtualization": ("virtualization", "latency rows compare that, too"),
}
"""What latency depends on: its name in a report, and what a difference means."""
_BUSIER = 0.5
"""One side is busier if each core had so much more to do, in threads."""


def environment_differences(
    base: tuple[RecordedRun, Results], cand: tuple[RecordedRun, Results]
) -> list[str]:
    """Return how the environments of two runs differ, one line per difference."""
    old, new = base[0].manifest or {}, cand[0].manifest or {}
    differences = []
    if not old or not new:
        sides = [side for side, manifest in ((BASELINE, old), (CANDIDATE, new)) if not manifest]
        differences.append(f"environment of the {' and the '.join(sides)} unknown: no manifest")
    # What a process may use says more than what the machine has.
    usable = all(manifest.get("usable_cores") for manifest in (old, new))
    differences += [
        f"{aspect}: {old[aspect]} → {new[aspect]}"
        for aspect in _ASPECTS
        if _differ(old, new, aspect) and not (usable and aspect == "cpu_count")
    ]
    differences += [
        f"{name}: {old[aspect]} → {new[aspect]}; {meaning}"
        for aspect, (name, meaning) in _MACHINE.items()
        if _differ(old, new, aspect)
    ]
    differences += _load_difference(old, new)
    differences += _package_differences(old.get("packages") or {}, new.get("packages") or {})
    before, after = _models(base[1]), _models(cand[1])
    if before != after:
        change = f"{', '.join(before) or 'none'} → {', '.join(after) or 'none'}"
        differences.append(f"models: {change}")
    for side, manifest in ((BASELINE, old), (CANDIDATE, new)):
        git = manifest.get("git") or {}
        if git.get("dirty"):
            commit = str(git.get("commit"))[:10]
            differences.append(f"{side}: recorded from a dirty tree at {commit}")
    return differences


def _differ(old: Mapping[str, Any], new: Mapping[str, Any], aspect: str) -> bool:
    """Whether both sides know an aspect, and it differs."""
    return bool(old.get(aspect) and new.get(aspect) and old[aspect] != new[aspect])


def _load_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line if one side had more to do than it has cores, and the other had less."""
    sides = [(side, *_load(manifest)) for side, manifest in ((BASELINE, old), (CANDIDATE, new))]
    loads = [load / cores for _, load, cores in sides if cores]
    if len(loads) < len(sides) or max(loads) <= 1 or max(loads) - min(loads) < _BUSIER:
        return
    side, load, cores = sides[loads.index(max(loads))]
    other = sides[loads.index(min(loads))][1]
    yield (
        f"load: {load:.1f} on {cores} cores in the {side}, {other:.1f} in the other; the {side} "
        "waited for the CPU, and its latency rows contain that"
    )


def _load(manifest: Mapping[str, Any]) -> tuple[float, int]:
    """Return the larger load of start and end, and the cores of the machine; 0 if unknown.

    Not the cores that the process may use: others run on the rest.
    """
    loads, cores = manifest.get("load") or {}, manifest.get("cpu_count")
    if not loads or not isinstance(cores, int):
        return 0.0, 0
    return max(loads.values()), cores


def _package_differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    changed = [
        f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if not old or not new or not changed:
        return []
    more = f" and {len(changed) - _MAX_PACKAGES} more" if len(changed) > _MAX_PACKAGES else ""
    return [f"packages: {', '.join(changed[:_MAX_PACKAGES])}{more}"]


def _models(results: Results) -> list[str]:
    return sorted(
        {
            model
            for experiment in results.experiments
            for group in experiment.groups.values()
            for model in group.models
        }
    )
