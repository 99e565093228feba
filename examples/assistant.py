"""The code under test: it says what it does on the bus, and knows of no experiment."""

from __future__ import annotations

from openai import OpenAI

from pytest_crucible import telemetry

# USD per million tokens: input, output
PRICES = {
    "alder-8b": (3.0, 15.0),
    "birch-8b": (2.5, 10.0),
    "cedar-8b": (3.5, 14.0),
    "oak-70b": (12.0, 48.0),
}


def ask(client: OpenAI, model: str, question: str) -> str:
    """One request to one model, as a span with its tokens and its cost."""
    with telemetry.span("req_llm.request", provider="local", model=model) as span:
        completion = client.chat.completions.create(
            model=model,
            messages=[
                {"role": "system", "content": "Answer in as few words as you can."},
                {"role": "user", "content": question},
            ],
        )
        usage, choice = completion.usage, completion.choices[0]
        assert usage is not None
        input_price, output_price = PRICES[model]
        span.measure(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cost_usd=(usage.prompt_tokens * input_price + usage.completion_tokens * output_price)
            / 1e6,
        )
        span.annotate(finish_reason=choice.finish_reason)
    return choice.message.content or ""
