"""Tables for notebooks: whatever the names are, they are text."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._html import short_number, table

HOSTILE = "<script>alert('x')</script>&\"<td>"


class Tags(HTMLParser):
    """Which elements there are, and the text in them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


ELEMENTS = {"table", "caption", "thead", "tbody", "tr", "th", "td"}


def test_names_are_no_markup() -> None:
    """Caption, columns and cells are escaped."""
    found = Tags(table(HOSTILE, (HOSTILE,), [(HOSTILE,)]))
    assert found.names == ELEMENTS
    assert found.text == HOSTILE * 3


@given(st.text(), st.text())
def test_no_text_makes_an_element(caption: str, cell: str) -> None:
    """Not one that any text holds."""
    assert Tags(table(caption, (), [(cell,)])).names == ELEMENTS - {"thead", "th"}


def test_numbers_stand_on_the_right_and_nothing_is_empty() -> None:
    """Truth values are words."""
    found = table("c", (), [(1, 0.25, None, True)])
    assert 'right">1</td>' in found
    assert 'right">0.25</td>' in found
    assert 'left"></td>' in found
    assert 'left">True</td>' in found


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1_234_567, "1,234,567"),
        (2.0, "2"),
        (0.000123456, "0.0001235"),
        (1234.5678, "1,235"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (10**20, "100,000,000,000,000,000,000"),
        (1e300, "1e+300"),
    ],
)
def test_numbers_are_short(value: float, shown: str) -> None:
    """Whole ones with all their digits, others with four."""
    assert short_number(value) == shown
