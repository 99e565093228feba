"""Prices: what a call cost, and if that cannot be told, why.

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
NO_PRICE, NO_TOKENS = "no price", "no tokens told"
_PARTS = ("input", "output", "cache_read", "cache_write")
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens. Cached tokens cost what others do unless it says more."""

    input: float
    output: float = 0.0
    cache_read: float | None = None
    cache_write: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. ``input`` includes what was read from and written to a cache."""

    input: float
    output: float
    cache_read: float = 0
    cache_write: float = 0


def read_prices(path: Path) -> dict[str, Price]:
    """The user's prices by model, ``provider/model`` or a pattern of either.

    Raises:
        DefinitionError: one line that says where and what is wrong.
    """
    import tomllib  # most sessions have no table

    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise DefinitionError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # ValueError: also what is no UTF-8
        raise DefinitionError(f"{path}: {error}") from error
    if not isinstance(data, dict) or not data:
        raise DefinitionError(f"{path}: no prices; it needs a table per model with input, output")
    return {str(model): _price(path, str(model), each) for model, each in data.items()}


def _price(path: Path, model: str, data: object) -> Price:
    if not isinstance(data, dict):
        raise DefinitionError(f"{path}: {model!r} must be a table with input and output")
    for part, value in data.items():
        if isinstance(value, dict) and part not in _PARTS:
            # TOML takes the dot in [gpt-4.1] for a table within a table.
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
    """The installed version of genai-prices, without importing it (that takes half a second)."""
    try:
        return version("genai-prices")
    except PackageNotFoundError:
        return None


class Pricer:
    """Adds costs to calls; an enricher.

    Sets ``cost_usd``, and in ``extra`` either ``cost_source`` or, if there is no cost, the reason
    as ``unpriced``.

    Args:
        table: the user's prices.
    """

    def __init__(self, table: Mapping[str, Price] | None = None) -> None:
        self._table = dict(table or {})
        self._known: dict[tuple[str | None, str], Price | None] = {}
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
            found: float | str = usage
        elif price is not None:
            found = cost_of(usage, price)
        else:
            found = self._from_package(event, enriched, usage)
        if isinstance(found, str):
            enriched.extra = {**enriched.extra, "unpriced": found}
        else:
            enriched.cost_usd = found
            source = TABLE if price is not None else GENAI_PRICES
            enriched.extra = {**enriched.extra, "cost_source": source}

    def _from_table(self, event: Event, enriched: Enriched) -> Price | None:
        if not self._table:
            return None
        provider = None if enriched.provider is None else str(enriched.provider)
        for model in _models(event, enriched):
            key = provider, model
            if key not in self._known:
                self._known[key] = self._look_up(provider, model)
            if self._known[key] is not None:
                return self._known[key]
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
            return "no model told"
        if not self._has_package:
            return f"no price for {models[0]} (pip install 'pytest-crucible[cost]')"
        # Imported here: half a second, and only where there is something to price.
        from genai_prices import Usage as TheirUsage
        from genai_prices import calc_price

        provider = None if enriched.provider is None else str(enriched.provider).lower()
        for model in models:
            try:
                found = calc_price(
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
            except Exception as error:  # of a library: one call must not cost the whole summary
                return f"genai-prices failed: {type(error).__name__}: {error}"
            return float(found.total_price)
        name = models[0] if provider is None else f"{provider}/{models[0]}"
        return f"genai-prices has no {name}"


def usage_of(event: Event, enriched: Enriched) -> Usage | str:
    """The tokens of a call, or why there are none."""
    numbers = event.measurements
    if enriched.input_tokens is None and enriched.output_tokens is None:
        return NO_TOKENS
    if enriched.input_tokens is None:
        return "no input tokens told"
    if enriched.output_tokens is None and event.metadata.get("operation") != "embeddings":
        return "no output tokens told"
    read = number(numbers.get("cache_read_tokens")) or 0
    write = number(numbers.get("cache_write_tokens")) or 0
    if min(enriched.input_tokens, enriched.output_tokens or 0, read, write) < 0:
        return "usage makes no sense: less than no tokens"
    if read + write > enriched.input_tokens:
        return "usage makes no sense: more tokens cached than put in"
    return Usage(enriched.input_tokens, enriched.output_tokens or 0, read, write)


def reason_unpriced(enriched: Enriched) -> str | None:
    """Why a call has no cost; None if it has one, or failed and so has none to have."""
    if enriched.cost_usd is not None or enriched.success is False:
        return None
    if enriched.cancelled:
        return "cancelled: what it had used is unknown"
    given = enriched.extra.get("unpriced")
    if given is not None:
        return str(given)
    return NO_PRICE if enriched.total_tokens is not None else NO_TOKENS


def cost_of(usage: Usage, price: Price) -> float:
    """In US dollars."""
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
    """What the response names, then what was asked for; litellm puts the provider in front."""
    named = [enriched.model, event.metadata.get("request_model")]
    full = [str(each) for each in named if each is not None]
    short = [each.partition("/")[2] for each in full if "/" in each]
    return list(dict.fromkeys([*full, *short]))
