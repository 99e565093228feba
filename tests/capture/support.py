"""What the tests of capturing share: what a handler heard."""

from __future__ import annotations

from typing import Any

Heard = list[tuple[str, dict[str, Any], dict[str, Any]]]


def names(heard: Heard) -> list[str]:
    return [name for name, _, _ in heard]
