"""A local endpoint that speaks as OpenAI and as Anthropic do, and keeps a log of what it sent.

The model's name says how it behaves: ``…-limited`` answers 429 to the first request of each
question, ``…-broken`` always 500, ``…-slow`` after two seconds, ``…-tool`` wants a tool first,
``…-cached`` took half of its prompt from a cache. Nothing is random.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Lock, Thread
from typing import Any

Json = dict[str, Any]


@dataclass
class Log:
    """What the server answered, in order.

    Attributes:
        url: without the version, e.g. ``http://127.0.0.1:1234``.
        answers: model, status, input and output tokens, id and path of each.
        arrived: requests so far, answered or not.
    """

    url: str = ""
    answers: list[Json] = field(default_factory=list)
    arrived: int = 0
    _lock: Lock = field(default_factory=Lock)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _limited: set[str] = field(default_factory=set)

    def add(self, **answer: Any) -> None:
        with self._lock:
            self.answers.append(answer)

    @property
    def good(self) -> list[Json]:
        return [answer for answer in self.answers if answer["status"] == 200]

    def tokens(self) -> tuple[int, int]:
        return sum(a["input"] for a in self.good), sum(a["output"] for a in self.good)


@contextmanager
def serve() -> Iterator[Log]:
    """Serve on a free local port."""
    log = Log()

    class Handler(_Handler):
        book = log

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that broke off, as cancelled ones do, is no error of ours."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    log.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield log
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _tokens(text: object) -> int:
    return 1 + len(json.dumps(text)) // 4


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    book: Log

    def do_GET(self) -> None:
        self._json(200, {"answers": self.book.answers})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = self.path.rpartition("/")[2]
        model = request["model"]
        with self.book._lock:
            self.book.arrived += 1
        if model.endswith("-slow"):
            time.sleep(2)
        if model.endswith("-broken"):
            self._refuse(500, model, "the server broke")
            return
        question = json.dumps(request.get("messages") or request.get("input"))
        with self.book._lock:
            fresh = question not in self.book._limited
            self.book._limited.add(question)
        if model.endswith("-limited") and fresh:
            self._refuse(429, model, "too many requests", {"Retry-After": "0"})
            return
        number = next(self.book._numbers)
        if kind == "embeddings":
            self._embeddings(request, number)
        elif kind == "messages":
            self._anthropic(request, number)
        elif kind == "completions":
            self._openai(request, number)
        else:
            self._refuse(404, model, f"no such path: {self.path}")

    # --- OpenAI -------------------------------------------------------------------------------

    def _openai(self, request: Json, number: int) -> None:
        model, messages = request["model"], request["messages"]
        answered = any(m["role"] == "tool" for m in messages)
        wants_tool = model.endswith("-tool") and not answered
        text = None if wants_tool else f"answer {number}"
        usage: Json = {"prompt_tokens": _tokens(messages), "completion_tokens": 5 + number % 7}
        usage["total_tokens"] = sum(usage.values())
        if model.endswith("-cached"):
            usage["prompt_tokens_details"] = {"cached_tokens": usage["prompt_tokens"] // 2}
            usage["completion_tokens_details"] = {"reasoning_tokens": 2}
        reason = "tool_calls" if wants_tool else "stop"
        calls = [
            {"id": f"call_{number}", "type": "function", "index": 0,
             "function": {"name": "look_up", "arguments": '{"what": "it"}'}}
        ]  # fmt: skip
        message: Json = {"role": "assistant", "content": text}
        if wants_tool:
            message["tool_calls"] = calls
        body = {
            "id": f"chatcmpl-{number}", "created": 1_763_900_000, "model": model,
            "service_tier": "default",
        }  # fmt: skip
        self._note(model, body["id"], usage["prompt_tokens"], usage["completion_tokens"])
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            self._json(
                200, {**body, "object": "chat.completion", "choices": [choice], "usage": usage}
            )
            return
        deltas: list[Json] = [message]
        if not wants_tool:
            deltas = [{"role": "assistant", "content": word} for word in ("a ", "b")]
        chunks: list[Json] = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
        ]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if (request.get("stream_options") or {}).get("include_usage"):
            chunks.append({"choices": [], "usage": usage})
        head = {**body, "object": "chat.completion.chunk"}
        self._stream(
            [f"data: {json.dumps({**head, **c})}\n\n" for c in chunks] + ["data: [DONE]\n\n"]
        )

    def _embeddings(self, request: Json, number: int) -> None:
        texts = request["input"]
        used = _tokens(texts)
        self._note(request["model"], f"emb-{number}", used, 0)
        rows = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        usage = {"prompt_tokens": used, "total_tokens": used}
        self._json(200, {"object": "list", "data": rows, "model": request["model"], "usage": usage})

    # --- Anthropic ----------------------------------------------------------------------------

    def _anthropic(self, request: Json, number: int) -> None:
        model, messages = request["model"], request["messages"]
        answered = '"tool_result"' in json.dumps(messages)
        wants_tool = model.endswith("-tool") and not answered
        fresh, output = _tokens(messages), 5 + number % 7
        read, write = (fresh, 3) if model.endswith("-cached") else (0, 0)
        usage = {
            "input_tokens": fresh, "output_tokens": output,
            "cache_read_input_tokens": read, "cache_creation_input_tokens": write,
        }  # fmt: skip
        block: Json = {"type": "text", "text": f"answer {number}"}
        if wants_tool:
            block = {
                "type": "tool_use",
                "id": f"toolu_{number}",
                "name": "look_up",
                "input": {"what": "it"},
            }
        reason = "tool_use" if wants_tool else "end_turn"
        body = {
            "id": f"msg_{number}", "type": "message", "role": "assistant", "model": model,
            "content": [block], "stop_reason": reason, "stop_sequence": None, "usage": usage,
        }  # fmt: skip
        self._note(model, body["id"], fresh + read + write, output)
        if not request.get("stream"):
            self._json(200, body)
            return
        start = {**body, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        empty: Json = {**block, "text": ""} if "text" in block else {**block, "input": {}}
        delta = (
            {"type": "text_delta", "text": block["text"]}
            if "text" in block
            else {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        )
        events: list[Json] = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": empty},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None},
             "usage": {"output_tokens": output}},
            {"type": "message_stop"},
        ]  # fmt: skip
        self._stream([f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events])

    # --- replies ------------------------------------------------------------------------------

    def _note(self, model: str, id: str, input: int, output: int) -> None:
        self.book.add(model=model, status=200, id=id, input=input, output=output, path=self.path)

    def _refuse(
        self, status: int, model: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        self.book.add(model=model, status=status, id=None, input=0, output=0, path=self.path)
        error = {"type": "error", "message": text, "code": None, "param": None}
        self._json(status, {"type": "error", "error": error}, headers)

    def _json(self, status: int, body: Json, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self._write(data)

    def _stream(self, pieces: list[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            data = piece.encode()
            self._write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
            time.sleep(0.005)
        self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            self.close_connection = True  # the client has gone: a cancelled call

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal for pytest."""
