"""Prices: the user's, then reported, then genai-prices; else none, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.pricing import Price, Pricer, Usage, cost_of, read_prices
from tests.made_events import event

GPT = {"model": "gpt-4o-mini", "provider": "openai"}


def priced(
    measurements: dict[str, Any], metadata: dict[str, Any], **table: Price
) -> tuple[float | None, dict[str, Any]]:
    each = event(measurements=measurements, metadata=metadata)
    enriched: Enriched = enrich(each)
    Pricer(table)(each, enriched)
    return enriched.cost_usd, enriched.extra


def test_the_users_price_comes_first() -> None:
    """Even before what the event itself reports."""
    cost, extra = priced(
        {"input_tokens": 1_000_000, "output_tokens": 500_000, "cost_usd": 9.0}, GPT,
        **{"gpt-4o-mini": Price(input=1.0, output=2.0)},
    )  # fmt: skip
    assert (cost, extra["cost_source"]) == (2.0, "table")


def test_a_reported_cost_comes_next() -> None:
    """It is labelled as what it is."""
    cost, extra = priced({"input_tokens": 10, "output_tokens": 1, "cost_usd": 9.0}, GPT)
    assert (cost, extra["cost_source"]) == (9.0, "reported")


def test_genai_prices_comes_last() -> None:
    """Cached tokens cost what cached tokens cost."""
    numbers = {"input_tokens": 1_000_000, "output_tokens": 0}
    full, extra = priced(numbers, GPT)
    cached, _ = priced({**numbers, "cache_read_tokens": 1_000_000}, GPT)
    assert extra["cost_source"] == "genai-prices"
    assert full is not None
    assert cached is not None
    assert cached == pytest.approx(full / 2)


@pytest.mark.parametrize(
    ("measurements", "metadata", "reason"),
    [
        ({}, GPT, "no tokens reported"),
        ({"input_tokens": 5}, GPT, "no output tokens reported"),
        ({"input_tokens": 1, "output_tokens": 1}, {}, "no model reported"),
        (
            {"input_tokens": 1, "output_tokens": 1}, {"model": "mine", "provider": "local"},
            "genai-prices has no local/mine",
        ),
        (
            {"input_tokens": 1, "output_tokens": 1, "cache_read_tokens": 5}, GPT,
            "usage makes no sense: more cached tokens than input tokens",
        ),
        *(
            ({"input_tokens": 9, "output_tokens": 1, **odd}, GPT, "usage makes no sense: fewer than"
             " 0 tokens")
            for odd in ({"input_tokens": -1}, {"output_tokens": -1}, {"cache_read_tokens": -1})
        ),
    ],
)  # fmt: skip
def test_an_unknown_cost_has_a_reason(
    measurements: dict[str, Any], metadata: dict[str, Any], reason: str
) -> None:
    """Nothing is guessed: no cost, and one sentence."""
    assert priced(measurements, metadata) == (None, {"unpriced": reason})


def test_what_genai_prices_raises_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call that the package cannot price costs nobody the summary."""
    monkeypatch.setattr("genai_prices.calc_price", lambda *_, **__: 1 / 0)
    cost, extra = priced({"input_tokens": 9, "output_tokens": 1}, GPT)
    assert cost is None
    assert extra["unpriced"] == "genai-prices failed: ZeroDivisionError: division by zero"


def test_failed_calls_have_no_cost_to_miss() -> None:
    """A failure is not reported as unpriced."""
    assert priced({}, {**GPT, "error": "RateLimitError"}) == (None, {})


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [("m-1", True), ("p/m-1", True), ("m-*", True), ("p/*", True), ("q/m-1", False), ("m", False)],
)
def test_models_are_found_by_name_or_pattern(pattern: str, fits: bool) -> None:
    """With or without the provider in front; ``*`` stands for any characters."""
    numbers = {"input_tokens": 1, "output_tokens": 1}
    cost, _ = priced(numbers, {"model": "m-1", "provider": "p"}, **{pattern: Price(input=1.0)})
    assert (cost is not None) is fits


def test_the_parts_of_a_price() -> None:
    """Input includes cached tokens, which cost the same unless the table says otherwise."""
    usage = Usage(input=100, output=10, cache_read=60, cache_write=20)
    assert cost_of(usage, Price(input=1e6, output=2e6)) == pytest.approx(120)
    price = Price(input=1e6, output=2e6, cache_read=1e5, cache_write=2e6)
    assert cost_of(usage, price) == pytest.approx(20 + 20 + 6 + 40)


def test_tables_are_toml_or_json(tmp_path: Path) -> None:
    """Both say the same."""
    toml, plain = tmp_path / "p.toml", tmp_path / "p.json"
    toml.write_text('["gpt-*"]\ninput = 1\noutput = 2.5\n')
    plain.write_text(json.dumps({"gpt-*": {"input": 1, "output": 2.5}}))
    assert read_prices(toml) == read_prices(plain) == {"gpt-*": Price(input=1, output=2.5)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no prices"),
        ("[m", "Expected"),
        ("m = 3", "'m' must be a table"),
        ("[m]\noutput = 1", "'m' has no input price"),
        ("[m]\ninput = 'x'", "input must be a number of 0 or more, not 'x'"),
        ("[m]\ninput = -1", "input must be a number of 0 or more, not -1"),
        ("[m]\ninput = nan", "input must be a number of 0 or more, not nan"),
        ("[m]\ninput = inf", "input must be a number of 0 or more, not inf"),
        ("[m]\ninput = true", "input must be a number of 0 or more, not True"),
        ("[m]\ninput = '" + "x" * 9999 + "'", "input must be a number of 0 or more, not 'xxx"),
        ("[gpt-4.1]\ninput = 1", "'gpt-4' holds a table '1': write the model in quotes"),
        ("[m]\ninput = 1\n[m]\ninput = 2", "Cannot declare"),
        ("m = " + "[" * 100_000, "recursion"),
        ("[m]\ninput = 1\nouput = 2", "unknown 'ouput'"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path: Path, text: str, problem: str) -> None:
    """The file, the model and what is wrong with it."""
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        read_prices(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Expecting value"), (b"[1]", "no prices"), (b'{"m": 3}', "'m' must be a table"),
        (b"[" * 100_000, "recursion"), (b'{"m": {"input": 1e999}}', "not inf"),
        (b'{"m": {"input": "\xff"}}', "codec"), (b'{"openai": {"m": {"input": 1}}}', "openai/m"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["prices.json", "PRICES.JSON"])
def test_wrong_json_is_one_line(tmp_path: Path, data: bytes, problem: str, name: str) -> None:
    """Whatever stands in it; upper case is JSON, too."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DefinitionError) as caught:
        read_prices(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert problem in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    """It says what the system says."""
    with pytest.raises(DefinitionError, match="Is a directory"):
        read_prices(tmp_path)


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    """It says what the system says."""
    with pytest.raises(DefinitionError, match="No such file"):
        read_prices(tmp_path / "none.toml")
