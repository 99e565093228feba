"""The manifest: all facts about a run, except its events.

It holds no environment variables, and ``***`` in place of arguments that look like secrets.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import msgspec

from pytest_crucible._errors import ArtifactError
from pytest_crucible._files import replacing
from pytest_crucible.capture.frames import SCHEMA
from pytest_crucible.exports.rows import to_json
from pytest_crucible.runs.machine import machine_facts

NAME = "manifest.json"

_SENSITIVE = r"(?:key|token|secret|passw(?:or)?d|passphrase|pwd|credential|auth)"
_SECRET_OPTION = re.compile(rf"(?i)-[^=]*{_SENSITIVE}[^=]*$")  # its value is the next argument
# NAME=value anywhere: an option, `-o NAME=value`, a URL's query; NAME: value in headers and JSON.
_ASSIGNED = re.compile(rf"(?is)([\w.-]*{_SENSITIVE}[\w.-]*[\"']?\s*(?:=|:(?=[\s\"'])))\s*\S.*")
_URL_PASSWORD = re.compile(r"(\w+://[^/\s:@]*:)[^/\s]+@")
_KEY_LIKE = re.compile(
    r"\b((?:sk|pk|gh[opsru]|github_pat|glpat|xox[abeprs]|hf)[-_]|AKIA|AIza|eyJ|Bearer\s+)"
    r"[A-Za-z0-9_.-]{12,}"
)


def surroundings(
    folder: Path, arguments: Sequence[str], load_at_start: float | None = None
) -> dict[str, Any]:
    """Describe machine, versions and commit: they tell whether two runs are comparable.

    Args:
        folder: the folder whose git repository is described.
        arguments: the command line.
        load_at_start: of the machine, when the run began; None if that is unknown.
    """
    return {
        "command_line": redact(arguments),
        "git": git_state(folder),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        **machine_facts(load_at_start),
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Return the versions of the installed packages, by name."""
    versions: dict[str, str] = {}
    for dist in distributions():
        name, number = name_and_version(dist)
        if name:
            # If a package is installed twice, `import` takes the first.
            versions.setdefault(name, number)
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def name_and_version(dist: Distribution) -> tuple[str, str]:
    """Return name and version of a distribution; an empty string if it has none."""
    # Reads only the head of the file: `dist.metadata` parses the whole description, once for the
    # name and once for the version, which took 0.25 s for a hundred packages.
    text = dist.read_text("METADATA") or dist.read_text("PKG-INFO") or ""
    head = "\n" + text.partition("\n\n")[0] + "\n"
    return _header(head, "\nName:"), _header(head, "\nVersion:")


def _header(head: str, name: str) -> str:
    start = head.find(name)
    if start < 0:
        return ""
    start += len(name)
    return head[start : head.index("\n", start)].strip()


def redact(arguments: Sequence[str]) -> str:
    """Return the command line with ``***`` in place of everything that looks like a secret."""
    shown = []
    hide_next = False
    for argument in arguments:
        if hide_next and not argument.startswith("-"):
            argument = "***"
        hide_next = bool(_SECRET_OPTION.match(argument))
        argument = _ASSIGNED.sub(r"\1***", argument)
        argument = _URL_PASSWORD.sub(r"\1***@", argument)
        shown.append(_KEY_LIKE.sub(r"\1***", argument))
    return shlex.join(shown)


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit, branch and whether the tree is dirty; None without git or a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit,
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "dirty": None if status is None else bool(status),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=10, check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write_manifest(folder: Path, manifest: dict[str, Any]) -> Path:
    """Write ``folder/manifest.json``, completely or not at all."""
    path = folder / NAME
    with replacing(path) as file:
        data = to_json({"schema": SCHEMA, **manifest})  # never raises, whatever values a marker has
        file.write(msgspec.json.format(data, indent=2).decode() + "\n")
    return path


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a run folder; None if the run ended before it wrote one.

    Raises:
        ArtifactError: the manifest is torn, or has a schema that this version does not read.
    """
    path = folder / NAME
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise ArtifactError(f"{path}:{line}: not valid JSON: {error}") from error
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise ArtifactError(f"{path}:1: not a manifest: it has no 'schema'")
    if manifest["schema"] != SCHEMA:
        raise ArtifactError(
            f"{path}: schema {manifest['schema']!r}, this version reads {SCHEMA}; "
            "use the pytest-crucible that wrote it"
        )
    if "run" not in manifest:
        raise ArtifactError(f"{path}:1: not a manifest: it has no 'run'")
    if not _describes(manifest.get("experiments")):
        raise ArtifactError(f"{path}: not a manifest: 'experiments' holds no experiments")
    return manifest


def _describes(experiments: object) -> bool:
    """Return whether ``experiments`` is missing or has the shape that readers need."""
    if experiments is None:
        return True
    return isinstance(experiments, dict) and all(
        isinstance(experiment, dict) and isinstance(experiment.get("definition"), dict)
        for experiment in experiments.values()
    )


def manifest_notes(manifest: Mapping[str, Any] | None) -> list[str]:
    """Return why a record is incomplete: the reasons that only the session itself could know."""
    completeness = (manifest or {}).get("completeness") or {}
    return [str(note) for note in completeness.get("notes") or ()]
