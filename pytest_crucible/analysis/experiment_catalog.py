"""The catalogue of one experiment: what is known of its metrics, by whom it was said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pytest_crucible.metrics.catalog import HIGHER, LOWER, RESERVED_NAMES, Catalog, Metric
from pytest_crucible.runs.definition import Definition
from pytest_crucible.stats.expression import parse


def catalog_of(
    definition: Definition, arms: Sequence[str], plugins: Iterable[Metric] = ()
) -> Catalog:
    """The built-in metrics, those of plugins, and what the experiment's author says of numbers.

    What the author declares counts most. An expectation about a number says which way is better,
    too, where nobody declared it.

    Args:
        definition: what the author said.
        arms: the conditions that expectations may name.
        plugins: metrics that plugins declare.
    """
    known = {each.path: each for each in plugins}
    for metric in definition.metrics:
        values = known[metric.path].values if metric.path in known else None
        known[metric.path] = replace(metric, values=values)
    for text in definition.expect:
        claim = parse(text, arms)
        name = claim.metric.partition(".")[0]
        metric = known.get(name, Metric(name))
        if name not in RESERVED_NAMES and metric.better is None:
            known[name] = replace(metric, better=HIGHER if claim.wants_more else LOWER)
    return Catalog(known.values())
