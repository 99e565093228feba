"""The catalogue of one experiment: built-in metrics, and those that plugins or authors declare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pytest_crucible.metrics.catalog import (
    HIGHER,
    LOWER,
    NEUTRAL,
    POSITIVE,
    RESERVED_NAMES,
    Catalog,
    Metric,
)
from pytest_crucible.metrics.declared import layered
from pytest_crucible.runs.experiment_definition import Definition
from pytest_crucible.stats.expression import parse


def catalog_of(
    definition: Definition,
    arms: Sequence[str],
    plugins: Iterable[Metric] = (),
    measured: Iterable[str] = (),
) -> Catalog:
    """Return the catalogue of an experiment.

    A declaration of the author overrides that of a plugin. If nobody declares which direction of a
    number is better, the expectations about it decide, unless they contradict each other.

    Args:
        definition: the experiment, with declared metrics and expectations.
        arms: the conditions that expectations may name.
        plugins: metrics that plugins declare.
        measured: names of the numbers that `Experiment.measure` gave: times in ms, of which lower
            is better unless somebody declares it otherwise.
    """
    metrics = layered(plugins, definition.metrics)
    for name in measured:
        metric = metrics.get(name, Metric(name))
        limits = metric.range if metric.range != (None, None) else POSITIVE
        better = metric.better or LOWER
        metrics[name] = replace(metric, unit="ms", better=better, range=limits)
    for name, directions in _claimed(definition, arms, metrics).items():
        metric = metrics.get(name, Metric(name))
        if metric.better is None and len(directions) == 1:
            metrics[name] = replace(metric, better=directions.pop())
    return Catalog(metrics.values())


def _claimed(
    definition: Definition, arms: Sequence[str], declared: Iterable[str]
) -> dict[str, set[str]]:
    """Return the directions that expectations want, by number."""
    wanted: dict[str, set[str]] = {}
    for text in definition.expect:
        claim = parse(text, arms)
        name, _, statistic = claim.metric.rpartition(".")
        if claim.metric in declared or not name:
            name, statistic = claim.metric, ""
        if name.partition(".")[0] not in RESERVED_NAMES and statistic not in NEUTRAL:
            wanted.setdefault(name, set()).add(HIGHER if claim.wants_more else LOWER)
    return wanted
