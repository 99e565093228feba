"""Text of others, made fit to be shown: names of models, cases and errors come from anywhere."""

from __future__ import annotations

from collections.abc import Iterable


def one_line(text: str) -> str:
    """On one line, with a blank for each character that a terminal would obey."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def text_of(value: object) -> str:
    """``str(value)``; for one that raises, which says so."""
    try:
        return str(value)
    except Exception as error:
        return f"<its text cannot be had: {type(error).__name__}>"


def plural(count: int, noun: str) -> str:
    """``1 event``, ``2,000 events``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def did_you_mean(wrong: str, valid: Iterable[str]) -> str:
    """``did you mean 'model'? ``, with a blank behind it; nothing where nothing valid is close."""
    from difflib import get_close_matches  # here: code under test imports this module

    close = get_close_matches(wrong, sorted(valid), 1)
    return f"did you mean {close[0]!r}? " if close else ""
