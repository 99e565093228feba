"""What every command prints: lines, in colour where the terminal has it."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cli.support import CRUCIBLE


def test_reader_that_leaves_early_is_no_error(run: Path) -> None:
    """``crucible show … | head -0`` ends quietly."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run([*CRUCIBLE, "show", run], stdout=write_end, stderr=subprocess.PIPE)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("plain", [False, True])
def test_colours_are_for_terminals_that_want_them(plain: bool, run: Path) -> None:
    """A terminal gets verdicts in colour, unless NO_COLOR is set."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"NO_COLOR": "1"} if plain else {}
    try:
        subprocess.run([*CRUCIBLE, "show", run], stdout=theirs, env=environment, check=True)
        shown = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    verdict = "REJECTED  exp: it works"
    assert shown.startswith(f"{verdict}\r\n" if plain else f"\033[31m{verdict}\033[0m\r\n")
