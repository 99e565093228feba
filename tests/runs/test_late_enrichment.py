"""Late enrichment: who was not asked when the run was made is asked when it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pluggy
import pytest

from pytest_crucible.events.enrichment import Enriched
from pytest_crucible.events.event import Event
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.hooks import specs
from pytest_crucible.hooks.installed import _Manager
from pytest_crucible.hooks.plugins import Plugins
from pytest_crucible.runs.late_enrichment import ENRICHERS
from pytest_crucible.runs.manifest import write_manifest
from pytest_crucible.runs.run import open_folder, open_recorded
from tests.made_events import event, recorded, trial_scope, write_run


class Priced:
    """A plugin: a dollar more for every event, so that asking twice shows."""

    def pytest_crucible_enrich(self, event: Event, enriched: Enriched) -> None:
        enriched.cost_usd = (enriched.cost_usd or 0) + 1


def plugins(*found: object) -> Plugins:
    manager: pluggy.PluginManager = _Manager("pytest_crucible")
    manager.add_hookspecs(specs)
    for plugin in found:
        manager.register(plugin, type(plugin).__name__)
    return Plugins([manager], pytest.fail)


ACME = plugins(Priced())
((NAME, _),) = ACME.enrichers()


def run(folder: Path, manifest: Mapping[str, Any] | None) -> Path:
    scope = trial_scope()
    made = write_run(folder / "r", [event(scope=scope), recorded({"score": 1}, scope)])
    if manifest is not None:
        write_manifest(made, {"run": "r", **manifest})
    return made


def costs(folder: Path, asked: Plugins = ACME) -> list[Any]:
    events = open_folder(folder, plugins=asked).events
    return [(each.enriched or {}).get("cost_usd") for each in events]


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (None, [1, None]),  # killed before anybody was asked
        ({}, [1, None]),  # nobody set anything
        ({ENRICHERS: ["another"]}, [1, None]),
        ({ENRICHERS: [NAME]}, [None, None]),  # it was asked, and had nothing to say then
        ({ENRICHERS: "torn"}, [1, None]),
    ],
)
def test_who_was_not_asked_is_asked(
    manifest: Mapping[str, Any] | None, expected: list[Any], tmp_path: Path
) -> None:
    """Once; and never about events of our own."""
    folder = run(tmp_path, manifest)
    assert costs(folder) == expected
    assert costs(folder) == expected


def test_without_plugins_nothing_changes(tmp_path: Path) -> None:
    """Events are as they were recorded."""
    assert costs(run(tmp_path, None), plugins()) == [None, None]


def test_a_file_that_says_more_than_its_events_is_left_alone(tmp_path: Path) -> None:
    """It does not say who was asked: to ask again could count twice."""
    folder, path = run(tmp_path, None), tmp_path / "e.jsonl"
    for asked, expected in ((plugins(), 1), (ACME, 1)):
        opened = open_folder(folder, plugins=asked)
        export_events(lambda opened=opened: opened.events, path, FORMATS["jsonl"])  # type: ignore[misc]
        first = next(iter(open_recorded(path, plugins=ACME).events))
        assert (first.enriched or {})["cost_usd"] == expected
