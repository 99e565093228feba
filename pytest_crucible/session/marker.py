"""The ``experiment`` marker: from decorator to `Definition`, and which trial an item is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible._experiment import Definition, define
from pytest_crucible.stats.expectations import parse

CONDITION_PARAM = "_crucible_condition"
TRIAL_PARAM = "_crucible_trial"
_REPEAT_PARAM = "__pytest_repeat_step_number"  # pytest-repeat: its repetitions are trials too


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialIdentity:
    """Which trial of which experiment a test item is; the same from run to run.

    Attributes:
        test: node id, before other plugins append to it.
        case: node id without condition and trial.
    """

    definition: Definition
    condition: str
    test: str
    case: str
    trial: int


IDENTITY = pytest.StashKey[TrialIdentity]()


def definition_of(item: pytest.Item) -> Definition | None:
    """What the item's closest ``experiment`` marker says; None without one.

    Raises:
        pytest.UsageError: the marker makes no sense; one line that says where and why.
    """
    mark = item.get_closest_marker("experiment")
    if mark is None:
        return None
    try:
        own = [each for each in item.own_markers if each.name == "experiment"]
        if len(own) > 1:
            names = ", ".join(repr(each.args[0] if each.args else None) for each in own)
            raise DefinitionError(f"two markers on one test ({names}); a test has one experiment")
        if len(mark.args) > 1:
            raise DefinitionError(
                f"takes one positional argument, the name; give {mark.args[1]!r} a keyword"
            )
        given = dict(mark.kwargs)
        name = mark.args[0] if mark.args else given.pop("name", None)
        definition = define(name, **given)
        if not isinstance(item, pytest.Function) or item_is_unittest(item):
            _check_no_expansion(definition)
        return definition
    except DefinitionError as error:
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.experiment: {error}") from error


def item_is_unittest(item: pytest.Item) -> bool:
    """Whether the item is a ``unittest.TestCase`` method, which pytest cannot parametrize."""
    unittest = sys.modules.get("unittest")  # not imported: then nothing can be one
    cls = getattr(item, "cls", None)
    return unittest is not None and isinstance(cls, type) and issubclass(cls, unittest.TestCase)


def _check_no_expansion(definition: Definition) -> None:
    if definition.conditions or definition.trials > 1:
        raise DefinitionError(
            "conditions and trials need a pytest function; unittest and doctest items cannot be "
            "parametrized"
        )


def identify(item: pytest.Item, definition: Definition) -> TrialIdentity:
    """Work out which trial an item is."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec is not None else {}
    condition = params.get(CONDITION_PARAM, definition.condition or "default")
    trial = params.get(TRIAL_PARAM, 1)
    case = item.nodeid
    if CONDITION_PARAM in params:
        case = _without(case, condition_id(condition))
    if TRIAL_PARAM in params:
        case = _without(case, trial_id(trial))
    if _REPEAT_PARAM in params:
        step = params[_REPEAT_PARAM]
        trial += step * definition.trials
        case = _without_repeat(case, step)
    return TrialIdentity(
        definition=definition, condition=condition, test=item.nodeid, case=case, trial=trial
    )


def condition_id(condition: str) -> str:
    return condition


def trial_id(trial: int) -> str:
    return f"trial{trial}"


def _without(nodeid: str, part: str) -> str:
    """The node id without one of the parts that parametrization put between the brackets."""
    head, bracket, inner = nodeid.partition("[")
    if not bracket or not inner.endswith("]"):
        return nodeid
    # Ours come after the user's own: take the last one.
    padded = f"-{inner[:-1]}-"
    before, found, after = padded.rpartition(f"-{_escaped(part)}-")
    if not found:
        return nodeid
    rest = f"{before}-{after}".strip("-")
    return f"{head}[{rest}]" if rest else head


def _escaped(part: str) -> str:
    # pytest escapes non-ASCII ids the same way.
    return part.encode("unicode_escape").decode("ascii")


def _without_repeat(nodeid: str, step: int) -> str:
    head, _, inner = nodeid.partition("[")
    parts = inner.rstrip("]").split("-")
    for at in range(len(parts) - 1):
        if parts[at] == str(step + 1) and parts[at + 1].isdigit():
            rest = "-".join(parts[:at] + parts[at + 2 :])
            return f"{head}[{rest}]" if rest else head
    return nodeid


def combine(identities: Iterable[TrialIdentity]) -> dict[str, Definition]:
    """One definition per experiment name, from all the tests that belong to it.

    Raises:
        pytest.UsageError: two tests contradict each other, or an expectation cannot be parsed.
    """
    combined: dict[str, Definition] = {}
    first: dict[str, TrialIdentity] = {}
    conditions: dict[str, dict[str, None]] = {}
    for identity in identities:
        new = identity.definition
        conditions.setdefault(new.name, {}).update(
            dict.fromkeys(new.conditions or (identity.condition,))
        )
        known = combined.get(new.name)
        if known is None:
            combined[new.name], first[new.name] = new, identity
        elif known is not new and known != new:
            combined[new.name] = _merged(known, new, first[new.name], identity)
    for name, arms in conditions.items():
        combined[name] = replace(combined[name], condition=None, conditions=tuple(arms))
        for text in combined[name].expect:
            try:
                parse(text, tuple(arms))
            except DefinitionError as error:
                raise pytest.UsageError(
                    f"{first[name].test}: @pytest.mark.experiment: expect: {error}"
                ) from error
    return combined


def _merged(
    known: Definition, new: Definition, first: TrialIdentity, identity: TrialIdentity
) -> Definition:
    if known.hypothesis and new.hypothesis and known.hypothesis != new.hypothesis:
        raise pytest.UsageError(
            f"{identity.test}: @pytest.mark.experiment: experiment {new.name!r} has the hypothesis "
            f"{new.hypothesis!r} here and {known.hypothesis!r} in {first.test}"
        )
    return replace(
        known,
        hypothesis=known.hypothesis or new.hypothesis,
        tags=tuple(dict.fromkeys(known.tags + new.tags)),
        expect=tuple(dict.fromkeys(known.expect + new.expect)),
        metadata={**new.metadata, **known.metadata},
        sample_size=known.sample_size or new.sample_size,
    )
