"""What the summary says of anomalies: one line per experiment, and none where there are none.

It has to be read at a glance, so only the first metric tells its worst value, of the others there
are counts. The manifest has all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_crucible.events.schema import BY_METRIC
from pytest_crucible.metrics.anomalies import Unusual, Worst
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.report.numbers import decimals, show

_UNITS = {"latency": "ms", "cost": "$"}
_NOUNS = {"latency": "latencies", "cost": "costs"}
_MOST = 110
_MOST_NOUN = 30
_AND = " · "


def anomaly_line(metrics: Mapping[str, Metrics]) -> str | None:
    """``anomalies: 3 of 600 latencies (worst 1,204 ms, …) · 1 of 25 costs``.

    At most 110 characters: places and further metrics are told as far as there is room.

    Args:
        metrics: of an experiment, per condition.
    """
    found: dict[str, dict[str, Unusual]] = {}
    for condition, each in metrics.items():
        for metric, unusual in each.anomalies.items():
            found.setdefault(metric, {})[condition] = unusual
    counts = {
        metric: _count(metric, of.values())
        for metric, of in found.items()
        if any(each.count for each in of.values())
    }
    if not counts:
        return None
    first, *others = counts
    begin = f"anomalies: {counts[first]} ("
    condition, worst = _farthest(found[first])
    details = ", ".join(_worst(first, worst))
    room = _MOST - len(f"{begin}{details})")
    rest = _rest([counts[metric] for metric in others], room)
    named = [condition] if len(found[first]) > 1 else []
    places = (f", in {place}" for place in _places(worst, named))
    place = next((each for each in places if len(each) <= room - len(rest)), "")
    return f"{begin}{details}{place}){rest}"


def _count(metric: str, found: Iterable[Unusual]) -> str:
    found = tuple(found)
    count, judged = sum(each.count for each in found), sum(each.judged for each in found)
    noun = " ".join(_NOUNS.get(metric, metric).split())
    if len(noun) > _MOST_NOUN:
        noun = f"{noun[: _MOST_NOUN - 1]}…"
    return f"{count:,} of {judged:,} {noun}"


def _farthest(found: Mapping[str, Unusual]) -> tuple[str, Worst]:
    return max(
        ((condition, each.worst) for condition, each in found.items() if each.worst is not None),
        key=lambda each: abs(each[1].score),
    )


def _worst(metric: str, worst: Worst) -> Iterator[str]:
    unit = _UNITS.get(metric, "")
    yield f"worst {show(worst.value, unit, decimals([worst.value]))}"
    if metric in BY_METRIC:
        times = worst.value / worst.median
        yield f"{show(times, '', 0 if times >= 10 else decimals([times]))} × the median"
    else:
        yield f"median {show(worst.median, '', decimals([worst.median]))}"


def _rest(counts: Sequence[str], room: int) -> str:
    """The counts of further metrics; of those for which there is no room, how many they are."""
    for shown in range(len(counts), -1, -1):
        left = len(counts) - shown
        more = [f"{left} more metric{'s' if left > 1 else ''}"] if left else []
        text = "".join(f"{_AND}{each}" for each in (*counts[:shown], *more))
        if len(text) <= room:
            return text
    return ""


def _places(worst: Worst, named: Sequence[str]) -> Iterator[str]:
    """Where it was, from the longest text to the shortest."""
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
