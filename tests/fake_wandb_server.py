"""Fake W&B server with the responses that a run needs to start; it can be shut down."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_BUCKET = {
    "id": "b", "name": "fake", "displayName": "fake", "description": "", "config": "{}", "sweepName": None, "historyLineCount": 0,
    "project": {"id": "p", "name": "mpvss", "entity": {"id": "e", "name": "nobody"}},
}  # fmt: skip
_ANSWERS: dict[str, dict[str, Any]] = {
    "UpsertBucket": {"upsertBucket": {"bucket": _BUCKET, "inserted": True}},
    "CreateRunFiles": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []}},
    "Viewer": {"viewer": {"id": "v", "entity": "nobody", "username": "nobody", "flags": "{}", "teams": {"edges": []}}},
}


class FakeWandbServer(ThreadingHTTPServer):
    """Server on a free port of this machine.

    Attributes:
        url: address of the server.
        requests: names of the received requests.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[str] = []

    def die(self) -> None:
        """Close the port, so that connections are refused."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FakeWandbServer

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"{}")

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        name = next((name for name in _ANSWERS if f" {name}(" in text or f" {name} " in text), self.path)
        self.server.requests.append(name)
        self._answer(json.dumps({"data": _ANSWERS.get(name, {})}).encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def fake_wandb_server() -> Iterator[FakeWandbServer]:
    server = FakeWandbServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.die()
