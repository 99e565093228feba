"""The catalogue of one experiment: built-in metrics, and those that plugins or authors declare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pytest_crucible.metrics.catalog import HIGHER, LOWER, RESERVED_NAMES, Catalog, Metric
from pytest_crucible.runs.experiment_definition import Definition
from pytest_crucible.stats.expression import parse


def catalog_of(
    definition: Definition, arms: Sequence[str], plugins: Iterable[Metric] = ()
) -> Catalog:
    """Return the catalogue of an experiment.

    A declaration of the author overrides that of a plugin. If nobody declares which direction of a
    number is better, an expectation about it decides.

    Args:
        definition: the experiment, with declared metrics and expectations.
        arms: the conditions that expectations may name.
        plugins: metrics that plugins declare.
    """
    metrics = {metric.path: metric for metric in plugins}
    for metric in definition.metrics:
        values = metrics[metric.path].values if metric.path in metrics else None
        metrics[metric.path] = replace(metric, values=values)
    for text in definition.expect:
        claim = parse(text, arms)
        name = claim.metric.partition(".")[0]
        metric = metrics.get(name, Metric(name))
        if name not in RESERVED_NAMES and metric.better is None:
            metrics[name] = replace(metric, better=HIGHER if claim.wants_more else LOWER)
    return Catalog(metrics.values())
