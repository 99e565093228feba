"""The ``experiment`` marker: makes its `Definition`, and works out which trial an item is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.metrics.declared import layered
from pytest_crucible.metrics.trials import POSITIONAL
from pytest_crucible.runs.experiment_definition import KEYWORDS, VALIDATE, Definition, define
from pytest_crucible.session.axes import axes_of, split
from pytest_crucible.session.case_facts import case_of, facts_of
from pytest_crucible.session.fixture import CONDITION_PARAM, TRIAL_PARAM
from pytest_crucible.session.settings import SETTINGS
from pytest_crucible.stats.early_checks import parse_checked

_REPEAT_PARAM = "__pytest_repeat_step_number"  # of pytest-repeat; its repetitions are trials, too
_OURS = (CONDITION_PARAM, TRIAL_PARAM, _REPEAT_PARAM)


def marker_line() -> str:
    """What ``pytest --markers`` says: every keyword with its default, then what the marker does."""
    shown = ["name", "*"]
    for each in fields(Definition):
        if each.name in KEYWORDS:
            default = each.default if each.default_factory is MISSING else each.default_factory()
            # That of `failures` depends on others.
            shown.append(f"{each.name}={None if each.name == 'failures' else default!r}")
    return f"experiment({', '.join(shown)}): run this test as an experiment (pytest-crucible)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialIdentity:
    """Which trial of which experiment a test item is; the same from run to run.

    Attributes:
        definition: of the experiment.
        condition: name of the condition, ``default`` if there are none.
        test: node id, before other plugins append to it.
        case: node id without condition and trial.
        trial: number of the trial, from 1; of a warm-up, from -1 downwards.
        facts: what the record says about the case: fingerprint, cluster, slices.
        arm: value of the condition; its name, if it has no other.
        axes: the parametrized arguments that make the condition; empty if none do.
        rank: place of the condition on each axis; the first on all of them is the baseline.
        origin: the definition before its arms were named; None if that is ``definition``.
    """

    definition: Definition
    condition: str
    test: str
    case: str
    trial: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    arm: Any = None
    axes: tuple[str, ...] = ()
    rank: tuple[int, ...] = ()
    origin: Definition | None = None

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """Names of experiment, condition, test and case, and the trial: as in the plan."""
        return self.definition.name, self.condition, self.test, self.case, self.trial

    def in_round(self, number: int, rounds: int) -> TrialIdentity:
        """Return the identity of one round of the trial; a warm-up has only one.

        Args:
            number: of the round, from 1.
            rounds: how many there are; the definition counts them among the trials.
        """
        if self.trial < 0:
            return self
        return replace(self, trial=(self.trial - 1) * rounds + number)


IDENTITY = pytest.StashKey[TrialIdentity]()


def definition_of(
    item: pytest.Item, cache: dict[int, Definition] | None = None
) -> Definition | None:
    """Return the definition of the item's closest ``experiment`` marker; None without a marker.

    Args:
        item: the test.
        cache: definitions by ``id()`` of their marker, kept from call to call, because the items of
            a parametrized test share one marker.

    Raises:
        pytest.UsageError: the marker is invalid; one line that says where and why.
    """
    node = next((parent for parent in item.iter_parents() if _own_marks(parent)), None)
    if node is None:
        return None
    marks = _own_marks(node)
    mark = marks[0]
    try:
        if len(marks) > 1:
            _check_only_one(marks, "one test" if node is item else node.name)
        definition = None if cache is None else cache.get(id(mark))
        if definition is None:
            definition = _define(mark)
            ini = item.config.stash[SETTINGS].metrics
            if ini:
                metrics = layered(ini, definition.metrics)
                definition = replace(definition, metrics=tuple(metrics.values()))
            if cache is not None:
                cache[id(mark)] = definition
        if not isinstance(item, pytest.Function) or item_is_unittest(item):
            _check_no_expansion(definition)
        return definition
    except DefinitionError as error:
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.experiment: {error}") from error


def _own_marks(node: Any) -> list[pytest.Mark]:
    return [mark for mark in node.own_markers if mark.name == "experiment"]


def _define(mark: pytest.Mark) -> Definition:
    if len(mark.args) > 1:
        raise DefinitionError(
            f"takes one positional argument, the name; give {mark.args[1]!r} a keyword"
        )
    keywords = dict(mark.kwargs)
    name = mark.args[0] if mark.args else keywords.pop("name", None)
    definition = define(name, **keywords)
    if definition.pass_if is not None:
        _check_pass_if(definition)
    return definition


def _check_only_one(marks: list[pytest.Mark], owner: str) -> None:
    if len(marks) > 1:
        names = ", ".join(repr(mark.args[0] if mark.args else None) for mark in marks)
        raise DefinitionError(f"two markers on {owner} ({names}); a test has one experiment")


def _check_pass_if(definition: Definition) -> None:
    from pytest_crucible.stats.passing import parse_pass_if

    try:
        parse_pass_if(str(definition.pass_if), definition.trials)
    except ValueError as error:
        raise DefinitionError(str(error)) from error


def item_is_unittest(item: pytest.Item) -> bool:
    """Whether the item is a ``unittest.TestCase`` method, which pytest cannot parametrize."""
    unittest = sys.modules.get("unittest")  # if nobody has imported it, no test can be one
    cls = getattr(item, "cls", None)
    return unittest is not None and isinstance(cls, type) and issubclass(cls, unittest.TestCase)


def _check_no_expansion(definition: Definition) -> None:
    if definition.conditions or definition.axes or definition.trials > 1 or definition.warmup:
        raise DefinitionError(
            "conditions and trials need a pytest function; unittest and doctest items cannot be "
            "parametrized"
        )


def identify(item: pytest.Item, definition: Definition, worker: str | None = None) -> TrialIdentity:
    """Work out which trial an item is.

    Args:
        item: the test.
        definition: of its marker.
        worker: name of this worker with ``--dist each``, where every worker runs every trial: it is
            added to the case, so that the workers' cases differ.

    Raises:
        pytest.UsageError: the marker came too late to run the item once per condition and trial.
    """
    nodeid = test = _node_id(item)
    callspec = getattr(item, "callspec", None)
    params, params_id = ({}, "") if callspec is None else (callspec.params, callspec.id)
    try:
        axes = axes_of(definition, params)
        split_off = split(item, axes) if axes else None
    except DefinitionError as error:
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.experiment: {error}") from error
    expanded = CONDITION_PARAM in params, TRIAL_PARAM in params
    repeated = definition.trials > 1 or definition.warmup > 0
    if expanded != (bool(definition.conditions) and not axes, repeated):
        raise pytest.UsageError(
            f"{nodeid}: @pytest.mark.experiment: conditions and trials need the marker on the "
            "function, its class or its module, not on a parameter or added by a hook"
        )
    condition = params.get(CONDITION_PARAM, definition.condition or "default")
    arm: Any = definition.arms.get(condition, condition)
    rank: tuple[int, ...] = ()
    trial = params.get(TRIAL_PARAM, 1)
    ours = []
    if CONDITION_PARAM in params:
        ours.append(condition_id(condition))
    if TRIAL_PARAM in params:
        ours.append(trial_id(trial))
    if _REPEAT_PARAM in params:
        step = params[_REPEAT_PARAM]
        # Every repetition has warm-ups, too; those after the first are not kept.
        trial += step * definition.trials if trial > 0 else -step * definition.warmup
        # First: a condition "2" must not match a part of the repetition "1-2".
        ours.insert(0, f"{step + 1}-{_repetitions(item)}")
    own = {name: value for name, value in params.items() if name not in _OURS}
    content = {name: value for name, value in own.items() if name not in axes}
    facts = facts_of(item, definition, own, content)
    if split_off is not None:
        condition, arm, rank = split_off.condition, split_off.value, split_off.rank
        nodeid, params_id = split_off.without(nodeid, params_id)
    case = case_of(item, definition, own)
    if case is None:
        case = _case(nodeid, params_id, ours) if ours else nodeid
        if content and _by_position(content, callspec, params_id):
            facts[POSITIONAL] = True
    if worker is not None:
        case = f"{case}@{worker}"
    return TrialIdentity(
        definition=definition, condition=condition, test=test, case=case, trial=trial,
        facts=facts, arm=arm, axes=axes, rank=rank,
    )  # fmt: skip


def name_arms(items: Iterable[pytest.Item]) -> None:
    """Give the definitions of tests whose arms are axes the names of the arms, baseline first."""
    of_test: dict[tuple[int, object], list[pytest.Item]] = {}
    for item in items:
        identity = item.stash.get(IDENTITY, None)
        if identity is not None and identity.axes and identity.origin is None:
            key = id(identity.definition), (item.parent, getattr(item, "originalname", None))
            of_test.setdefault(key, []).append(item)
    for group in of_test.values():
        identities = sorted((item.stash[IDENTITY] for item in group), key=lambda i: i.rank)
        arms = tuple(dict.fromkeys(identity.condition for identity in identities))
        origin = identities[0].definition
        named = replace(origin, conditions=arms, axes=())
        for item in group:
            item.stash[IDENTITY] = replace(item.stash[IDENTITY], definition=named, origin=origin)


def _by_position(params: Mapping[str, Any], callspec: Any, params_id: str) -> bool:
    """Whether pytest numbered some of the parameters: ``row0``, ``row1``, …"""
    parts = params_id.split("-")
    return any(f"{name}{callspec.indices.get(name)}" in parts for name in params)


def _node_id(item: pytest.Item) -> str:
    """Return a test's node id without what xdist's ``--dist loadgroup`` appends to it.

    A marker that a hook adds may come after that.
    """
    groups = [
        str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
        for mark in item.iter_markers("xdist_group")
    ]
    return item.nodeid.removesuffix(f"@{'_'.join(sorted(set(groups)))}") if groups else item.nodeid


def condition_id(condition: str) -> str:
    """Return the part of an item's id that names its condition."""
    return condition


