"""A small OpenAI-compatible endpoint, so that the examples run anywhere, the same each time.

It offers ``POST /v1/chat/completions``. Each model knows the answers below, but for its own
mistakes; one of them fails on some questions, as a busy provider does. Nothing is random.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ANSWERS = {
    "What is the capital of Australia?": "Canberra",
    "Which planet has the most moons?": "Saturn",
    "Who wrote 'The Selfish Gene'?": "Richard Dawkins",
    "What is the chemical symbol of tungsten?": "W",
    "How many bits are in a byte?": "8",
    "What does HTTP status 418 say?": "I'm a teapot",
    "In which year did Apollo 11 land?": "1969",
    "What is the largest prime below 100?": "97",
    "Which language is CPython written in?": "C",
    "What is the boiling point of water in kelvin?": "373",
    "Which gas do plants take in?": "Carbon dioxide",
    "What is the square root of 144?": "12",
}

# (ms before the first token, ms per token)
MODELS = {
    "alder-8b": (3.0, 0.2),
    "birch-8b": (3.0, 0.3),
    "cedar-8b": (4.0, 0.2),
    "oak-70b": (9.0, 0.8),
}

MISTAKES = {
    ("alder-8b", "What is the capital of Australia?"): "Sydney",
    ("birch-8b", "Which planet has the most moons?"): "Jupiter",
    ("cedar-8b", "What is the largest prime below 100?"): "91",
}
FAILURES = {
    ("alder-8b", "Who wrote 'The Selfish Gene'?"): (429, "Rate limit reached for alder-8b"),
    ("alder-8b", "In which year did Apollo 11 land?"): (500, "The server had an error"),
}
STALLS_MS = {("oak-70b", "Which gas do plants take in?"): 400.0}


@contextmanager
def serve() -> Iterator[str]:
    """Serve on a free local port; yields the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open, as with a real provider
    wbufsize = -1  # head and body in one packet; two of them cost 40 ms of delayed ACK

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model, question = request["model"], request["messages"][-1]["content"]
        if self.path != "/v1/chat/completions":
            self._reply(404, _error("Unknown path", "not_found"))
        elif model not in MODELS:
            self._reply(404, _error(f"The model {model!r} does not exist", "model_not_found"))
        elif (model, question) in FAILURES:
            status, message = FAILURES[model, question]
            self._reply(status, _error(message, "rate_limit" if status == 429 else "server_error"))
        else:
            self._reply(200, _completion(model, request["messages"]))

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal for pytest."""


def _completion(model: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    question = messages[-1]["content"]
    answer = MISTAKES.get((model, question)) or ANSWERS.get(question, "I don't know.")
    prompt_tokens = sum(4 + _tokens(message["content"]) for message in messages)
    completion_tokens = _tokens(answer)
    first_ms, token_ms = MODELS[model]
    stall_ms = STALLS_MS.get((model, question), 0.0)
    time.sleep((first_ms + token_ms * completion_tokens + stall_ms) / 1000)
    return {
        "id": f"chatcmpl-{model}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _tokens(text: str) -> int:
    return 1 + len(text) // 4


def _error(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": code, "param": None, "code": code}}
