"""A language model that answers what the test told it, behind a local OpenAI-compatible endpoint."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lafid_assets.captions.answer_cache import AnswerCache
from lafid_assets.captions.chat_endpoint import ChatEndpoint, EndpointSettings


class ChatServer:
    """A local OpenAI-compatible endpoint that answers as it is told, and remembers what it was asked.

    Each entry of `script` answers one request; the last one stays. An entry is a text (a completion), a dict of completion fields
    (`content`, `finish_reason`), an HTTP status, (status, headers), or one of "#hang", "#drop", "#garbage".
    """

    def __init__(self) -> None:
        self.script: list = ["{}"]
        self.requests: list[dict] = []
        self.headers: list = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server._serve(self)

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            self.requests.append(body)
            self.headers.append(handler.headers)
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self._answer(handler, step(body) if callable(step) else step)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, handler: BaseHTTPRequestHandler, step: object) -> None:
        if step == "#hang":
            self._stopped.wait(20)
            return
        if step == "#drop":
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        status, headers = (step, {}) if isinstance(step, int) else step if isinstance(step, tuple) else (200, {})
        fields = {"content": step} if isinstance(step, str) else step if isinstance(step, dict) else {}
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": fields.get("content")},
            "finish_reason": fields.get("finish_reason", "stop"),
        }
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        content = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})
        payload = (b"<html>" if step == "#garbage" else content.encode()) if status == 200 else b'{"error": {"message": "no"}}'
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(payload)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(payload)


@pytest.fixture
def chat_server():
    server = ChatServer()
    yield server
    server.stop()


@pytest.fixture
def chat_settings(chat_server, monkeypatch):
    """Settings for the local endpoint, quick to give up; keywords change them."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # a machine behind a proxy reaches its own server directly

    def make(**changes):
        quick = {"model": "tiny", "requests_per_min": 60_000, "timeout_s": 5.0, "max_retries": 0}
        return EndpointSettings(**({"base_url": chat_server.base_url} | quick | changes))

    return make


@pytest.fixture
def chat_endpoint(chat_settings, tmp_path):
    """An endpoint that asks `chat_server`, with a cache of its own."""

    def make(**changes):
        return ChatEndpoint(chat_settings(**changes), AnswerCache(tmp_path / "answers"))

    return make
