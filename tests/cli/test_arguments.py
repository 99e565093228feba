"""Arguments that are paths, in every command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_crucible.cli.arguments import path_argument
from pytest_crucible.cli.main import _parser, main
from tests.made_events import event, write_run

ADDRESS = "s3://bucket/x.zip"
RUN = "run-1"
USES = {
    "show": [[ADDRESS]],
    "export": [
        [ADDRESS, "-o", "e.csv"], [RUN, "-o", ADDRESS],
        [RUN, "-o", "e.csv", "--anonymize", "--anonymize-key-file", ADDRESS],
    ],
    "merge": [[ADDRESS, "-o", "m"], [RUN, ADDRESS, "-o", "m"], [RUN, "-o", ADDRESS]],
    "archive": [[ADDRESS, "-o", "a.zip"], [RUN, "-o", ADDRESS]],
    "recover": [[ADDRESS]],
    "compare": [
        [ADDRESS, RUN], [RUN, ADDRESS], [RUN, RUN, ADDRESS], [RUN, RUN, "--markdown", ADDRESS],
        [RUN, RUN, f"--json={ADDRESS}"], [RUN, RUN, f"--junit={ADDRESS}"],
    ],
    "gate": [[ADDRESS], [RUN, "--markdown", ADDRESS]],
    "ab": [["HEAD", f"--output={ADDRESS}"]],
    "plan": [["--pilot", ADDRESS, "--effect", "0.1"]],
    "events": [["--load", ADDRESS]],
    "metrics": [],  # takes no path
}  # fmt: skip
"""Every place of every command that takes a path."""


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in _parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


@pytest.mark.parametrize(
    "arguments", [[command, *use] for command, uses in USES.items() for use in uses], ids=" ".join
)
def test_the_address_of_a_storage_is_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Exit code 2, what is missing, and no folder ``s3:``; nothing else is written either."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / RUN, [event()])
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    reason = "there is no storage for s3:// in this version; give a local path"
    assert (out, err) == ("", f"crucible: {ADDRESS}: {reason}\n")
    assert [each.name for each in tmp_path.iterdir()] == [RUN]


def test_every_command_is_tried() -> None:
    """A command, or a path of one, that comes later is asked the same."""
    paths = {}
    for name, parser in commands():
        actions = [each for each in parser._actions if each.type in (Path, path_argument)]
        assert all(each.type is path_argument for each in actions)
        paths[name] = len(actions)
    assert paths == {
        "show": 2, "export": 3, "merge": 2, "archive": 2, "recover": 2, "compare": 2, "gate": 1,
        "plan": 1, "events": 1, "metrics": 0, "ab": 1,
    }  # fmt: skip
    assert set(paths) == set(USES)
