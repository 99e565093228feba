"""A finished experiment to look at, whichever framework trained in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pytest_crucible as crucible


@pytest.fixture
def experiment() -> Iterator[crucible.Experiment]:
    """An experiment outside pytest's own, open while the test runs."""
    with crucible.experiment("training", validate="error") as handle:
        yield handle
    crucible.cleanup(handle)
