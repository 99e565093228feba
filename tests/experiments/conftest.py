"""An experiment that runs, and is forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pytest_crucible as crucible


@pytest.fixture
def experiment() -> Iterator[crucible.Experiment]:
    with crucible.experiment("exp", condition="sgd") as handle:
        yield handle
    crucible.cleanup(handle)
