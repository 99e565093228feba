"""The line of the summary about anomalies.

Readers should take it in at a glance: it shows the worst value of the first metric with anomalies,
and only counts of the others. The manifest has everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_crucible.events.schema import BY_METRIC
from pytest_crucible.metrics.anomalies import Unusual, Worst
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.report.numbers import decimals, format_of, show

_UNITS = {"latency": "ms", "cost": "$"}
_NOUNS = {"latency": "latencies", "cost": "costs"}
_MOST = 110
_MOST_NOUN = 30
_AND = " · "


def anomaly_line(metrics: Mapping[str, Metrics]) -> str | None:
    """``anomalies: 3 of 600 latencies (worst 1,204 ms, …) · 1 of 25 costs``.

    At most 110 characters; where the worst value occurred, and further metrics, only if they fit.

    Args:
        metrics: the metrics of an experiment, by condition.

    Returns:
        None if there are no anomalies.
    """
    by_metric: dict[str, dict[str, Unusual]] = {}
    for condition, arm in metrics.items():
        for metric, unusual in arm.anomalies.items():
            by_metric.setdefault(metric, {})[condition] = unusual
    counts = {
        metric: _count(metric, by_condition.values())
        for metric, by_condition in by_metric.items()
        if any(unusual.count for unusual in by_condition.values())
    }
    if not counts:
        return None
    first, *others = counts
    begin = f"anomalies: {counts[first]} ("
    condition, worst = _farthest(by_metric[first])
    details = ", ".join(_worst(first, worst))
    room = _MOST - len(f"{begin}{details})")
    rest = _rest([counts[metric] for metric in others], room)
    named = [condition] if len(by_metric[first]) > 1 else []
    places = (f", in {place}" for place in _places(worst, named))
    place = next((text for text in places if len(text) <= room - len(rest)), "")
    return f"{begin}{details}{place}){rest}"


def _count(metric: str, by_condition: Iterable[Unusual]) -> str:
    counts = [(unusual.count, unusual.judged) for unusual in by_condition]
    count, judged = sum(count for count, _ in counts), sum(judged for _, judged in counts)
    noun = " ".join(_NOUNS.get(metric, metric).split())
    if len(noun) > _MOST_NOUN:
        noun = f"{noun[: _MOST_NOUN - 1]}…"
    return f"{count:,} of {judged:,} {noun}"


def _farthest(by_condition: Mapping[str, Unusual]) -> tuple[str, Worst]:
    """Return the condition with the largest score, and its worst value."""
    return max(
        (
            (condition, unusual.worst)
            for condition, unusual in by_condition.items()
            if unusual.worst is not None
        ),
        key=lambda pair: abs(pair[1].score),
    )


def _worst(metric: str, worst: Worst) -> Iterator[str]:
    unit = _UNITS.get(metric, "")
    yield f"worst {format_of(unit, [worst.value]).show(worst.value)}"
    if metric in BY_METRIC:
        times = worst.value / worst.median
        yield f"{show(times, '', 0 if times >= 10 else decimals([times]))} × the median"
    else:
        yield f"median {show(worst.median, '', decimals([worst.median]))}"


def _rest(counts: Sequence[str], room: int) -> str:
    """Return the counts of further metrics that fit into ``room``, and how many more there are."""
    for shown in range(len(counts), -1, -1):
        left = len(counts) - shown
        more = [f"{left} more metric{'s' if left > 1 else ''}"] if left else []
        text = "".join(f"{_AND}{count}" for count in (*counts[:shown], *more))
        if len(text) <= room:
            return text
    return ""


def _places(worst: Worst, named: Sequence[str]) -> Iterator[str]:
    """Yield where the worst value occurred, from the longest text to the shortest."""
    if worst.case is None:
        yield from named
        return
    case = " ".join(worst.case.rpartition("::")[2].split())
    trial = [f"trial {worst.trial}"] if worst.trial is not None and worst.trial > 1 else []
    function, bracket, _ = case.partition("[")
    short = f"{function}[…]" if bracket else function
    yield ", ".join([case, *trial, *named])
    yield ", ".join([short, *trial, *named])
    yield short
