"""Random order of cases, for ``stop="decided"``: those that ran must stand for all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from random import Random

import pytest

from pytest_crucible.session.marker import IDENTITY, TrialIdentity


def seed_base(config: pytest.Config, run: str) -> str:
    """Return what all seeds of a session come from: pytest-randomly's seed, else the run's id."""
    seed = config.getoption("randomly_seed", None)
    return run if seed is None else str(seed)


def seed_of(base: str, experiment: str) -> int:
    """Return the seed of the order of an experiment's cases."""
    return int.from_bytes(hashlib.sha256(f"{base} {experiment}".encode()).digest()[:4], "big")


def unit_of(identity: TrialIdentity) -> str:
    """Return what stays together in the random order: the cluster of the case, else the case."""
    cluster = identity.facts.get("cluster")
    return identity.case if cluster is None else f"cluster {cluster}"


def shuffle_cases(items: list[pytest.Item], experiments: Iterable[str], base: str) -> None:
    """Put the cases of experiments into random order, in place.

    Only the places that an experiment has are dealt anew. Warm-up trials stay before all others;
    arms and trials of a case, and cases of a cluster, stay next to each other, in their order.
    The random state of the user is not touched.
    """
    for name in experiments:
        places, warmups = [], []
        units: dict[str, list[pytest.Item]] = {}
        for place, item in enumerate(items):
            identity = item.stash.get(IDENTITY, None)
            if identity is None or identity.definition.name != name:
                continue
            places.append(place)
            if identity.trial < 0:
                warmups.append(item)
            else:
                units.setdefault(unit_of(identity), []).append(item)
        order = list(units)
        Random(seed_of(base, name)).shuffle(order)  # noqa: S311 (no secret)
        dealt = [*warmups, *(item for unit in order for item in units[unit])]
        for place, item in zip(places, dealt, strict=True):
            items[place] = item
