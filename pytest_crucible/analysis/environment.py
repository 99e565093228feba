"""How the environments of two runs differ: is it fair to compare them?"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run_comparison import BASELINE, CANDIDATE
from pytest_crucible.runs.run import RecordedRun

_ASPECTS = ("machine", "cpu_count", "platform", "python", "implementation")
_MAX_PACKAGES = 8


def environment_differences(
    base: tuple[RecordedRun, Results], cand: tuple[RecordedRun, Results]
) -> list[str]:
    """Return how the environments of two runs differ, one line per difference."""
    old, new = base[0].manifest or {}, cand[0].manifest or {}
    differences = []
    if not old or not new:
        sides = [side for side, manifest in ((BASELINE, old), (CANDIDATE, new)) if not manifest]
        differences.append(f"environment of the {' and the '.join(sides)} unknown: no manifest")
    differences += [
        f"{aspect}: {old[aspect]} → {new[aspect]}"
        for aspect in _ASPECTS
        if old.get(aspect) != new.get(aspect) and old.get(aspect) and new.get(aspect)
    ]
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
