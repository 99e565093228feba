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
    from pytest_crucible._catalog import EventInfo as EventInfo
    from pytest_crucible._catalog import define_event as define_event
    from pytest_crucible._catalog import event_info as event_info
    from pytest_crucible._catalog import list_events as list_events
    from pytest_crucible._enrich import Enriched as Enriched
    from pytest_crucible._errors import ArtifactError as ArtifactError
    from pytest_crucible._errors import CrucibleError as CrucibleError
    from pytest_crucible._errors import DefinitionError as DefinitionError
    from pytest_crucible._errors import ExpectationError as ExpectationError
    from pytest_crucible._errors import LifecycleError as LifecycleError
    from pytest_crucible._errors import MissingExtraError as MissingExtraError
    from pytest_crucible._errors import OutputError as OutputError
    from pytest_crucible._errors import ValidationError as ValidationError
    from pytest_crucible._event import Event as Event
    from pytest_crucible._join import join as join
    from pytest_crucible.adapters import JSONLMetrics as JSONLMetrics
    from pytest_crucible.adapters import LogEntry as LogEntry
    from pytest_crucible.adapters import MetricsAdapter as MetricsAdapter
    from pytest_crucible.artifact.anomalous import Anomalies as Anomalies
    from pytest_crucible.artifact.anomalous import Anomaly as Anomaly
    from pytest_crucible.artifact.columns import EventColumns as EventColumns
    from pytest_crucible.artifact.exporters import Exporter as Exporter
    from pytest_crucible.artifact.options import ExportOptions as ExportOptions
    from pytest_crucible.artifact.run import Run as Run
    from pytest_crucible.artifact.run import open_run as open_run
    from pytest_crucible.artifact.trace import Trace as Trace
    from pytest_crucible.artifact.trace import TraceNode as TraceNode
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
    from pytest_crucible.metrics.curves import Curve as Curve
    from pytest_crucible.metrics.curves import Logged as Logged
    from pytest_crucible.metrics.observations import Group as Group
    from pytest_crucible.metrics.streaming import StreamingMetrics as StreamingMetrics
    from pytest_crucible.metrics.values import Metrics as Metrics
    from pytest_crucible.metrics.windows import Window as Window
    from pytest_crucible.report.results import Results as Results
    from pytest_crucible.training import Training as Training

_HOMES = {
    "Anomalies": "artifact.anomalous",
    "Anomaly": "artifact.anomalous",
    "ArtifactError": "_errors",
    "CrucibleError": "_errors",
    "Curve": "metrics.curves",
    "DefinitionError": "_errors",
    "Enriched": "_enrich",
    "Event": "_event",
    "EventColumns": "artifact.columns",
    "EventInfo": "_catalog",
    "Events": "artifact.view",
    "ExpectationError": "_errors",
    "ExperimentHandle": "handle",
    "ExportOptions": "artifact.options",
    "Exporter": "artifact.exporters",
    "Group": "metrics.observations",
    "JSONLMetrics": "adapters",
    "LifecycleError": "_errors",
    "LogEntry": "adapters",
    "Logged": "metrics.curves",
    "Metrics": "metrics.values",
    "MetricsAdapter": "adapters",
    "MissingExtraError": "_errors",
    "OutputError": "_errors",
    "Results": "report.results",
    "Run": "artifact.run",
    "StreamingMetrics": "metrics.streaming",
    "Trace": "artifact.trace",
    "TraceNode": "artifact.trace",
    "Training": "training",
    "ValidationError": "_errors",
    "Window": "metrics.windows",
    "archive": "library",
    "calculate_metrics": "library",
    "cleanup": "library",
    "compare": "library",
    "define_event": "_catalog",
    "event_info": "_catalog",
    "experiment": "library",
    "export": "library",
    "export_multiple": "library",
    "get": "library",
    "is_paused": "library",
    "join": "_join",
    "list_events": "_catalog",
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
