"""These tests need the real client libraries: ``make capture`` installs and runs them.

They live in an environment of their own, because one of them (logfire) is a pytest plugin that
loads OpenTelemetry into every session, and the suite proves that nothing does.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest

from tests.bridges.support import no_provider
from tests.clients.fake_models import Log, serve

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no network
LIBRARIES = (
    "openai", "anthropic", "pydantic_ai", "litellm", "logfire", "openinference",
)  # fmt: skip
MISSING = [name for name in LIBRARIES if find_spec(name) is None]
if MISSING:
    collect_ignore_glob = ["test_*.py"]


def pytest_report_header() -> str | None:
    if MISSING and any("tests" in each for each in sys.argv):
        return f"tests/capture: not collected, needs {', '.join(MISSING)}; run `make capture`"
    return None


_strangers: set[str] = set()


def _notice(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        host = arguments[1][0] if isinstance(arguments[1], tuple) else "localhost"  # a Unix socket
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host)
    if host not in ("127.0.0.1", "::1", "localhost", "None", ""):
        _strangers.add(host)
        raise ConnectionError(f"tests of capture talk to loopback only, not to {host}")


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Iterator[None]:
    """Nobody asks anybody else, also not from a thread that swallows errors."""
    sys.addaudithook(_notice)  # for good; the environment is for these tests only
    yield
    assert not _strangers


@pytest.fixture(autouse=True, scope="session")
def _one_ssl_context() -> Iterator[None]:
    """Each client reads all certificates, for 0.2 s, to ask a server that has none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture
def log() -> Iterator[Log]:
    """A server of models, and its log."""
    with serve() as log:
        yield log


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with no_provider():
        yield
