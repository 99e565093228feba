"""Options of an export: what makes no sense is refused before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.exports.options import ExportOptions

KEY = b"sixteen bytes..."


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flatten": True, "pretty": True, "columns": ["event", "metadata.*"]},
        {"anonymize": "hash", "anonymize_key": KEY, "anonymize_fields": ["a"]},
        {"anonymize": "drop", "anonymize_fields": ("a",), "anonymize_keep": ("b",)},
    ],
)
def test_what_makes_sense_is_kept(options: dict[str, Any]) -> None:
    """All options may be combined."""
    made = ExportOptions(**options)
    assert {name: getattr(made, name) for name in options} == options


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"columns": "event"}, "columns='event': it takes a list of names"),
        (
            {"anonymize": "hash", "anonymize_fields": "user"},
            "anonymize_fields='user': it takes a list of names",
        ),
        ({"anonymize": "hsah"}, "anonymize='hsah' is not one of hash, drop"),
        ({"anonymize": True}, "anonymize=True is not one of hash, drop"),
        ({"anonymize_keep": ["a"]}, "anonymize is not set"),
        ({"anonymize_key": KEY}, "anonymize is not set"),
        ({"anonymize": "drop", "anonymize_key": KEY}, "is for anonymize='hash'"),
        ({"anonymize": "hash", "anonymize_key": b"short"}, "has 5 bytes, it takes at least 16"),
        (
            {"anonymize": "drop", "anonymize_fields": ["b", "a"], "anonymize_keep": ["a", "b"]},
            "'a' is to be anonymized and to be kept",
        ),
    ],
)
def test_what_makes_none_is_one_line(options: dict[str, Any], problem: str) -> None:
    """It names the value, or what else would have to be set."""
    with pytest.raises(DefinitionError, match=problem):
        ExportOptions(**options)


def test_the_key_is_not_shown() -> None:
    """Options end up in logs and tracebacks."""
    shown = repr(ExportOptions(anonymize="hash", anonymize_key=KEY))
    assert "sixteen" not in shown
