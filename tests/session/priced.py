"""A suite of calls that have a price, and the manifest that tells of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

# Inner sessions forget what they were the first to import, and would get a second OpenTelemetry,
# which the bridge of the first session does not hear.
import pytest_crucible.bridges.opentelemetry  # noqa: F401
from tests.session import support

SPANS = """
import pytest
from opentelemetry import trace

def ask(tokens=1000, model="m"):
    tracer = trace.get_tracer("lib")
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    with tracer.start_as_current_span("chat", attributes=attributes) as span:
        span.set_attribute("gen_ai.usage.input_tokens", tokens)
        span.set_attribute("gen_ai.usage.output_tokens", 0)
"""
PRICES = "[m]\ninput = 1000.0\n"  # a call of 1000 tokens costs a dollar


def manifest(pytester: pytest.Pytester) -> dict[str, Any]:
    found: dict[str, Any] = support.newest(pytester).manifest or {}
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]
