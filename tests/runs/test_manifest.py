"""The manifest: surroundings of a run, without secrets, and refused where it is not readable."""

from __future__ import annotations

import json
import platform
import subprocess
import tempfile
import threading
from importlib.metadata import PathDistribution, distributions
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._errors import ArtifactError
from pytest_crucible.capture.frames import SCHEMA
from pytest_crucible.runs.manifest import (
    git_state,
    name_and_version,
    read_manifest,
    redact,
    surroundings,
    write_manifest,
)

SECRET = "hunter2hunter2hunter2"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--api-key={}"],
        ["--api-key", "{}"],
        ["--API_KEY={}"],
        ["--openai-token", "{}"],
        ["--db-password={}"],
        ["--passwd", "{}"],
        ["--pwd={}"],
        ["--client-secret={}=="],
        ["--credentials", "{}"],
        ["--basic-auth", "me:{}"],
        ["-o", "my_token={}"],
        ["-o", "my_token = {}"],
        ["--override-ini=hf_token={}"],
        ["OPENAI_API_KEY={}"],
        ["--header", "Authorization: Bearer {}"],
        ["--header=X-Api-Key: {}"],
        ['--config={{"api_key": "{}"}}'],
        ['--config={{"apikey":"{}"}}'],
        ["--url=https://host/?model=m&access_token={}"],
        ["--dsn=postgres://me:{}@host/db"],
        ["--dsn", "postgres://me:p@{}@host/db"],
        ["--x=sk-{}"],
        ["--x", "sk-ant-{}"],
        ["ghp_{}"],
        ["github_pat_{}"],
        ["xoxb-{}"],
        ["AKIA{}"],
        ["AIza{}"],
        ["eyJ{}.e30.sig"],
        ["--header=X: Bearer {}"],
    ],
)
def test_secrets_are_redacted(arguments: list[str]) -> None:
    """However a secret is spelled on the command line, it is not in the manifest."""
    shown = redact(["pytest", *(each.format(SECRET) for each in arguments), "tests"])
    assert SECRET not in shown
    assert "***" in shown
    assert shown.startswith("pytest ")
    assert shown.endswith(" tests")


def test_ordinary_arguments_are_kept() -> None:
    """What is no secret stays readable, quoted as a shell needs it."""
    arguments = [
        "pytest", "-k", "auth and not slow", "-n2", "tests/test_auth.py::TestToken::test_x[a=1]",
        "--crucible-export=csv", "--db=postgres://host:5432/db",
    ]  # fmt: skip
    assert redact(arguments) == (
        "pytest -k 'auth and not slow' -n2 'tests/test_auth.py::TestToken::test_x[a=1]' "
        "--crucible-export=csv --db=postgres://host:5432/db"
    )


def test_a_flag_after_a_secret_option_is_no_secret() -> None:
    """An option without a value hides nothing of what follows it."""
    assert redact(["--with-token", "-x", "tests"]) == "--with-token -x tests"


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


def test_git_state_tells_commit_branch_and_dirt(tmp_path: Path) -> None:
    """A tracked file that changed makes the tree dirty; results that nobody added do not."""
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "results.csv").write_text("1")
    clean = git_state(tmp_path)
    assert clean is not None
    assert (len(clean["commit"]), clean["branch"], clean["dirty"]) == (40, "trunk", False)
    (tmp_path / "a.py").write_text("2")
    assert git_state(tmp_path) == {**clean, "dirty": True}


def test_git_state_outside_a_repository_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No repository, or no git at all, is no error."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) is None


def test_surroundings_hold_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, packages and the command line are kept, environment variables never are."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    found = surroundings(tmp_path, ["pytest", f"--token={SECRET}"])
    assert found["python"] == platform.python_version()
    assert "numpy" in found["packages"]
    assert found["command_line"] == "pytest '--token=***'"
    assert SECRET not in json.dumps(found)


# --- reading and writing -----------------------------------------------------------------------


def test_manifest_survives_writing(tmp_path: Path) -> None:
    """What was written is read back, with the schema, in lines that a person can read."""
    path = write_manifest(tmp_path, {"run": "r", "nested": {"ä": [1, None]}})
    assert read_manifest(tmp_path) == {"schema": SCHEMA, "run": "r", "nested": {"ä": [1, None]}}
    assert path.read_text(encoding="utf-8").splitlines()[:2] == ["{", f'  "schema": {SCHEMA},']
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "odd", [float("nan"), {(1, 2): 3}, threading.Lock(), 2**80, "\ud800", b"x", {1, 2}]
)
def test_manifest_of_odd_metadata_is_valid_json(odd: Any, tmp_path: Path) -> None:
    """Nothing that an author put into a marker keeps the manifest from being written."""
    path = write_manifest(tmp_path, {"run": "r", "metadata": {"odd": odd}})
    assert "NaN" not in path.read_text()
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert (manifest["run"], list(manifest["metadata"])) == ("r", ["odd"])


def test_run_without_a_manifest_has_none(tmp_path: Path) -> None:
    """A run that was killed has no manifest, which is no error."""
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", ":1: not valid JSON"),
        (b'{\n  "schema": 1,\n  "run": ', ":3: not valid JSON"),
        (b"\xff\xfe", ":1: not valid JSON"),
        (b"[]", ":1: not a manifest: it has no 'schema'"),
        (b'{"run": "r"}', ":1: not a manifest: it has no 'schema'"),
        (b'{"schema": 1}', ":1: not a manifest: it has no 'run'"),
        *(
            (
                b'{"schema": 1, "run": "r", "experiments": %s}' % experiments,
                ": not a manifest: 'experiments' holds no experiments",
            )
            for experiments in (b"[1]", b'{"k": 3}', b'{"k": {"conditions": {}}}')
        ),
        (
            b'{"schema": 99, "run": "r"}',
            ": schema 99, this version reads 1; use the pytest-crucible",
        ),
    ],
)
def test_unreadable_manifest_is_refused(text: bytes, problem: str, tmp_path: Path) -> None:
    """Torn, foreign and newer manifests are told by file and line, in one line."""
    (tmp_path / "manifest.json").write_bytes(text)
    with pytest.raises(ArtifactError) as caught:
        read_manifest(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'manifest.json'}{problem}")
    assert "\n" not in str(caught.value)


@given(st.data())
def test_manifest_torn_anywhere_is_refused(data: st.DataObject) -> None:
    """No prefix of a manifest passes for a whole one."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_manifest(Path(folder), {"run": "r", "list": [1, "two"]})
        whole = path.read_bytes().rstrip()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(ArtifactError, match=r"manifest\.json:\d+: not valid JSON"):
            read_manifest(Path(folder))


def test_names_and_versions_are_those_of_the_metadata() -> None:
    """Read off the first lines of the files, they are what parsing all of them gives."""
    found = list(distributions())
    assert len(found) > 10
    for dist in found:
        assert name_and_version(dist) == (dist.metadata["Name"], dist.metadata["Version"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("", "")),
        ("Name: a\nVersion: 1", ("a", "1")),
        ("Version:2 \nName:  b c \n\nName: no\nVersion: no\n", ("b c", "2")),
        ("Metadata-Version: 2.1\nName: a\nSummary: Version: 9\n", ("a", "")),
        ("Dynamic: Name\n\nName: body\n", ("", "")),
    ],
)
def test_name_and_version_of_odd_files(
    text: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    """Only the head counts, and a field that is missing is empty."""
    folder = tmp_path / "a-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(text)
    assert name_and_version(PathDistribution(folder)) == expected
