"""What the bus carries during a test; no handler outlives one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_crucible import telemetry
from tests.capture.support import Heard


@pytest.fixture(autouse=True)
def _no_handler_left() -> Iterator[None]:
    yield
    for handler in telemetry.list_handlers():
        telemetry.detach(handler.id)


@pytest.fixture
def heard() -> Heard:
    """Every event that the bus carries during the test, as it was when it was emitted."""
    events: Heard = []
    telemetry.attach("heard", "*", lambda n, m, d, _: events.append((n, dict(m), dict(d))))
    return events
