"""The lines of the summary about model calls, their cost, and calls that left no spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pytest_crucible._text import one_line, plural
from pytest_crucible.metrics.spending import Setup, Spending
from pytest_crucible.report.numbers import format_of

_MAX_REASONS = 3
_MAX_REASON = 120
_ADVICE = {
    "openai": "pip install 'pytest-crucible[otel]' opentelemetry-instrumentation-genai-openai and "
    "run with --crucible-instrument=auto",
    "anthropic": "pip install 'pytest-crucible[otel]' 'anthropic>=2', which makes spans by itself",
    "other": "install an OpenTelemetry instrumentor for the client",
}


def spending_lines(spending: Mapping[str, Spending]) -> Iterator[tuple[str, bool]]:
    """Yield the lines about calls and cost.

    Args:
        spending: the spending of an experiment, by condition.

    Yields:
        A line, and whether it deserves attention.
    """
    for condition, arm in spending.items():
        prefix = f"{condition}: " if len(spending) > 1 else ""
        if arm.calls and (arm.judge_calls or arm.application_usd is not None):
            yield prefix + _calls(arm), False
        if arm.unpriced:
            yield prefix + _unpriced(arm), True
    http = sum((Counter(arm.http_calls) for arm in spending.values()), Counter[str]())
    providers = frozenset[str]().union(*(arm.providers for arm in spending.values()))
    unseen = {server: n for server, n in http.items() if not _may_have_spans(server, providers)}
    if unseen:
        yield _unseen(unseen), True


def warmup_line(trials: int, cost_usd: float | None) -> str | None:
    """Return the line about warm-up trials; None without any."""
    if not trials:
        return None
    cost = "" if cost_usd is None else f", {_usd(cost_usd)}"
    return f"{plural(trials, 'warm-up trial')}{cost}, not counted"


def setup_line(setup: Setup, workers: int) -> str:
    """``set-up: 3 calls $0.12, 4.2 s, once per worker: 2 workers``.

    Args:
        setup: what was spent.
        workers: number of processes that ran trials.
    """
    count = plural(setup.calls, "call") if setup.calls else plural(setup.events, "event")
    text = f"set-up: {count}"
    if setup.calls or setup.usd is not None:
        text += f" {_usd(setup.usd)}"
    if setup.latency_ms is not None:
        text += f", {format_of('ms', [setup.latency_ms]).show(setup.latency_ms)}"
    if workers > 1:
        text += f" (once per worker: {workers} workers)"
    return text


def _may_have_spans(server: str, providers: frozenset[str]) -> bool:
    """Whether a recorded call to one of these providers may have gone to this server.

    Many providers use OpenAI's protocol, so for that only ``anthropic`` is ruled out.

    Args:
        server: host and protocol, ``api.openai.com (openai)``.
        providers: the providers that recorded calls named.
    """
    if server.endswith("(anthropic)"):
        return any(not provider.startswith("openai") for provider in providers)
    if server.endswith("(openai)"):
        return any(provider != "anthropic" for provider in providers)
    return bool(providers)


def _calls(spending: Spending) -> str:
    own, judges = spending.calls - spending.judge_calls, spending.judge_calls
    parts = [f"{plural(own, 'call')} {_usd(spending.application_usd)}"] if own else []
    if judges:
        parts.append(f"{plural(judges, 'call')} of judges {_usd(spending.judge_usd)}")
    if spending.usd_per_passed_case is not None:
        parts.append(f"{_usd(spending.usd_per_passed_case)} per passed case")
    return " · ".join(parts)


def _usd(amount: float | None) -> str:
    return "at unknown cost" if amount is None else f"${amount:.4g}"


def _unpriced(spending: Spending) -> str:
    ranked = sorted(spending.unpriced.items(), key=lambda item: (-item[1], item[0]))
    reasons = [f"{count} × {_plain(reason)}" for reason, count in ranked[:_MAX_REASONS]]
    if len(ranked) > _MAX_REASONS:
        reasons.append(f"and {plural(len(ranked) - _MAX_REASONS, 'other reason')}")
    total = sum(spending.unpriced.values())
    return f"{total} of {plural(spending.calls, 'call')} unpriced: {', '.join(reasons)}"


def _plain(text: str) -> str:
    """Return a reason as one short line without control characters: spans may have put in any."""
    return one_line(text[:_MAX_REASON])


def _unseen(http: Mapping[str, int]) -> str:
    server = max(http, key=lambda server: http[server])
    host, _, client = server.partition(" (")
    advice = _ADVICE.get(client.removesuffix(")"), _ADVICE["other"])
    return (
        f"{plural(sum(http.values()), 'HTTP call')} to a model host ({host}) but no spans: {advice}"
    )


def capture_lines(problems: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the problems that prevented the capture of spans, with the nodes that had them."""
    for problem, nodes in problems.items():
        where = sorted({node for node in nodes if node != "main"})
        yield f"capture: {problem}" + (f" ({', '.join(where)})" if where else "")
