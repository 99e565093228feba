"""What the summary says of ensembles and of hedging, where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tabulate import tabulate

from pytest_crucible._text import one_line, plural
from pytest_crucible.metrics.ensembles import EnsembleMetrics, HedgingMetrics, ModelCalls
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.report.numbers import MISSING, decimals, show


def ensemble_lines(metrics: Mapping[str, Metrics]) -> Iterator[str]:
    """A line per condition and kind, and a table of the models that were asked.

    Args:
        metrics: of an experiment, per condition.
    """
    rows: list[list[str]] = []
    for condition, each in metrics.items():
        prefix = f"{condition}: " if len(metrics) > 1 else ""
        if each.ensemble is not None:
            yield prefix + _ensemble(each.ensemble)
            rows += _rows(f"{prefix}ensemble", each.ensemble.models)
        if each.hedging is not None:
            yield prefix + _hedging(each.hedging)
            rows += _rows(f"{prefix}hedging", each.hedging.models)
    if rows:
        header = ["", "model", "calls", "failed", "mean latency", "cost"]
        align = ["left", "left", *["right"] * 4]
        yield from tabulate(
            rows, headers=header, tablefmt="plain", disable_numparse=True, colalign=align
        ).splitlines()


def _ensemble(each: EnsembleMetrics) -> str:
    parts = [
        plural(count, noun)
        for count, noun in ((each.predictions, "prediction"), (each.votes, "vote"))
        if count
    ]
    if each.agreement.mean is not None:
        told = each.agreement.count
        parts.append(f"agreement {each.agreement.mean * 100:.1f} % over {told:,}")
    return "ensemble: " + " · ".join(parts)


def _hedging(each: HedgingMetrics) -> str:
    parts = [f"hedging: {each.duplicated:,} of {plural(each.requests, 'request')} sent twice"]
    if each.winner_share:
        shares = (
            f"{one_line(name)} {share * 100:.0f} %" for name, share in each.winner_share.items()
        )
        parts.append(f"won by {', '.join(shares)}")
    if each.duplicated:
        parts.append(_with_unknown("losers cost", _usd(each), each.unknown_cost))
        saved = each.saved_ms.total
        text = None if saved is None else show(saved, "ms", decimals([saved]))
        parts.append(_with_unknown("saved", text, each.unknown_saving))
    return " · ".join(parts)


def _usd(each: HedgingMetrics) -> str | None:
    cost = each.duplication_cost_usd
    return None if cost is None else f"${cost:.4g}"


def _with_unknown(what: str, known: str | None, unknown: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{count} × {reason}" for reason, count in unknown.items())
    if known is None:
        return f"{what} unknown ({reasons})"
    return f"{what} {known}" + (f" (and unknown: {reasons})" if reasons else "")


def _rows(kind: str, models: Mapping[str, ModelCalls]) -> list[list[str]]:
    return [
        [
            kind,
            one_line(model),
            f"{each.calls:,}",
            f"{each.failed:,}",
            _milliseconds(each.mean_latency_ms),
            MISSING if each.cost_usd is None else f"${each.cost_usd:.4g}",
        ]
        for model, each in models.items()
    ]


def _milliseconds(latency: float | None) -> str:
    return MISSING if latency is None else show(latency, "ms", decimals([latency]))