def trial_id(trial: int) -> str:
    """Return the part of an item's id that names its trial."""
    return f"trial{trial}" if trial > 0 else f"warmup{-trial}"


def _repetitions(item: pytest.Item) -> int:
    mark = item.get_closest_marker("repeat")
    return int(mark.args[0] if mark is not None else item.config.getoption("count"))


def _case(nodeid: str, params_id: str, ours: Iterable[str]) -> str:
    """Remove our parameters from a node id.

    Args:
        nodeid: of the item.
        params_id: the text in its brackets.
        ours: ids of condition, trial and repetition. They are removed with the dash on each side,
            so that ``1`` does not match in ``-1``.
    """
    head = nodeid.removesuffix(f"[{params_id}]")
    if head == nodeid:  # another plugin has changed the node id
        return nodeid
    rest = f"-{params_id}-"
    for part in ours:
        rest = _without(rest, part)
    return head if rest == "-" else f"{head}[{rest[1:-1]}]"


def _without(dashed: str, part: str) -> str:
    # pytest escapes non-ASCII ids like this, unless an ini option turns it off.
    for text in (part.encode("unicode_escape").decode("ascii"), part):
        # Our parameters come after the user's own: remove the last match.
        before, match, after = dashed.rpartition(f"-{text}-")
        if match:
            return f"{before}-{after}"
    return dashed


