"""Matching: which cases of baseline and candidate are the same.

A case is known by its content, not by its place. Content is compared by fingerprints; where one
side has none, the id has to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_crucible.events.fingerprint import comparable
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.samples import Sample


@dataclass(frozen=True, slots=True)
class Matching:
    """The cases of two groups.

    Attributes:
        names: the candidate's name of every case that both have, by the baseline's name.
        conflicts: ids that both have, for different content.
        removed, added: the cases that only the baseline has, and only the candidate, without
            conflicts.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @property
    def moved(self) -> int:
        """Number of matched cases that have another id than before."""
        return sum(old != new for old, new in self.names.items())

    def align(self, before: Sample, after: Sample) -> tuple[Sample, Sample]:
        """Return the values of the cases that both sides have, under the candidate's names.

        Where that is one case, processes that measured take its place (`Sample.by_process`).
        Without cases, or if no case is on both sides, all values are returned, but for those of
        ids that stand for different content.
        """
        before, after = self._aligned(before, after)
        if min(before.case_count or 0, after.case_count or 0) > 1:
            return before, after
        return before.by_process(), after.by_process()

    def _aligned(self, before: Sample, after: Sample) -> tuple[Sample, Sample]:
        if before.cases is None or after.cases is None:
            return before, after
        if not self.names:
            if not self.conflicts:
                return before, after
            return before.without(self.conflicts), after.without(self.conflicts)
        before, after = before.only(self.names), after.only({n: n for n in self.names.values()})
        both = before.present() & after.present()
        if both != before.present() or both != after.present():
            same = {name: name for name in both}
            before, after = before.only(same), after.only(same)
        return before, after


def match(base: Group, cand: Group) -> Matching:
    """Match the cases of two groups.

    First those with the same id and the same content; then the rest by content within the same
    test; then by content alone, which matches the arms of two test functions. Ids that are left on
    both sides stand for different content.
    """
    before, after = _contents(base), _contents(cand)
    names = {
        case: case
        for case, content in before.items()
        if case in after and _same(content, after[case])
    }
    for key in (_place, _content):
        if len(names) == min(len(before), len(after)):
            break
        left = _by_key(before, set(names), key)
        right = _by_key(after, set(names.values()), key)
        for shared in left.keys() & right.keys():
            names.update(zip(left[shared], right[shared], strict=False))
    old = [case for case in before if case not in names]
    taken = set(names.values())
    new = [case for case in after if case not in taken]
    conflicts = set(old).intersection(new)
    return Matching(
        names={case: names[case] for case in before if case in names},
        conflicts=tuple(case for case in old if case in conflicts),
        removed=tuple(case for case in old if case not in conflicts),
        added=tuple(case for case in new if case not in conflicts),
    )


@dataclass(frozen=True, slots=True)
class _Content:
    """The fingerprint of a case, None if it is unknown; whether its id is only a position."""

    fingerprint: str | None = None
    positional: bool = False


def _same(one: _Content, other: _Content) -> bool:
    """Whether two contents under the same id are those of one case."""
    if comparable(one.fingerprint, other.fingerprint):
        return one.fingerprint == other.fingerprint
    return not (one.positional or other.positional)


Contents = Mapping[str, _Content]


def _contents(group: Group) -> Contents:
    contents = {trial.case: _Content(trial.fingerprint, trial.positional) for trial in group.trials}
    for case in group.cases:
        if case not in group.enclosing:
            contents.setdefault(case, _Content())
    return contents


def _place(case: str, content: str) -> tuple[str, str]:
    head, bracket, _ = case.partition("[")
    return (head if bracket else ""), content


def _content(_: str, content: str) -> tuple[str, str]:
    return "", content


def _by_key(
    contents: Contents, done: set[str], key: Callable[[str, str], tuple[str, str]]
) -> dict[tuple[str, str], list[str]]:
    """Return the cases that are not done, by content; equal ones in their order."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for case, content in contents.items():
        if case not in done and content.fingerprint is not None:
            found[key(case, content.fingerprint)].append(case)
    return found
