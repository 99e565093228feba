"""No test leaves an experiment behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pytest_crucible as crucible


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)