def combine(identities: Iterable[TrialIdentity]) -> dict[str, Definition]:
    """Combine the definitions of all tests of an experiment, for every experiment.

    Returns:
        Definitions by name of the experiment.

    Raises:
        pytest.UsageError: two tests contradict each other, or an expectation cannot be parsed.
    """
    combined: dict[str, Definition] = {}
    first: dict[str, TrialIdentity] = {}
    conditions: dict[str, dict[str, None]] = {}
    seen: set[tuple[int, str]] = set()
    for identity in identities:
        new = identity.definition
        if (id(new), identity.condition) in seen:  # most trials repeat what another has said
            continue
        seen.add((id(new), identity.condition))
        conditions.setdefault(new.name, {}).update(
            dict.fromkeys(new.conditions or (identity.condition,))
        )
        earlier = combined.get(new.name)
        if earlier is None:
            combined[new.name], first[new.name] = new, identity
        elif earlier is not new and earlier != new:
            combined[new.name] = _merged(earlier, new, first[new.name], identity)
    for name, arms in conditions.items():
        combined[name] = replace(combined[name], condition=None, conditions=tuple(arms))
        for text in combined[name].expect:
            try:
                parse_checked(text, tuple(arms), combined[name].metrics)
            except DefinitionError as error:
                raise pytest.UsageError(
                    f"{first[name].test}: @pytest.mark.experiment: expect: {error}"
                ) from error
    return combined


def _merged(
    earlier: Definition, new: Definition, first: TrialIdentity, identity: TrialIdentity
) -> Definition:
    if earlier.hypothesis and new.hypothesis and earlier.hypothesis != new.hypothesis:
        raise pytest.UsageError(
            f"{identity.test}: @pytest.mark.experiment: experiment {new.name!r} has the hypothesis "
            f"{new.hypothesis!r} here and {earlier.hypothesis!r} in {first.test}"
        )
    if earlier.sampling != new.sampling:
        raise pytest.UsageError(
            f"{identity.test}: @pytest.mark.experiment: experiment {new.name!r} has "
            f"sampling={new.sampling!r} here and {earlier.sampling!r} in {first.test}"
        )
    metrics = {metric.path: metric for metric in new.metrics}
    for metric in earlier.metrics:
        if metrics.setdefault(metric.path, metric) != metric:
            raise pytest.UsageError(
                f"{identity.test}: @pytest.mark.experiment: experiment {new.name!r} declares "
                f"{metric.path!r} otherwise here than in {first.test}"
            )
    return replace(
        earlier,
        metrics=tuple(layered(earlier.metrics, new.metrics).values()),
        hypothesis=earlier.hypothesis or new.hypothesis,
        tags=tuple(dict.fromkeys(earlier.tags + new.tags)),
        expect=tuple(dict.fromkeys(earlier.expect + new.expect)),
        slices=tuple(dict.fromkeys(earlier.slices + new.slices)),
        metadata={**new.metadata, **earlier.metadata},
        sample_size=earlier.sample_size or new.sample_size,
        validate=_stricter(earlier.validate, new.validate),
        max_errors=min(
            (each.max_errors for each in (earlier, new) if each.max_errors is not None),
            default=None,
        ),
        sequential=earlier.sequential or new.sequential,
        stop=earlier.stop or new.stop,
        budget_usd=earlier.budget_usd if new.budget_usd is None else new.budget_usd,
    )


def _stricter(first: str | None, second: str | None) -> str | None:
    return max(first, second, key=(None, *VALIDATE).index)
