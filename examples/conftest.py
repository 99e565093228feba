"""What the examples share: a local endpoint, and the real ``openai`` client talking to it."""

from __future__ import annotations

from collections.abc import Iterator

import fake_openai
import pytest
from openai import DefaultHttpxClient, OpenAI


@pytest.fixture(scope="session")
def client() -> Iterator[OpenAI]:
    """An OpenAI client; with another ``base_url`` and key it talks to any provider.

    No retries: they would hide the failures that the examples measure.
    """
    with (
        fake_openai.serve() as url,
        DefaultHttpxClient(trust_env=False) as http,  # a proxy has no business on localhost
        OpenAI(base_url=url, api_key="local", max_retries=0, http_client=http) as client,
    ):
        # The first call imports and connects: a quarter of a second that is no model's latency.
        client.chat.completions.create(model="cedar-8b", messages=[{"role": "user", "content": ""}])
        yield client
