"""``conditions=`` and ``trials=``: makes one item per case, condition and trial, in fair order."""

from __future__ import annotations

from itertools import groupby

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.session.axes import axes_of, stretch_of
from pytest_crucible.session.fixture import CONDITION_PARAM, TRIAL_PARAM
from pytest_crucible.session.marker import (
    IDENTITY,
    condition_id,
    definition_of,
    item_is_unittest,
    trial_id,
)


def expand(metafunc: pytest.Metafunc) -> None:
    """Parametrize a marked test over its trials and conditions.

    An invalid marker is ignored here, because pytest would print an error of this hook with a
    traceback. `session.roles.gather` refuses it in one line.
    """
    try:
        definition = definition_of(metafunc.definition)
        axes = axes_of(definition, _params(metafunc)) if definition else ()
    except (pytest.UsageError, DefinitionError):
        return
    if definition is None or item_is_unittest(metafunc.definition):
        return
    # Conditions vary fastest: the arms of a case run one after the other, so drift hits them alike.
    if definition.trials > 1 or definition.warmup:
        warmups = range(-1, -definition.warmup - 1, -1)
        trials = [*warmups, *range(1, definition.trials + 1)]
        _parametrize(metafunc, TRIAL_PARAM, trials, [trial_id(trial) for trial in trials])
    if definition.conditions and not axes:
        ids = [condition_id(condition) for condition in definition.conditions]
        _parametrize(metafunc, CONDITION_PARAM, definition.conditions, ids)


def _params(metafunc: pytest.Metafunc) -> dict[str, object]:
    """Return the arguments parametrized so far, by marks, fixtures and hooks alike."""
    return dict.fromkeys(name for call in metafunc._calls for name in call.params)


def _parametrize(metafunc: pytest.Metafunc, name: str, values: object, ids: list[str]) -> None:
    metafunc.fixturenames.append(name)
    metafunc.parametrize(name, values, indirect=True, ids=ids, scope="function")  # type: ignore[arg-type]


def counterbalance(items: list[pytest.Item]) -> None:
    """Rotate the order of conditions from block to block, in place.

    If the control always ran first, warm caches would favour the treatment. A block is one trial of
    one case. Items move only inside their block, so fixtures of modules and classes are not set up
    again. Arms that are an axis of the test come together first, as far as that moves no test past
    one that needs another wide fixture.
    """
    _bring_together(items)
    position, block_number = 0, 0
    for key, group in groupby(items, key=_block):
        block = list(group)
        if key is not None and len(block) > 1:
            turn = block_number % len(block)
            items[position : position + len(block)] = block[turn:] + block[:turn]
            block_number += 1
        position += len(block)


def place_warmups(items: list[pytest.Item]) -> None:
    """Keep the warm-up trials of the first cases, and put them before their test's others.

    Collection has made them for every case. Warm-up number 1 is of the first case, number 2 of the
    second, and so on, for each test and arm; with fewer cases, from the first one again.
    """
    cases: dict[object, dict[str, None]] = {}
    for item in items:
        identity = item.stash.get(IDENTITY, None)
        if identity is not None and identity.definition.warmup:
            cases.setdefault((_test(item), identity.condition), {})[identity.case] = None
    if not cases:
        return
    chosen = {key: list(names) for key, names in cases.items()}

    def kept(item: pytest.Item) -> bool:
        identity = item.stash.get(IDENTITY, None)
        if identity is None or identity.trial > 0:
            return True
        number, first = -identity.trial, chosen[_test(item), identity.condition]
        wanted = first[(number - 1) % len(first)]
        return number <= identity.definition.warmup and identity.case == wanted

    placed: list[pytest.Item] = []
    for _, group in groupby(filter(kept, items), key=_test):
        placed += sorted(group, key=lambda item: not is_warmup(item))
    items[:] = placed


def _test(item: pytest.Item) -> object:
    return item.parent, getattr(item, "originalname", item.name)


def is_warmup(item: pytest.Item) -> bool:
    """Whether the item is a warm-up trial, which does not count."""
    identity = item.stash.get(IDENTITY, None)
    return identity is not None and identity.trial < 0


def _bring_together(items: list[pytest.Item]) -> None:
    """Put the arms of a case next to each other, in place, where an axis makes the arms."""
    position = 0
    for key, group in groupby(items, key=_stretch):
        stretch = list(group)
        if key is not None:
            blocks: dict[object, list[pytest.Item]] = {}
            for item in stretch:
                blocks.setdefault(_block(item), []).append(item)
            items[position : position + len(stretch)] = [i for b in blocks.values() for i in b]
        position += len(stretch)


def _stretch(item: pytest.Item) -> object:
    identity = item.stash.get(IDENTITY, None)
    return None if identity is None or not identity.axes else stretch_of(item)


def _block(item: pytest.Item) -> tuple[str, int] | None:
    identity = item.stash.get(IDENTITY, None)
    if identity is None or not (identity.axes or identity.definition.conditions):
        return None
    return identity.case, identity.trial
