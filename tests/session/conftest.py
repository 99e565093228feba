"""A session with prices."""

from __future__ import annotations

import pytest

from tests.session.priced import PRICES


@pytest.fixture
def priced(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.path.joinpath("prices.toml").write_text(PRICES)
    pytester.makeini("[pytest]\ncrucible_prices = prices.toml")
    return pytester
