"""``conditions=`` and ``trials=``: each case becomes items of its own, in a fair order."""

from __future__ import annotations

from itertools import groupby

import pytest

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

    A marker that makes no sense is left alone here: pytest would print an error of this hook with
    a traceback. `session.roles.gather` refuses it in one line.
    """
    try:
        definition = definition_of(metafunc.definition)
    except pytest.UsageError:
        return
    if definition is None or item_is_unittest(metafunc.definition):
        return
    # Conditions vary fastest, so that the arms of a case stand side by side and drift hits both.
    if definition.trials > 1:
        trials = range(1, definition.trials + 1)
        _parametrize(metafunc, TRIAL_PARAM, trials, [trial_id(trial) for trial in trials])
    if definition.conditions:
        ids = [condition_id(condition) for condition in definition.conditions]
        _parametrize(metafunc, CONDITION_PARAM, definition.conditions, ids)


def _parametrize(metafunc: pytest.Metafunc, name: str, values: object, ids: list[str]) -> None:
    metafunc.fixturenames.append(name)
    metafunc.parametrize(name, values, indirect=True, ids=ids, scope="function")  # type: ignore[arg-type]


def counterbalance(items: list[pytest.Item]) -> None:
    """Rotate the order of conditions from block to block, in place.

    If control always ran first, warm caches would favour treatment. A block is one trial of one
    case; only neighbours change places, so module and class fixtures are undisturbed.
    """
    position, block_number = 0, 0
    for key, group in groupby(items, key=_block):
        block = list(group)
        if key is not None and len(block) > 1:
            turn = block_number % len(block)
            items[position : position + len(block)] = block[turn:] + block[:turn]
            block_number += 1
        position += len(block)


def _block(item: pytest.Item) -> tuple[str, int] | None:
    identity = item.stash.get(IDENTITY, None)
    if identity is None or not identity.definition.conditions:
        return None
    return identity.case, identity.trial
