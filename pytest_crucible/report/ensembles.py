"""The lines of the summary about ensembles and hedging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tabulate import tabulate

from pytest_crucible._text import one_line, plural
from pytest_crucible.metrics.ensembles import EnsembleMetrics, HedgingMetrics, ModelCalls
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.report.numbers import MISSING, format_of


def ensemble_lines(metrics: Mapping[str, Metrics]) -> Iterator[str]:
    """Yield a line per condition and kind, then a table of the models that were called.

    Args:
        metrics: the metrics of an experiment, by condition.
    """
    rows: list[list[str]] = []
    for condition, arm in metrics.items():
        prefix = f"{condition}: " if len(metrics) > 1 else ""
        if arm.ensemble is not None:
            yield prefix + _ensemble(arm.ensemble)
            rows += _rows(f"{prefix}ensemble", arm.ensemble.models)
        if arm.hedging is not None:
            yield prefix + _hedging(arm.hedging)
            rows += _rows(f"{prefix}hedging", arm.hedging.models)
    if rows:
        header = ["", "model", "calls", "failed", "mean latency", "cost"]
        align = ["left", "left", *["right"] * 4]
        yield from tabulate(
            rows, headers=header, tablefmt="plain", disable_numparse=True, colalign=align
        ).splitlines()


def _ensemble(ensemble: EnsembleMetrics) -> str:
    parts = [
        plural(count, noun)
        for count, noun in ((ensemble.predictions, "prediction"), (ensemble.votes, "vote"))
        if count
    ]
    agreement = ensemble.agreement
    if agreement.mean is not None:
        parts.append(f"agreement {agreement.mean * 100:.1f} % over {agreement.count:,}")
    return "ensemble: " + " · ".join(parts)


def _hedging(hedging: HedgingMetrics) -> str:
    parts = [f"hedging: {hedging.duplicated:,} of {plural(hedging.requests, 'request')} sent twice"]
    if hedging.winner_share:
        shares = (
            f"{one_line(name)} {share * 100:.0f} %" for name, share in hedging.winner_share.items()
        )
        parts.append(f"won by {', '.join(shares)}")
    if hedging.duplicated:
        parts.append(_with_unknown("losers cost", _usd(hedging), hedging.unknown_cost))
        saved = hedging.saved_ms.total
        text = None if saved is None else format_of("ms", [saved]).show(saved)
        parts.append(_with_unknown("saved", text, hedging.unknown_saving))
    return " · ".join(parts)


def _usd(hedging: HedgingMetrics) -> str | None:
    cost = hedging.duplication_cost_usd
    return None if cost is None else f"${cost:.4g}"


def _with_unknown(label: str, amount: str | None, unknown: Mapping[str, int]) -> str:
    """``saved 120 ms (and unknown: 2 × …)``: an amount, and why it is unknown for some requests."""
    reasons = ", ".join(f"{count} × {reason}" for reason, count in unknown.items())
    if amount is None:
        return f"{label} unknown ({reasons})"
    return f"{label} {amount}" + (f" (and unknown: {reasons})" if reasons else "")


def _rows(kind: str, models: Mapping[str, ModelCalls]) -> list[list[str]]:
    return [
        [
            kind,
            one_line(model),
            f"{calls.calls:,}",
            f"{calls.failed:,}",
            _milliseconds(calls.mean_latency_ms),
            MISSING if calls.cost_usd is None else f"${calls.cost_usd:.4g}",
        ]
        for model, calls in models.items()
    ]


def _milliseconds(latency: float | None) -> str:
    return MISSING if latency is None else format_of("ms", [latency]).show(latency)
