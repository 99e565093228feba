"""All metrics of one condition, with those of plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from pytest_crucible.metrics.catalog import BUILT_IN, Catalog
from pytest_crucible.metrics.groups import Group, series_of
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.stats.estimates import point
from pytest_crucible.stats.metric_samples import sample_of

CustomMetrics = Callable[[Group, Metrics], Mapping[str, float]]
"""Takes the observations and the metrics of one condition; returns further numbers by name."""


def summarise_all(
    group: Group, catalog: Catalog, custom: CustomMetrics, problems: list[str]
) -> Metrics:
    """Work out the metrics of one condition, with those that plugins declare or compute.

    Args:
        group: the observations of the condition.
        catalog: the metrics of the experiment.
        custom: returns the numbers that have no observations.
        problems: this function appends a sentence for every declared metric that raises, and for
            every number whose name is taken, and leaves them out.
    """
    metrics = summarise(group, catalog)
    numbers = {**metrics.custom, **_declared(group, catalog, problems)}
    formulas = {metric.path for metric in catalog.formulas()}
    taken = {*BUILT_IN, *(path for path, _ in flatten(metrics))}
    for name, number in custom(group, metrics).items():
        if name in numbers or name in formulas:
            continue  # worked out from the record just now; an old manifest may have it, too
        if name in taken:  # a claim about it would be judged by the plugin's word, not the record
            problems.append(f"a plugin's number {name!r} is left out: the record has one")
        else:
            numbers[name] = number
    return replace(metrics, custom=numbers) if numbers else metrics


def _declared(group: Group, catalog: Catalog, problems: list[str]) -> dict[str, float]:
    """Work out the metrics that plugins declare; put their observations into the group."""
    numbers = {}
    for metric in catalog.declared.values():
        if metric.values is None:
            continue
        try:
            group.declared[metric.path] = series_of(group, metric.values(group))
        except Exception as error:
            problems.append(f"metric {metric.path} raised {type(error).__name__}: {error}")
            continue
        sample = sample_of(group, catalog[metric.path])
        if sample is not None and sample.n:
            numbers[metric.path] = point(sample)
    return numbers
