"""A spool with small segments, and a spool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_crucible.record.spool import SpoolStore
from tests.record.support import header, small_segments


@pytest.fixture
def _small() -> Iterator[None]:
    with small_segments():
        yield


@pytest.fixture
def store(tmp_path: Path) -> SpoolStore:
    return SpoolStore(tmp_path / "main.spool", header())
