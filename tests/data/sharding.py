"""Shards of a folder, and an HTTP server with range requests."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from src.data.shards.writer import find_files, plan_shards, write_shards


def shard(source: Path, target: Path, shard_bytes: int = 50_000) -> Path:
    """Write the files of a folder to a few shards."""
    list(write_shards(source, target, plan_shards(find_files(source), shard_bytes)))
    return target


@dataclass
class RangeServer:
    """Serves a folder over HTTP.

    Attributes:
        url: of the folder.
        failures: number of next requests that get an error.
        supports_ranges: false sends whole files.
        requests: received so far, as ``<name> <range>``.
    """

    url: str = ""
    failures: int = 0
    supports_ranges: bool = True
    requests: list[str] = field(default_factory=list)


@contextmanager
def range_server(folder: Path) -> Iterator[RangeServer]:
    about = RangeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(with_content=True)

        def do_HEAD(self) -> None:
            self.answer(with_content=False)

        def answer(self, with_content: bool) -> None:
            if with_content:
                about.requests.append(f"{self.path.lstrip('/')} {self.headers.get('Range')}")
            if with_content and about.failures:
                about.failures -= 1
                return self.send(503, b"")
            path = folder / self.path.lstrip("/")
            if not path.is_file():
                return self.send(404, b"")
            content = path.read_bytes()
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
            if not (wanted and about.supports_ranges):
                return self.send(200, content, with_content)
            first, last = int(wanted[1]), int(wanted[2])
            if first >= len(content):
                return self.send(416, b"")
            return self.send(206, content[first : last + 1], with_content, f"bytes {first}-{last}/{len(content)}")

        def send(self, status: int, content: bytes, with_content: bool = True, part: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Accept-Ranges", "bytes")
            if part:
                self.send_header("Content-Range", part)
            self.end_headers()
            if with_content:
                self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    about.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield about
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
