"""pytest-crucible: tests of AI/ML code as experiments.

Under pytest, mark a test with ``@pytest.mark.experiment("name")``. Outside::

    import pytest_crucible as crucible

    with crucible.experiment("name", condition="control") as exp:
        ...
    print(exp.metrics().latency.p95)

Importing this package imports none of its parts; each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_crucible import telemetry as telemetry
    from pytest_crucible._enrich import Enriched as Enriched
    from pytest_crucible._errors import ArtifactError as ArtifactError
    from pytest_crucible._errors import CrucibleError as CrucibleError
    from pytest_crucible._errors import DefinitionError as DefinitionError
    from pytest_crucible._errors import ExpectationError as ExpectationError
    from pytest_crucible._errors import LifecycleError as LifecycleError
    from pytest_crucible._errors import MissingExtraError as MissingExtraError
    from pytest_crucible._errors import OutputError as OutputError
    from pytest_crucible._event import Event as Event
    from pytest_crucible._join import join as join
    from pytest_crucible.artifact.exporters import Exporter as Exporter
    from pytest_crucible.artifact.options import ExportOptions as ExportOptions
    from pytest_crucible.artifact.run import Run as Run
    from pytest_crucible.artifact.run import open_run as open_run
    from pytest_crucible.artifact.view import Events as Events
    from pytest_crucible.handle import ExperimentHandle as ExperimentHandle
    from pytest_crucible.library import archive as archive
    from pytest_crucible.library import calculate_metrics as calculate_metrics
    from pytest_crucible.library import cleanup as cleanup
    from pytest_crucible.library import compare as compare
    from pytest_crucible.library import experiment as experiment
    from pytest_crucible.library import export as export
    from pytest_crucible.library import export_multiple as export_multiple
    from pytest_crucible.library import get as get
    from pytest_crucible.library import is_paused as is_paused
    from pytest_crucible.library import list_experiments as list_experiments
    from pytest_crucible.library import pause as pause
    from pytest_crucible.library import paused as paused
    from pytest_crucible.library import resume as resume
    from pytest_crucible.library import start as start
    from pytest_crucible.library import stop as stop
    from pytest_crucible.metrics.observations import Group as Group
    from pytest_crucible.metrics.summary import Metrics as Metrics
    from pytest_crucible.metrics.windows import Window as Window
    from pytest_crucible.report.results import Results as Results

_HOMES = {
    "ArtifactError": "_errors",
    "CrucibleError": "_errors",
    "DefinitionError": "_errors",
    "Enriched": "_enrich",
    "Event": "_event",
    "Events": "artifact.view",
    "ExpectationError": "_errors",
    "ExperimentHandle": "handle",
    "ExportOptions": "artifact.options",
    "Exporter": "artifact.exporters",
    "Group": "metrics.observations",
    "LifecycleError": "_errors",
    "Metrics": "metrics.summary",
    "MissingExtraError": "_errors",
    "OutputError": "_errors",
    "Results": "report.results",
    "Run": "artifact.run",
    "Window": "metrics.windows",
    "archive": "library",
    "calculate_metrics": "library",
    "cleanup": "library",
    "compare": "library",
    "experiment": "library",
    "export": "library",
    "export_multiple": "library",
    "get": "library",
    "is_paused": "library",
    "join": "_join",
    "list_experiments": "library",
    "open_run": "artifact.run",
    "pause": "library",
    "paused": "library",
    "resume": "library",
    "start": "library",
    "stop": "library",
}

__all__ = sorted([*_HOMES, "telemetry"])


def __getattr__(name: str) -> Any:
    if name == "telemetry":
        return import_module("pytest_crucible.telemetry")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"pytest_crucible.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
