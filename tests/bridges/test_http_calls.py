"""HTTP: calls to model hosts are counted, never read, and clients are left as they were."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pytest_crucible.bridges.http_calls import HttpWatch, client_of


class Client:
    """A client as `httpx` and `requests` have it: ``send`` takes a request with a URL."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, request: Any, **_: object) -> str:
        self.sent.append(request)
        if isinstance(request, SimpleNamespace) and getattr(request, "fails", False):
            raise ConnectionError("refused")
        return "answer"


class AsyncSession:
    """As `aiohttp` has it: method and URL as texts."""

    async def _request(self, method: str, url: str, **_: object) -> str:
        return f"{method} {url}"


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> tuple[type[Client], type[AsyncSession]]:
    """Two libraries with these clients, as if they had been imported."""
    requests, aiohttp = ModuleType("requests"), ModuleType("aiohttp")
    client = type("Session", (Client,), {"send": Client.send})
    session = type("ClientSession", (AsyncSession,), {"_request": AsyncSession._request})
    requests.Session, aiohttp.ClientSession = client, session  # type: ignore[attr-defined]
    for name in ("httpx", "httpx2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "requests", requests)
    monkeypatch.setitem(sys.modules, "aiohttp", aiohttp)
    return client, session


def request(url: object, **more: object) -> Any:
    return SimpleNamespace(url=url, **more)


@pytest.mark.parametrize(
    ("url", "counted"),
    [
        ("https://api.openai.com/v1/chat/completions", ("api.openai.com", "openai")),
        ("https://api.openai.com/v1/embeddings?x=1", ("api.openai.com", "openai")),
        ("http://localhost:11434/v1/responses", ("localhost", "openai")),
        ("https://api.anthropic.com/v1/messages", ("api.anthropic.com", "anthropic")),
        ("https://x.googleapis.com/v1/models/g:generateContent", ("x.googleapis.com", "other")),
        ("https://bedrock.aws/model/m/converse-stream", ("bedrock.aws", "other")),
        ("https://api.openai.com/v1/models", None),
        ("https://api.openai.com/v1/chat/completions/7", None),
        ("https://example.com/inbox/messages/read", None),
        ("not a url", None),
    ],
)
def test_calls_of_models_are_told_by_their_path(
    clients: tuple[type[Client], type[AsyncSession]], url: str, counted: tuple[str, str] | None
) -> None:
    """By host and protocol; what is no call of a model is not counted."""
    watch = HttpWatch()
    watch.open()
    assert clients[0]().send(request(url)) == "answer"
    assert watch.close() == ({} if counted is None else {counted: 1})


@pytest.mark.parametrize(
    ("path", "client"),
    [
        ("/v1/messages", "anthropic"), ("/v1/completions", "openai"), ("/responses", "openai"),
        ("/model/m/invoke", "other"), ("/messages/batches", "other"),
    ],
)  # fmt: skip
def test_protocols(path: str, client: str) -> None:
    """Anthropic's and OpenAI's are known by name, also behind a proxy."""
    assert client_of(path) == client


def test_urls_come_in_every_shape(clients: tuple[type[Client], type[AsyncSession]]) -> None:
    """Objects with host and path, texts in a request, and texts after the method."""
    client, session = clients
    url = "https://a.b/v1/messages"
    watch = HttpWatch()
    watch.open()
    client().send(request(SimpleNamespace(host="c.d", path="/v1/messages")))
    client().send(request=request(url))
    assert asyncio.run(session()._request("POST", url)) == f"POST {url}"
    assert watch.close() == {("c.d", "anthropic"): 1, ("a.b", "anthropic"): 2}


def test_a_call_that_fails_was_made(clients: tuple[type[Client], type[AsyncSession]]) -> None:
    """It is counted, and its exception is the client's own."""
    watch = HttpWatch()
    watch.open()
    with pytest.raises(ConnectionError, match="refused"):
        clients[0]().send(request("https://a.b/v1/messages", fails=True))
    assert watch.close() == {("a.b", "anthropic"): 1}


def test_what_cannot_be_read_is_sent_all_the_same(
    clients: tuple[type[Client], type[AsyncSession]],
) -> None:
    """A client of another version is not ours to judge."""

    class Strange:
        @property
        def url(self) -> str:
            raise RuntimeError("no")

    watch = HttpWatch()
    watch.open()
    client = clients[0]()
    odd = Strange()
    assert client.send(odd) == "answer"
    assert client.sent == [odd]
    assert watch.close() == {}


def test_counts_begin_anew(clients: tuple[type[Client], type[AsyncSession]]) -> None:
    """Each stretch has its own; opened twice nothing counts twice; closed, nothing counts."""
    client, watch = clients[0](), HttpWatch()
    url = "https://a.b/v1/messages"
    watch.open()
    watch.open()
    client.send(request(url))
    assert watch.close() == {("a.b", "anthropic"): 1}
    client.send(request(url))
    watch.open()
    assert watch.close() == {}


def test_clients_are_put_back(clients: tuple[type[Client], type[AsyncSession]]) -> None:
    """As they were; unless somebody has wrapped them meanwhile, whose wrapper stays."""
    client, session = clients
    before = client.__dict__["send"], session.__dict__["_request"]
    watch = HttpWatch()
    watch.open()
    assert client.__dict__["send"] is not before[0]
    ours = client.__dict__["send"]

    def theirs(self: Client, request: object, **_: object) -> str:
        return f"wrapped {ours(self, request)}"

    client.send = theirs  # type: ignore[method-assign]
    watch.close()
    assert client.__dict__["send"] is theirs
    assert session.__dict__["_request"] is before[1]
    assert client().send(request("https://a.b/v1/messages")) == "wrapped answer"


def test_without_clients_there_is_nothing_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are imported later are not seen; none is imported for it."""
    for name in ("httpx", "httpx2", "requests", "aiohttp"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    watch = HttpWatch()
    watch.open()
    assert watch.close() == {}
    assert not {"httpx", "requests", "aiohttp"} & set(sys.modules)
