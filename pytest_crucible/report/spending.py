"""What the summary says of calls and their cost, and of calls that could not be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pytest_crucible._text import one_line, plural
from pytest_crucible.metrics.spending import Spending

_MAX_REASONS = 3
_MAX_REASON = 120
_ADVICE = {
    "openai": "pip install 'pytest-crucible[otel]' opentelemetry-instrumentation-genai-openai and "
    "run with --crucible-instrument=auto",
    "anthropic": "pip install 'pytest-crucible[otel]' 'anthropic>=2', which makes spans by itself",
    "other": "install an OpenTelemetry instrumentor for the client",
}


def spending_lines(spending: Mapping[str, Spending]) -> Iterator[tuple[str, bool]]:
    """Calls and cost per condition; True marks what needs attention."""
    for condition, each in spending.items():
        prefix = f"{condition}: " if len(spending) > 1 else ""
        if each.calls and (each.judge_calls or each.application_usd is not None):
            yield prefix + _calls(each), False
        if each.unpriced:
            yield prefix + _unpriced(each), True
    http = sum((Counter(each.http_calls) for each in spending.values()), Counter[str]())
    providers = frozenset[str]().union(*(each.providers for each in spending.values()))
    unseen = {place: n for place, n in http.items() if not _told_of(place, providers)}
    if unseen:
        yield _unseen(unseen), True


def _told_of(place: str, providers: frozenset[str]) -> bool:
    """Whether a call that named one of these providers may have been one to this place.

    Many speak OpenAI's protocol under names of their own, so only the other one rules that out.
    """
    if place.endswith("(anthropic)"):
        return any(not each.startswith("openai") for each in providers)
    if place.endswith("(openai)"):
        return any(each != "anthropic" for each in providers)
    return bool(providers)


def _calls(each: Spending) -> str:
    own = each.calls - each.judge_calls
    parts = [f"{plural(own, 'call')} {_usd(each.application_usd)}"] if own else []
    if each.judge_calls:
        parts.append(f"{plural(each.judge_calls, 'call')} of judges {_usd(each.judge_usd)}")
    if each.usd_per_passed_case is not None:
        parts.append(f"{_usd(each.usd_per_passed_case)} per passed case")
    return " · ".join(parts)


def _usd(amount: float | None) -> str:
    return "at unknown cost" if amount is None else f"${amount:.4g}"


def _unpriced(each: Spending) -> str:
    ranked = sorted(each.unpriced.items(), key=lambda item: (-item[1], item[0]))
    reasons = [f"{count} × {_plain(reason)}" for reason, count in ranked[:_MAX_REASONS]]
    if len(ranked) > _MAX_REASONS:
        reasons.append(f"and {plural(len(ranked) - _MAX_REASONS, 'other reason')}")
    total = sum(each.unpriced.values())
    return f"{total} of {plural(each.calls, 'call')} unpriced: {', '.join(reasons)}"


def _plain(text: str) -> str:
    """A reason may name what a span named: one line, and nothing that a terminal obeys."""
    return one_line(text[:_MAX_REASON])


def _unseen(http: Mapping[str, int]) -> str:
    place = max(http, key=lambda each: http[each])
    host, _, client = place.partition(" (")
    advice = _ADVICE.get(client.removesuffix(")"), _ADVICE["other"])
    return (
        f"{plural(sum(http.values()), 'HTTP call')} to a model host ({host}) but no spans: {advice}"
    )


def capture_lines(problems: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What kept spans from being captured."""
    for problem, nodes in problems.items():
        where = sorted({node for node in nodes if node != "main"})
        yield f"capture: {problem}" + (f" ({', '.join(where)})" if where else "")
