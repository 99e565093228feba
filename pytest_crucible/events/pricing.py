"""Prices: what a call cost, or why its cost is unknown.

The user's table comes first, then the cost that the event itself reports, then the package
genai-prices at the time of the request, offline. An unknown model has no cost: never a guess.
Nothing here runs while code is measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_crucible._errors import DefinitionError
from pytest_crucible.events.catalog import is_call
from pytest_crucible.events.enrichment import Enriched, number
from pytest_crucible.events.event import Event

TABLE, REPORTED, GENAI_PRICES = "table", "reported", "genai-prices"
NO_PRICE, NO_TOKENS = "no price", "no tokens reported"
_PARTS = ("input", "output", "cache_read", "cache_write")
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens. Cached tokens without a price cost as much as input tokens."""

    input: float
    output: float = 0.0
    cache_read: float | None = None
    cache_write: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. ``input`` includes tokens read from a cache and written to it."""

    input: float
    output: float
    cache_read: float = 0
    cache_write: float = 0


def read_prices(path: Path) -> dict[str, Price]:
    """Read the user's prices, by ``model``, ``provider/model`` or a pattern of either.

    Args:
        path: a TOML file, or a JSON file if it ends with ``.json``.

    Raises:
        DefinitionError: one line that says what is wrong, and where.
    """
    import tomllib  # here: most sessions have no prices

    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise DefinitionError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # ValueError: also for text that is not UTF-8
        raise DefinitionError(f"{path}: {error}") from error
    if not isinstance(data, dict) or not data:
        raise DefinitionError(f"{path}: no prices; it needs a table per model with input, output")
    return {str(model): _price(path, str(model), price) for model, price in data.items()}


def _price(path: Path, model: str, data: object) -> Price:
    if not isinstance(data, dict):
        raise DefinitionError(f"{path}: {model!r} must be a table with input and output")
    for part, value in data.items():
        if isinstance(value, dict) and part not in _PARTS:
            # TOML reads [gpt-4.1] as a table ``1`` inside a table ``gpt-4``.
            raise DefinitionError(
                f"{path}: {model!r} holds a table {part!r}: write the model in quotes, "
                f'"{model}.{part}"; with a provider in front, "{model}/{part}"'
            )
        if part not in _PARTS:
            raise DefinitionError(
                f"{path}: {model!r}: unknown {part!r}; valid: {', '.join(_PARTS)} "
                "(USD per million tokens)"
            )
        amount = number(value)
        if amount is None or amount < 0:
            raise DefinitionError(
                f"{path}: {model!r}: {part} must be a number of 0 or more, not {value!r:.80}"
            )
    if "input" not in data:
        raise DefinitionError(f"{path}: {model!r} has no input price")
    return Price(**data)


def genai_prices_version() -> str | None:
    """Return the installed version of genai-prices, without the half second of importing it."""
    try:
        return version("genai-prices")
    except PackageNotFoundError:
        return None


class Pricer:
    """An enricher that adds costs to calls of models.

    It sets ``cost_usd`` and, in ``extra``, ``cost_source``; or, if there is no cost, the reason as
    ``unpriced``.

    Args:
        table: the user's prices.
    """

    def __init__(self, table: Mapping[str, Price] | None = None) -> None:
        self._table = dict(table or {})
        self._found: dict[tuple[str | None, str], Price | None] = {}
        self._has_package = genai_prices_version() is not None

    def __call__(self, event: Event, enriched: Enriched) -> None:
        if not is_call(event.name):
            return
        price = self._from_table(event, enriched)
        if price is None and enriched.cost_usd is not None:
            enriched.extra = {**enriched.extra, "cost_source": REPORTED}
            return
        if enriched.success is False or enriched.cancelled:
            return
        usage = usage_of(event, enriched)
        if isinstance(usage, str):
            cost: float | str = usage
        elif price is not None:
            cost = cost_of(usage, price)
        else:
            cost = self._from_package(event, enriched, usage)
        if isinstance(cost, str):
            enriched.extra = {**enriched.extra, "unpriced": cost}
        else:
            enriched.cost_usd = cost
            source = TABLE if price is not None else GENAI_PRICES
            enriched.extra = {**enriched.extra, "cost_source": source}

    def _from_table(self, event: Event, enriched: Enriched) -> Price | None:
        if not self._table:
            return None
        provider = None if enriched.provider is None else str(enriched.provider)
        for model in _models(event, enriched):
            key = provider, model
            if key not in self._found:
                self._found[key] = self._look_up(provider, model)
            if self._found[key] is not None:
                return self._found[key]
        return None

    def _look_up(self, provider: str | None, model: str) -> Price | None:
        names = [model] if provider is None else [f"{provider}/{model}", model]
        for name in names:
            if name in self._table:
                return self._table[name]
        for name in names:
            for pattern, price in self._table.items():
                if "*" in pattern and fnmatchcase(name, pattern):
                    return price
        return None

    def _from_package(self, event: Event, enriched: Enriched, usage: Usage) -> float | str:
        models = _models(event, enriched)
        if not models:
            return "no model reported"
        if not self._has_package:
            return f"no price for {models[0]} (pip install 'pytest-crucible[cost]')"
        # Imported here, because it takes half a second: only when there is a call to price.
        from genai_prices import Usage as TheirUsage
        from genai_prices import calc_price

        provider = None if enriched.provider is None else str(enriched.provider).lower()
        for model in models:
            try:
                price = calc_price(
                    TheirUsage(
                        input_tokens=int(usage.input),
                        output_tokens=int(usage.output),
                        cache_read_tokens=int(usage.cache_read),
                        cache_write_tokens=int(usage.cache_write),
                    ),
                    model_ref=model,
                    provider_id=provider,
                    genai_request_timestamp=datetime.fromtimestamp(event.time_us / 1e6, tz=UTC),
                )
            except LookupError:
                continue
            except ValueError as error:
                return f"usage makes no sense: {error}"
            except Exception as error:  # one call must not cost the whole summary
                return f"genai-prices failed: {type(error).__name__}: {error}"
            return float(price.total_price)
        name = models[0] if provider is None else f"{provider}/{models[0]}"
        return f"genai-prices has no {name}"


def usage_of(event: Event, enriched: Enriched) -> Usage | str:
    """Return the tokens of a call, or the reason why they are unknown."""
    numbers = event.measurements
    if enriched.input_tokens is None and enriched.output_tokens is None:
        return NO_TOKENS
    if enriched.input_tokens is None:
        return "no input tokens reported"
    if enriched.output_tokens is None and event.metadata.get("operation") != "embeddings":
        return "no output tokens reported"
    read = number(numbers.get("cache_read_tokens")) or 0
    write = number(numbers.get("cache_write_tokens")) or 0
    if min(enriched.input_tokens, enriched.output_tokens or 0, read, write) < 0:
        return "usage makes no sense: fewer than 0 tokens"
    if read + write > enriched.input_tokens:
        return "usage makes no sense: more cached tokens than input tokens"
    return Usage(enriched.input_tokens, enriched.output_tokens or 0, read, write)


def reason_unpriced(enriched: Enriched) -> str | None:
    """Return why a call has no cost; None if it has one, or if it failed, which costs nothing."""
    if enriched.cost_usd is not None or enriched.success is False:
        return None
    if enriched.cancelled:
        return "cancelled: what it had used is unknown"
    reason = enriched.extra.get("unpriced")
    if reason is not None:
        return str(reason)
    return NO_PRICE if enriched.total_tokens is not None else NO_TOKENS


def cost_of(usage: Usage, price: Price) -> float:
    """Return what these tokens cost, in USD."""
    fresh = usage.input - usage.cache_read - usage.cache_write
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    spent = (
        fresh * price.input
        + usage.output * price.output
        + usage.cache_read * read
        + usage.cache_write * write
    )
    return spent / _MILLION


def _models(event: Event, enriched: Enriched) -> list[str]:
    """Return the names to look up: the response's model, then the requested one.

    litellm puts the provider in front, so the names without it follow.
    """
    models = [enriched.model, event.metadata.get("request_model")]
    full = [str(model) for model in models if model is not None]
    short = [model.partition("/")[2] for model in full if "/" in model]
    return list(dict.fromkeys([*full, *short]))


_session_prices: Mapping[str, Price] | None = None


def use_prices(prices: Mapping[str, Price] | None) -> None:
    """Set the user's prices for this process: those of the session; None: there are none."""
    global _session_prices
    _session_prices = prices


def pricers(prices: Mapping[str, Price] | None = None) -> list[Pricer]:
    """Return what prices the calls of a record, everywhere: one pricer, or none.

    The user's table counts first; else genai-prices, if it is installed.

    Args:
        prices: the user's table; None: that of the session, if it has one.
    """
    table = _session_prices if prices is None else prices
    if table is None and genai_prices_version() is None:
        return []
    return [Pricer(table)]
