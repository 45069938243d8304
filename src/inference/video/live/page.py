"""Live page: the newest frame of a running prediction's overlay, for browsers.

```
/               page with the picture
/stream.mjpeg   multipart/x-mixed-replace of JPEG
/state.json     frames, fps, dropped, key_share
```
"""

import html
import ipaddress
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

from PIL import Image
from torch import Tensor

log = logging.getLogger(__name__)

MAX_VIEWERS = 16
_JPEG_QUALITY = 85
_PART = b"--frame\r\n"
_TIMEOUT = 10.0  # seconds after which a viewer that reads or writes nothing is left
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>body {{ margin: 1rem; font-family: sans-serif }} img {{ max-width: 100% }}</style></head>
<body><h1>{title}</h1>
<img src="stream.mjpeg" alt="Newest frame of {title} with its classes in color">
<p><a href="state.json">Frames, rate and key frames</a></p></body>
</html>
"""


class LivePage:
    """Newest picture and state of a prediction. Viewers wait for pictures, and :meth:`show` for no viewer.

    Args:
        title: name of what is predicted, plain text.
        host: host that the page listens on; its name is accepted in requests.
    """

    def __init__(self, title: str, host: str) -> None:
        self.title, self.host = title, host
        self.state: Mapping[str, float] = {}
        self.viewers = 0
        self._changed, self._encoding = threading.Condition(), threading.Lock()
        self._picture: Tensor | None = None
        self._number, self._ended = 0, False
        self._encoded: tuple[int, bytes] = 0, b""

    def show(self, picture: Tensor) -> None:
        """Take the newest picture, (3, H, W) uint8 RGB, not changed afterwards; nothing is kept without viewers."""
        with self._changed:
            self._picture = picture if self.viewers else None
            self._number += 1
            self._changed.notify_all()

    def end(self) -> None:
        """End all streams."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def accepts(self, hosts: list[str]) -> bool:
        """Return whether the ``Host`` of a request is a name of this page; a page of another site has none (DNS rebinding)."""
        if len(hosts) != 1:
            return False
        name = hosts[0].lower() if hosts[0].endswith("]") else hosts[0].lower().rpartition(":")[0] or hosts[0].lower()
        if name in ("localhost", self.host.lower()):
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    @contextmanager
    def viewer(self) -> Iterator[bool]:
        """Count a viewer; ``False`` if there are :data:`MAX_VIEWERS` already."""
        with self._changed:
            free = self.viewers < MAX_VIEWERS
            self.viewers += free
        try:
            yield free
        finally:
            with self._changed:
                self.viewers -= free

    def pictures(self) -> Iterator[bytes]:
        """Yield the JPEG of each next frame, or of the newest one where the viewer was slower, until the end."""
        seen = self._number

        def is_ready() -> bool:
            return self._ended or (self._number > seen and self._picture is not None)

        while True:
            with self._changed:
                self._changed.wait_for(is_ready)
                picture, number = self._picture, self._number
                if self._ended or picture is None:
                    return
            seen = number
            yield self._jpeg(picture, number)

    def _jpeg(self, picture: Tensor, number: int) -> bytes:
        # In the thread of a viewer, once for all of them.
        with self._encoding:
            if self._encoded[0] != number:
                file = BytesIO()
                image = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
                image.save(file, "JPEG", quality=_JPEG_QUALITY)
                self._encoded = number, file.getvalue()
            return self._encoded[1]


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def __init__(self, address: tuple[str, int], page: LivePage) -> None:
        self.page = page
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT

    def do_GET(self) -> None:
        """Answer one request."""
        try:
            self._answer()
        except OSError as error:
            log.debug("a viewer of the live page is gone: %s", error)

    def log_message(self, format: str, *args: object) -> None:
        """Log requests for debugging only."""
        log.debug(format, *args)

    def _answer(self) -> None:
        page = self.server.page
        if not page.accepts(self.headers.get_all("Host", [])):
            return self._send(403, "text/plain", b"Host is no name of this page\n")
        if self.path != "/" and self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return self._send(403, "text/plain", b"the request comes from another site\n")
        if self.path == "/":
            return self._send(200, "text/html; charset=utf-8", _PAGE.format(title=html.escape(page.title)).encode())
        if self.path == "/state.json":
            return self._send(200, "application/json", json.dumps(page.state).encode())
        if self.path != "/stream.mjpeg":
            return self._send(404, "text/plain", b"not found\n")
        with page.viewer() as free:
            if not free:
                return self._send(503, "text/plain", f"{MAX_VIEWERS} viewers watch already\n".encode())
            self._begin(200, "multipart/x-mixed-replace; boundary=frame")
            # A browser shows a part once the next one begins.
            self.wfile.write(_PART)
            for jpeg in page.pictures():
                self.wfile.write(b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n%b" % (len(jpeg), jpeg, _PART))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self._begin(status, kind, {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _begin(self, status: int, kind: str, more: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        policy = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        fixed = {"Content-Type": kind, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        for name, value in {**fixed, "Content-Security-Policy": policy, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()


def place(text: str | int) -> tuple[str, int]:
    """Return host and port of ``<port>``, which is on 127.0.0.1, or ``<host>:<port>``."""
    host, _, port = str(text).rpartition(":")
    return host or "127.0.0.1", int(port)


@contextmanager
def live_page(where: str | int | None, title: str) -> Iterator[LivePage | None]:
    """Serve a page during the context, see :func:`place`; ``None``: none.

    Raises:
        ValueError: if the port cannot be listened on.
    """
    if where is None:
        yield None
        return
    host, port = place(where)
    page = LivePage(title, host)
    try:
        server = _Server((host, port), page)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"live_page is {where}: {reason}; expected a free port of this machine") from None
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="live page", daemon=True)
    thread.start()
    log.info("live page: http://%s:%d", host, server.server_address[1])
    try:
        yield page
    finally:
        page.end()
        server.shutdown()
        server.server_close()
        thread.join()
