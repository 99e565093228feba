"""The catalogue of metrics: what it says of each, and that all who need it read it there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.events.event import Event
from pytest_crucible.metrics.catalog import (
    BUILT_IN,
    PLAIN,
    RESERVED_NAMES,
    STATISTICS,
    Catalog,
    Metric,
)
from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.ensembles import EnsembleMetrics, HedgingMetrics
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.report.metric_table import metric_table
from pytest_crucible.report.numbers import MISSING, format_of
from pytest_crucible.report.terminal import estimate_text
from pytest_crucible.stats.comparison_options import PRIMARY
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.subject import Subject
from tests.made_events import MS, event, trial, trial_scope
from tests.stats.support import compare_subjects, group, subject

ROOT = Path(__file__).parents[2]
CLAIMED = [path for path, metric in BUILT_IN.items() if metric.claimed]


def everything() -> Subject:
    """A condition in which there is a number for every metric: 8 cases, 2 trials each."""
    return subject(group(_everything()))


def _everything() -> Iterator[Event]:
    for case in range(8):
        for number in (1, 2):
            scope = trial_scope(f"c{case}", number)
            start, *stop = trial("failed" if case == number else "passed", scope, duration_ms=9)
            yield start
            yield event("ensemble.vote.completed", {"agreement": 0.5 + case / 20}, scope=scope)
            told = {"duration": (50 + case) * MS, "cost_usd": 0.01 + case / 1e4}
            tokens = {"input_tokens": 100 + case, "output_tokens": 10 + case}
            end = "exception" if case == 3 else "stop"
            yield event("hedging.request.start", scope=scope)
            yield event("hedging.request.duplicated", scope=scope)
            outcome = {
                "winner": "backup" if case % 2 else "primary", "primary_latency_ms": 90,
                "duplication_cost_usd": 0.001,
            }  # fmt: skip
            yield event("hedging.request.stop", {"duration": 50 * MS}, outcome, scope=scope)
            # After the wholes, so that it is part of none.
            yield event(f"req_llm.request.{end}", {**told, **tokens}, at_us=2_000_000, scope=scope)
            yield from stop


@pytest.fixture(scope="module")
def arm() -> Subject:
    return everything()


@pytest.mark.parametrize("path", CLAIMED)
def test_every_metric_is_claimed_and_summarised_and_shown(arm: Subject, path: str) -> None:
    """What the catalogue names can stand in an expectation, has a number, and is shown."""
    assert parse(f"{path} >= 0").metric == path
    found = arm.estimate(path)
    assert found.value is not None
    unit = PLAIN[path].unit
    assert not estimate_text(format_of(unit, [found.value]), found).startswith(MISSING)
    # An interval, or a plain fact: never neither.
    assert (found.sample is not None) is (PLAIN[path].drawn is not None)
    assert found.exact is (PLAIN[path].drawn is None)


@pytest.mark.parametrize("path", [path for path in BUILT_IN if path not in CLAIMED])
def test_rows_of_comparisons_alone_cannot_be_claimed(path: str) -> None:
    """``latency`` alone is no metric: the message says what may follow."""
    with pytest.raises(ValueError, match=rf"{path} needs more; valid: "):
        parse(f"{path} > 0")


def test_what_is_compared_has_a_row(arm: Subject) -> None:
    """Those that decide first, then in the catalogue's order, with its unit and direction."""
    rows = compare_subjects(arm, arm)
    compared = [metric for metric in BUILT_IN.values() if metric.compared is not None]
    compared.sort(key=lambda metric: metric.path not in PRIMARY)
    assert [row.metric for row in rows] == [metric.path for metric in compared]
    for row, metric in zip(rows, compared, strict=True):
        assert row.primary == (metric.path in PRIMARY)
        assert (row.unit, row.better) == (metric.unit, metric.better)


def test_the_summary_shows_what_the_catalogue_says(arm: Subject) -> None:
    """Latency where there is any, else how long tests took; what does not occur is left out."""
    shown = [metric.path for metric in PLAIN.shown([arm.numbers], ["score"])]
    assert shown == [
        "success_rate", "flip_rate", "score.mean", "latency.p50", "latency.p95",
        "reliability.success_rate", "ensemble.agreement.mean", "hedging.rate",
        "hedging.saved_ms.mean", "cost.total", "tokens.total",
    ]  # fmt: skip
    bare = subject(group(trial("passed", trial_scope(), duration_ms=9)))
    assert [metric.path for metric in PLAIN.shown([bare.numbers], [])] == [
        "success_rate", "flip_rate", "tests.duration_ms.p50", "cost.total", "tokens.total",
    ]  # fmt: skip


def _numbers(part: type, path: str = "") -> Iterator[str]:
    """The paths of all numbers that a dataclass of metrics can hold."""
    for each in fields(part):
        name = f"{path}{each.name}"
        kind = str(each.type)
        if kind == "Distribution":
            yield from (f"{name}.{of.name}" for of in fields(Distribution))
        elif kind in ("int", "float", "float | None", "bool | None"):
            yield name


