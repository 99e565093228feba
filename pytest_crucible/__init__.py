"""pytest-crucible: tests of AI/ML code as experiments.

Under pytest, mark a test with ``@pytest.mark.experiment("name")``. Outside::

    import pytest_crucible as crucible

    with crucible.experiment("name", condition="control") as exp:
        ...
    print(exp.metrics().latency.p95)

This package imports its modules when a name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from pytest_crucible import telemetry as telemetry
    from pytest_crucible import tests as tests
    from pytest_crucible._errors import ArtifactError as ArtifactError
    from pytest_crucible._errors import AttributionWarning as AttributionWarning
    from pytest_crucible._errors import CrucibleError as CrucibleError
    from pytest_crucible._errors import DefinitionError as DefinitionError
    from pytest_crucible._errors import ExpectationError as ExpectationError
    from pytest_crucible._errors import LifecycleError as LifecycleError
    from pytest_crucible._errors import MissingExtraError as MissingExtraError
    from pytest_crucible._errors import OutputError as OutputError
    from pytest_crucible._errors import ValidationError as ValidationError
    from pytest_crucible.analysis.results import Arm as Arm
    from pytest_crucible.analysis.results import Results as Results
    from pytest_crucible.analysis.run import Run as Run
    from pytest_crucible.analysis.run import open_run as open_run
    from pytest_crucible.events.catalog import EventInfo as EventInfo
    from pytest_crucible.events.catalog import define_event as define_event
    from pytest_crucible.events.catalog import event_info as event_info
    from pytest_crucible.events.catalog import list_events as list_events
    from pytest_crucible.events.enrichment import Enriched as Enriched
    from pytest_crucible.events.event import Event as Event
    from pytest_crucible.experiments.adapters import JSONLMetrics as JSONLMetrics
    from pytest_crucible.experiments.adapters import LogEntry as LogEntry
    from pytest_crucible.experiments.adapters import MetricsAdapter as MetricsAdapter
    from pytest_crucible.experiments.current import case as case
    from pytest_crucible.experiments.exporting import export as export
    from pytest_crucible.experiments.exporting import export_multiple as export_multiple
    from pytest_crucible.experiments.handle import Experiment as Experiment
    from pytest_crucible.experiments.join import join as join
    from pytest_crucible.experiments.library import archive as archive
    from pytest_crucible.experiments.library import cleanup as cleanup
    from pytest_crucible.experiments.library import experiment as experiment
    from pytest_crucible.experiments.library import get as get
    from pytest_crucible.experiments.library import is_paused as is_paused
    from pytest_crucible.experiments.library import list_experiments as list_experiments
    from pytest_crucible.experiments.library import pause as pause
    from pytest_crucible.experiments.library import paused as paused
    from pytest_crucible.experiments.library import resume as resume
    from pytest_crucible.experiments.library import start as start
    from pytest_crucible.experiments.library import stop as stop
    from pytest_crucible.experiments.training import Training as Training
    from pytest_crucible.experiments.verdicts import Comparisons as Comparisons
    from pytest_crucible.experiments.verdicts import Verdicts as Verdicts
    from pytest_crucible.experiments.verdicts import compare as compare
    from pytest_crucible.experiments.verdicts import judge as judge
    from pytest_crucible.exports.formats import Exporter as Exporter
    from pytest_crucible.exports.formats import Format as Format
    from pytest_crucible.exports.options import ExportOptions as ExportOptions
    from pytest_crucible.metrics.catalog import Metric as Metric
    from pytest_crucible.metrics.curves import Curve as Curve
    from pytest_crucible.metrics.curves import Logged as Logged
    from pytest_crucible.metrics.observations import Group as Group
    from pytest_crucible.metrics.streaming import StreamingMetrics as StreamingMetrics
    from pytest_crucible.metrics.values import Metrics as Metrics
    from pytest_crucible.queries.anomalies import Anomalies as Anomalies
    from pytest_crucible.queries.anomalies import Anomaly as Anomaly
    from pytest_crucible.queries.columns import EventColumns as EventColumns
    from pytest_crucible.queries.events import Events as Events
    from pytest_crucible.queries.trace import Trace as Trace
    from pytest_crucible.queries.trace import TraceNode as TraceNode
    from pytest_crucible.queries.windows import Window as Window
    from pytest_crucible.session.case_files import cases as cases
    from pytest_crucible.stats.agreement import Agreement as Agreement
    from pytest_crucible.stats.agreement import cohen_kappa as cohen_kappa
    from pytest_crucible.stats.agreement import krippendorff_alpha as krippendorff_alpha

_HOMES = {
    "Agreement": "stats.agreement",
    "Anomalies": "queries.anomalies",
    "Anomaly": "queries.anomalies",
    "Arm": "analysis.results",
    "ArtifactError": "_errors",
    "AttributionWarning": "_errors",
    "Comparisons": "experiments.verdicts",
    "CrucibleError": "_errors",
    "Curve": "metrics.curves",
    "DefinitionError": "_errors",
    "Enriched": "events.enrichment",
    "Event": "events.event",
    "EventColumns": "queries.columns",
    "EventInfo": "events.catalog",
    "Events": "queries.events",
    "ExpectationError": "_errors",
    "Experiment": "experiments.handle",
    "ExportOptions": "exports.options",
    "Exporter": "exports.formats",
    "Format": "exports.formats",
    "Group": "metrics.observations",
    "JSONLMetrics": "experiments.adapters",
    "LifecycleError": "_errors",
    "LogEntry": "experiments.adapters",
    "Logged": "metrics.curves",
    "Metric": "metrics.catalog",
    "Metrics": "metrics.values",
    "MetricsAdapter": "experiments.adapters",
    "MissingExtraError": "_errors",
    "OutputError": "_errors",
    "Results": "analysis.results",
    "Run": "analysis.run",
    "StreamingMetrics": "metrics.streaming",
    "Trace": "queries.trace",
    "TraceNode": "queries.trace",
    "Training": "experiments.training",
    "ValidationError": "_errors",
    "Verdicts": "experiments.verdicts",
    "Window": "queries.windows",
    "archive": "experiments.library",
    "case": "experiments.current",
    "cases": "session.case_files",
    "cleanup": "experiments.library",
    "cohen_kappa": "stats.agreement",
    "compare": "experiments.verdicts",
    "define_event": "events.catalog",
    "event_info": "events.catalog",
    "experiment": "experiments.library",
    "export": "experiments.exporting",
    "export_multiple": "experiments.exporting",
    "get": "experiments.library",
    "is_paused": "experiments.library",
    "join": "experiments.join",
    "judge": "experiments.verdicts",
    "krippendorff_alpha": "stats.agreement",
    "list_events": "events.catalog",
    "list_experiments": "experiments.library",
    "open_run": "analysis.run",
    "pause": "experiments.library",
    "paused": "experiments.library",
    "resume": "experiments.library",
    "start": "experiments.library",
    "stop": "experiments.library",
}

_MODULES = ("telemetry", "tests")

__all__ = sorted([*_HOMES, *_MODULES])


if not TYPE_CHECKING:  # type checkers would accept every misspelt name

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            value = version("pytest-crucible")
        elif name in _MODULES:
            value = import_module(f"pytest_crucible.{name}")
        elif name in _HOMES:
            value = getattr(import_module(f"pytest_crucible.{_HOMES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
