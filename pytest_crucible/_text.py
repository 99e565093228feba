"""Makes foreign text safe to show: names of models, cases and errors may contain anything."""

from __future__ import annotations

from collections.abc import Iterable


def one_line(text: str) -> str:
    """Put a text on one line; a blank replaces every control character."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def text_of(value: object) -> str:
    """Return ``str(value)``; if that raises, a text that says so."""
    try:
        return str(value)
    except Exception as error:
        return f"<no text: str() raised {type(error).__name__}>"


def plural(count: int, noun: str) -> str:
    """Return count and noun: ``1 event``, ``2,000 events``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def did_you_mean(wrong: str, valid: Iterable[str]) -> str:
    """``did you mean 'model'? ``, with a blank behind it; nothing where nothing valid is close."""
    from difflib import get_close_matches  # here: code under test imports this module

    close = get_close_matches(wrong, sorted(valid), 1)
    return f"did you mean {close[0]!r}? " if close else ""