def test_no_number_is_without_an_entry() -> None:
    """Every number that the metrics hold has a path in the catalogue."""
    blank = Metrics(experiment="e", condition="c")
    parts: dict[str, Any] = {
        name: type(getattr(blank, name)) for name in ("latency", "cost", "reliability", "tokens")
    }
    parts |= {"tests": type(blank.tests), "ensemble": EnsembleMetrics, "hedging": HedgingMetrics}
    assert all(map(is_dataclass, parts.values()))
    held = {path for name, part in parts.items() for path in _numbers(part, f"{name}.")}
    of_others = {path for path in CLAIMED if "." not in path or path.startswith("anomalies.")}
    assert held == set(CLAIMED) - of_others


def test_flatten_gives_every_number_under_its_path(arm: Subject) -> None:
    """All but the rates of trials, which are worked out from the trials themselves."""
    assert set(arm.numbers) == {path for path in CLAIMED if "." in path}


def test_reserved_names_are_those_that_paths_begin_with() -> None:
    """A recorded number can have none of them."""
    assert {"latency", "cost", "success_rate", "flip_rate", "anomalies"} <= RESERVED_NAMES
    assert "score" not in RESERVED_NAMES


# --- declared metrics -------------------------------------------------------------------------


def test_what_was_declared_counts_for_all_statistics_of_a_number() -> None:
    """Unit, direction, range and margin are those of the author; counts have no unit."""
    ttft = Metric("ttft", unit="ms", better="lower", range=(0, None), margin=0.1)
    catalog = Catalog([ttft])
    found = catalog["ttft.p95"]
    assert (found.unit, found.better, found.range, found.margin) == ("ms", "lower", (0, None), 0.1)
    assert catalog["ttft.count"].unit == ""
    assert catalog["ttfts.mean"].unit == ""


def test_what_is_not_declared_is_told_by_the_name() -> None:
    """As far as a name can tell."""
    catalog = Catalog([Metric("loss", unit="nat")])
    assert (catalog["loss.mean"].unit, catalog["loss.mean"].better) == ("nat", "lower")
    assert catalog["wait_ms.mean"].unit == "ms"
    assert Catalog([Metric("wait_ms", better="lower")])["wait_ms.mean"].unit == "ms"
    assert Catalog([Metric("wait_ms", unit="s")])["wait_ms.mean"].unit == "s"
    assert catalog["spent_usd.total"].unit == "$"


def test_of_two_that_declare_the_same_the_later_counts() -> None:
    """The author after the plugin."""
    plugin = Metric("score", better="lower")
    assert Catalog([plugin, replace(plugin, better="higher")])["score.mean"].better == "higher"


# --- what the name and the catalogue tell ------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("success_rate", "%"), ("tests.pass_rate", "%"), ("tests.first_pass_rate", "%"),
        ("reliability.success_rate", "%"), ("flip_rate", "%"), ("pass_at_3", "%"),
        ("pass_hat_3", "%"), ("latency", "ms"), ("latency.p95", "ms"),
        ("latency.count", ""), ("tests.duration_ms.p50", "ms"), ("cost", "$"),
        ("cost.total", "$"), ("cost.count", ""), ("tokens", "tokens"),
        ("tokens.mean_total", "tokens"),
        ("score.mean", ""), ("my_rate.mean", ""),
        ("hedging.rate", "%"), ("hedging.backup_share", "%"), ("hedging.saved_ms.mean", "ms"),
        ("hedging.duplication_cost_usd", "$"), ("hedging.requests", ""),
        ("ensemble.agreement.mean", ""),
    ],
)  # fmt: skip
def test_units(metric: str, unit: str) -> None:
    """Rates are percent, durations milliseconds, costs dollars; other counts are just numbers."""
    assert PLAIN[metric].unit == unit


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("latency.p95", True), ("cost", True), ("tokens.mean_total", True), ("val_loss.mean", True),
        ("hallucination_rate.mean", True), ("error_rate.mean", True), ("train/loss.best", True),
        ("success_rate", False), ("score.mean", False), ("accuracy.mean", False),
        ("rouge_l.mean", False), ("response_time.mean", None), ("mirror.mean", None),
        ("loss.best_step", None), ("loss.std_dev", None), ("score.count", None), ("f1", False),
    ],
)  # fmt: skip
def test_direction_is_told_by_the_name(metric: str, lower: bool | None) -> None:
    """By a well-known name alone; nobody knows whether more steps are better."""
    assert PLAIN[metric].better == {True: "lower", False: "higher", None: None}[lower]


# --- documentation ----------------------------------------------------------------------------


def test_the_documentation_has_every_metric() -> None:
    """docs/metrics.md holds the table that ``crucible metrics --markdown`` prints."""
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert metric_table(BUILT_IN.values(), "github") in text, "crucible metrics --markdown"


def test_the_readme_names_every_family() -> None:
    """Its table of metrics has a row for each, and the statistics of a set of numbers."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| metrics | of |") :].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)(?:\.\*)?`", table.replace("_3`", "`")))
    families = {name for name in RESERVED_NAMES if name != "pass_rate"}
    assert families <= named
    (latency,) = (line for line in table.splitlines() if line.startswith("| `latency.*`"))
    assert [word for word in re.findall(r"\w+", latency) if word in STATISTICS] == list(STATISTICS)
