"""Events in a notebook: few of them, and all text is text."""

from __future__ import annotations

import pytest

from pytest_crucible.queries.event_table import SHOWN
from tests.made_events import event
from tests.queries.support import view
from tests.test_html import ELEMENTS, HOSTILE, Tags


@pytest.mark.parametrize("number", [0, 1, SHOWN, SHOWN + 1, 1000])
def test_first_and_last_are_shown(number: int) -> None:
    """However many there are, the table is small, and says how many it leaves out."""
    found = view([event(f"e{n}.", at_us=n) for n in range(number)])._repr_html_()
    names = [f"e{n}." for n in range(number) if f">e{n}.<" in found]
    assert len(names) == min(number, SHOWN)
    assert names[:1] + names[-1:] == ([] if not number else ["e0.", f"e{number - 1}."])
    assert f"<caption>{number:,} event{'s'[: number != 1]}" in found
    assert (f", {SHOWN} of them shown" in found) is (number > SHOWN)


def test_hostile_and_long_values_are_short_text() -> None:
    """Names, keys and values are no markup, and a prompt does not fill the page."""
    metadata = {HOSTILE: HOSTILE, "prompt": "x" * 10_000, "lines": "a\nb\x1b[31m"}
    found = view([event(HOSTILE, metadata=metadata, measurements={"n": 1})])._repr_html_()
    assert Tags(found).names == ELEMENTS
    assert HOSTILE in Tags(found).text
    assert len(found) < 1000
    assert "\x1b" not in found
