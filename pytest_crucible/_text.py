"""Text of others, made fit to be shown: names of models, cases and errors come from anywhere."""

from __future__ import annotations


def one_line(text: str) -> str:
    """On one line, with a blank for each character that a terminal would obey."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
