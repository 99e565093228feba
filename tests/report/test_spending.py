"""What the summary says of calls, their cost, and calls that nobody told of."""

from __future__ import annotations

import pytest

from pytest_crucible.metrics.spending import Spending
from pytest_crucible.report.spending import spending_lines

OPENAI, CLAUDE, OTHER = "h (openai)", "h (anthropic)", "h (other)"


def unseen(providers: set[str], place: str) -> str | None:
    """The line about calls that no span told of."""
    spending = Spending(
        calls=len(providers), providers=tuple(providers),
        http_calls={place: 1},
    )  # fmt: skip
    lines = [text for text, _ in spending_lines({"default": spending})]
    return next((text for text in lines if "HTTP call" in text), None)


@pytest.mark.parametrize(
    ("providers", "place", "advice"),
    [
        (set(), OPENAI, "genai-openai"), (set(), CLAUDE, "anthropic>=2"), (set(), OTHER, "install"),
        # One client tells of its calls, and the other does not: sums would silently be too low.
        ({"anthropic"}, OPENAI, "genai-openai"), ({"openai"}, CLAUDE, "anthropic>=2"),
        # Many speak OpenAI's protocol under names of their own; some calls name nobody.
        ({"openai"}, OPENAI, None), ({"groq"}, OPENAI, None), ({""}, OPENAI, None),
        ({"anthropic"}, CLAUDE, None), ({""}, CLAUDE, None), ({"x"}, OTHER, None),
        ({"openai", "anthropic"}, OPENAI, None), ({"openai", "anthropic"}, CLAUDE, None),
    ],
)  # fmt: skip
def test_calls_that_nobody_told_of(providers: set[str], place: str, advice: str | None) -> None:
    """They are noticed per protocol, with the line that helps."""
    line = unseen(providers, place)
    if advice is None:
        assert line is None
    else:
        assert line is not None
        assert line.startswith("1 HTTP call to a model host (h) but no spans: ")
        assert advice in line


def test_both_sums_and_what_is_unpriced() -> None:
    """The application's cost, the judge's, per passed case, and at most three reasons."""
    spending = Spending(
        calls=12, judge_calls=4, application_usd=4.0, judge_usd=8.0, usd_per_passed_case=2.0,
        unpriced={"a": 1, "b\x1b[31m\nc": 3, "d": 1, "e" * 500: 2},
    )  # fmt: skip
    (first, _), (second, attention) = spending_lines({"default": spending})
    assert first == "8 calls $4 · 4 calls of judges $8 · $2 per passed case"
    assert second.startswith("7 of 12 calls unpriced: 3 × b [31m c, 2 × eee")
    assert second.endswith(", 1 × a, and 1 other reason")
    assert len(second) < 300
    assert attention
