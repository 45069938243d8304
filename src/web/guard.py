"""Guard in front of the demo page: the names of this machine, the page's own origin, few routes, and a quota of bytes."""

import logging
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

UPLOAD = "/gradio_api/upload"
_POSTS = {UPLOAD, *(f"/gradio_api/{name}" for name in ("queue/join", "run/predict", "cancel", "reset"))}
# Any port: that of the page, or the near end of a tunnel (ssh -L 9000:127.0.0.1:7860).
_LOOPBACK = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::(\d{1,5}))?", re.IGNORECASE)
_MAX_MESSAGE = 2**20  # bytes of a request other than an upload
_FORM_BYTES = 2**16  # boundary and headers around an uploaded file
_CHECK_INTERVAL = 2**20  # bytes between two looks at the folder
_MIN_FREE = 2**26  # bytes that stay free on the disk


class Quota(NamedTuple):
    """Limits of uploads, bytes: of one file, and of everything in the page's folder."""

    folder: Path
    max_upload: int
    max_stored: int

    def exceeded(self, more: int = 0) -> str | None:
        """Return why ``more`` bytes cannot be stored, ``None`` if they can."""
        if _stored_bytes(self.folder) + more > self.max_stored:
            return f"the files of the page exceed the maximum allowed size of {self.max_stored} bytes; close other tabs or wait"
        if shutil.disk_usage(self.folder).free < more + _MIN_FREE:
            return "the upload exceeds the maximum allowed size: the disk is full"
        return None


class Guard:
    """ASGI application that refuses requests before ``app`` sees them.

    Status 403 for a ``Host`` that is no name of the loopback address (DNS rebinding), for an ``Origin`` other than the page
    itself, for what a browser marks as another site's request, and for a ``POST`` that the page never sends; 413 for a body
    beyond the quota, while it arrives.
    """

    def __init__(self, app: ASGIApp, quota: Quota) -> None:
        self._app, self._quota = app, quota

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        reason = foreign(headers, scope.get("method", "GET"), scope["path"])
        if reason is not None:
            log.warning("refused %.200r: %s", scope["path"], reason)
        if scope["type"] == "websocket":  # the page uses none
            return await send({"type": "websocket.close", "code": 1008})
        if reason is not None:
            return await PlainTextResponse(reason, status_code=403)(scope, receive, send)
        body = _Body(receive, self._quota, scope["path"] == UPLOAD)
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and (reason := body.refusal(int(declared))) is not None:
            return await PlainTextResponse(reason, status_code=413)(scope, receive, send)
        await self._app(scope, body.receive, send)


def foreign(headers: Headers, method: str, path: str) -> str | None:
    """Return why a request is none of the page's own, ``None`` if it is one."""
    hosts = headers.getlist("host")
    # Gradio builds its addresses from a forwarded host.
    forwarded = [name.strip() for line in headers.getlist("x-forwarded-host") for name in line.split(",")]
    if len(hosts) != 1 or not all(_LOOPBACK.fullmatch(name) for name in hosts + forwarded):
        return f"Host is {', '.join(hosts + forwarded)[:200]!r}; expected localhost, 127.0.0.1 or [::1]"
    host = _LOOPBACK.fullmatch(hosts[0])
    for origin in headers.getlist("origin"):
        found = _LOOPBACK.fullmatch(origin.removeprefix("http://"))
        if host is None or found is None or "://" not in origin or (found[1] or "80") != (host[1] or "80"):
            return f"Origin is {origin[:200]!r}; expected http://{hosts[0]}"
    # Requests without an Origin: images, scripts and frames of other pages. A link to the page stays possible.
    navigates = method == "GET" and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigates:
        return "the request comes from another site"
    if method not in ("GET", "HEAD") and not (method == "POST" and path in _POSTS):
        return f"{method} {path[:200]!r} is no request of the page"
    return None


class _Body:
    """Body of a request, refused where it grows beyond the quota."""

    def __init__(self, receive: Receive, quota: Quota, uploads: bool) -> None:
        self._receive, self._quota, self._uploads = receive, quota, uploads
        self._bytes = self._checked = 0
        self._ended = False

    def refusal(self, total: int) -> str | None:
        """Return why a body of ``total`` bytes is refused, ``None`` if it is not."""
        limit = self._quota.max_upload + _FORM_BYTES if self._uploads else _MAX_MESSAGE
        if total > limit:
            return f"the request exceeds the maximum allowed size of {limit} bytes"
        return self._quota.exceeded(total - self._bytes) if self._uploads else None

    async def receive(self) -> Message:
        """Return the next part, or raise the error that makes Gradio delete what it stored of the upload."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._uploads and not self._ended:
            raise MultiPartException("the upload was interrupted")
        self._bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._bytes > self._checked:
            reason = self.refusal(self._bytes)
            self._checked = self._bytes + (_CHECK_INTERVAL if self._uploads else 0)
            if reason is not None:
                raise MultiPartException(reason) if self._uploads else HTTPException(413, reason)
        return message


def _stored_bytes(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # deleted meanwhile
                continue
    return total
