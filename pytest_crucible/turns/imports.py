"""Does a side run the code of its own worktree? An editable install may get in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

ROOTS = (".", "src")
"""Folders of a worktree that hold top-level packages; they come first on the import path."""
_INSTALLED = ("site-packages", "dist-packages")


def strays(imported: Mapping[str, str], tree: Path, checkout: Path) -> Iterator[str]:
    """Yield the modules that came from elsewhere: ``shop from /home/me/shop/lib/shop``.

    Args:
        imported: where the imported modules are, by top-level name.
        tree: the worktree.
        checkout: the user's own working tree.
    """
    for name, place in sorted(imported.items()):
        path = Path(place)
        if path.is_relative_to(tree):
            continue
        inside = path.is_relative_to(checkout) and not _installed(path.relative_to(checkout))
        if inside or any(_is_module(tree / root, name) for root in ROOTS):
            yield f"{name} from {path}"


def _installed(path: Path) -> bool:
    return any(part in _INSTALLED or part.startswith(".") for part in path.parts)


def _is_module(folder: Path, name: str) -> bool:
    return (folder / name / "__init__.py").is_file() or (folder / f"{name}.py").is_file()
