"""Raw requests to the server of the page: names of the host, origins, routes, quotas and names of uploads."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

gr = pytest.importorskip("gradio", reason="Gradio is not installed (requirements-demo.txt)")

from src.web.guard import UPLOAD, Quota  # noqa: E402
from src.web.server import serve  # noqa: E402

MAX_UPLOAD, MAX_STORED = 2_000_000, 5_000_000


class Served:
    """Page without a model: its address and its folder."""

    def __init__(self, blocks: Any, folder: Path) -> None:
        self.blocks, self.folder = blocks, folder
        self.port = int(blocks.local_url.rstrip("/").rsplit(":", 1)[1])

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        length = {} if body is None else {"Content-Length": str(len(body))}
        connection.putrequest(method, path, skip_host="Host" in named)
        for name, value in [*length.items(), *named.items()]:
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        found = answer.status, b"" if "event-stream" in str(answer.headers["content-type"]) else answer.read()
        connection.close()
        return found

    def upload(self, *files: tuple[str, bytes], **headers: str) -> tuple[int, bytes]:
        return self.ask("POST", UPLOAD, form(*files), **{"Content-Type": "multipart/form-data; boundary=xx"} | headers)

    def stored(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def stored_bytes(self) -> int:
        total = 0
        for path in self.stored():
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total


def form(*files: tuple[str, bytes]) -> bytes:
    parts = (
        f'--xx\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in files
    )
    return b"".join(parts) + b"--xx--\r\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("page")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        with gr.Blocks(analytics_enabled=False) as blocks:
            file, text = gr.File(), gr.Text()
            file.upload(lambda path: str(path), file, text, queue=False)
        serve(blocks, None, False, Quota(folder, MAX_UPLOAD, MAX_STORED), "")
        yield Served(blocks, folder)
        blocks.close(verbose=False)


@pytest.fixture
def page(running: Served) -> Iterator[Served]:
    yield running
    for path in running.stored():
        path.unlink()


def requests_of(page: Served) -> list[tuple[str, str]]:
    """Every route of Gradio with every method, parameters filled in."""
    routes = [inner for route in page.blocks.app.routes for inner in getattr(route, "original_router", page.blocks.app).routes]
    found = {
        (method, re.sub(r"\{[^}]*\}", "x", route.path))
        for route in routes
        if hasattr(route, "path")
        for method in getattr(route, "methods", None) or ("GET",)
    }
    return sorted(found | {("OPTIONS", UPLOAD), ("DELETE", UPLOAD), ("PUT", "/"), ("GET", "/no/such/route")})


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com"},
        {"Host": "evil.example.com:7860", "Origin": "http://evil.example.com:7860"},
        {"Host": "127.0.0.1.evil.example.com"},
        {"Host": "localhost.evil.example.com:7860"},
        {"Host": "localhost:7860@evil.example.com"},
        {"Host": "[::2]:7860"},
        {"Host": "0.0.0.0:7860"},
        {"Host": "127.0.0.2"},
        {"Host": ""},
        {"X-Forwarded-Host": "evil.example.com"},
        {"X-Forwarded-Host": "localhost, evil.example.com"},
        {"Origin": "http://evil.example.com"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://localhost.evil.example.com"},
        {"Origin": "file://"},
        {"Origin": "127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
    ids=str,
)
def test_every_route_refuses_other_hosts_and_origins(page: Served, headers: dict[str, str]) -> None:
    asked = requests_of(page)
    assert len(asked) > 60 and ("POST", UPLOAD) in asked
    for method, path in asked:
        assert page.ask(method, path, **headers)[0] == 403, (method, path)
    assert page.upload(("a.mp4", b"x" * 1000), **headers)[0] == 403 and page.stored() == []


def test_a_request_without_or_with_two_hosts_is_refused(page: Served) -> None:
    for lines in ("GET / HTTP/1.0", "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example.com"):
        with socket.create_connection(("127.0.0.1", page.port), timeout=30) as line:
            line.sendall(f"{lines}\r\n\r\n".encode())
            assert line.recv(100).split()[1] in (b"403", b"400")


def test_a_websocket_is_refused(page: Served) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x" * 24}
    for headers in ({"Host": "evil.example.com"}, {"Origin": "http://evil.example.com"}):
        for path in ("/", "/gradio_api/queue/join"):
            assert page.ask("GET", path, **headers, **upgrade)[0] == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}", "localhost:9000", "127.0.0.1:80", "localhost"]
)
def test_the_names_of_this_machine_and_tunnels_to_it_are_served(page: Served, host: str) -> None:
    name = host.format(page.port)
    assert page.ask("GET", "/", Host=name)[0] == 200
    assert page.ask("GET", "/config", Host=name, Origin=f"http://{name}", Sec_Fetch_Site="same-origin")[0] == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert page.ask("GET", "/", Host=name, **link)[0] == 200
    status, paths = page.upload(("a.mp4", b"x" * 1000), Host=name, Origin=f"http://{name}")
    assert status == 200 and [Path(path) for path in json.loads(paths)] == page.stored()


def test_only_requests_of_the_page_are_taken(page: Served) -> None:
    for path in (
        "component_server",
        "process_recording",
        "vibe-edit",
        "call/predict",
        "api/predict",
        "stream/x",
        "upload/",
        "login",
    ):
        content = form(("a.mp4", b"x"))
        assert page.ask("POST", f"/gradio_api/{path}", content, **{"Content-Type": "multipart/form-data; boundary=xx"})[0] == 403
    assert page.ask("POST", "/gradio_api/queue/join", b"[" * 2_000_000)[0] == 413
    assert page.stored() == []


def test_one_request_stores_one_file_within_the_limit(page: Served) -> None:
    status, answer = page.upload(*((f"{number}.mp4", b"x" * 1000) for number in range(12)))
    assert status == 400 and b"Too many files" in answer and page.stored() == []
    for size in (MAX_UPLOAD + 1, MAX_UPLOAD + 2**17, 3 * MAX_UPLOAD):
        status, answer = page.upload(("a.mp4", b"x" * size))
        assert status == 413 and b"maximum allowed size" in answer and page.stored() == []
    assert page.upload(("a.mp4", b"x" * MAX_UPLOAD))[0] == 200
    field = b'--xx\r\nContent-Disposition: form-data; name="files"\r\n\r\n' + b"x" * 1000 + b"\r\n--xx--\r\n"
    assert page.ask("POST", UPLOAD, field, **{"Content-Type": "multipart/form-data; boundary=xx"})[0] == 400


@pytest.mark.parametrize("size", [MAX_UPLOAD * 2, MAX_UPLOAD // 2])
def test_a_body_without_a_length_is_limited_while_it_arrives(page: Served, size: int) -> None:
    largest = 0

    def chunks() -> Iterator[bytes]:
        nonlocal largest
        content = form(("a.mp4", b"x" * size))
        for start in range(0, len(content), 2**16):
            piece = content[start : start + 2**16]
            yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
            largest = max(largest, page.stored_bytes())
        yield b"0\r\n\r\n"

    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    connection.putrequest("POST", UPLOAD)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader("Content-Type", "multipart/form-data; boundary=xx")
    connection.endheaders()
    try:
        for chunk in chunks():
            connection.send(chunk)
    except (BrokenPipeError, ConnectionResetError):
        assert size > MAX_UPLOAD
    else:
        assert connection.getresponse().status == (413 if size > MAX_UPLOAD else 200)
    connection.close()
    assert largest <= MAX_UPLOAD and wait(lambda: len(page.stored()) == (size <= MAX_UPLOAD))


def test_all_files_of_the_page_have_a_limit(page: Served) -> None:
    statuses = [page.upload((f"{number}.mp4", bytes([number]) * 1_500_000))[0] for number in range(5)]
    assert statuses == [200, 200, 200, 413, 413] and sum(path.stat().st_size for path in page.stored()) == 4_500_000


@pytest.mark.parametrize(
    "path",
    [
        "http://192.0.2.1/a.mp4",
        "https://example.com/a.mp4",
        "HTTPS://example.com/a.mp4",
        "file:///etc/passwd",
        "/etc/passwd",
        "../../../etc/passwd",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_only_uploads_are_read(page: Served, path: str, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def fetch(url: str) -> None:
        asked.append(url)
        raise OSError(url)

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_get", fetch)
    file = {"path": path, "url": path, "is_stream": stream, "meta": {"_type": "gradio.FileData"}}
    request = {"data": [file], "fn_index": 0, "session_hash": "x"}
    answer = page.ask("POST", "/gradio_api/run/predict", json.dumps(request).encode(), **{"Content-Type": "application/json"})
    assert not asked and b"root:" not in answer[1] and (answer[0] >= 400 or stream) and page.stored_bytes() == 0


def test_an_interrupted_upload_is_deleted(page: Served) -> None:
    with socket.create_connection(("127.0.0.1", page.port), timeout=30) as line:
        content = form(("a.mp4", b"x" * 1_000_000))
        head = f"POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=xx\r\n"
        line.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:500_000])
        assert wait(lambda: page.stored() != [])
    assert wait(lambda: page.stored() == [])


def wait(true: Any) -> bool:
    for _ in range(500):
        if true():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "name",
    [
        "../../../evil.mp4",
        "..",
        ".",
        "",
        "/etc/evil.mp4",
        "..\\..\\evil.mp4",
        "a/../../evil.mp4",
        "%2e%2e%2fevil.mp4",
        "x" * 300 + ".mp4",
        "...mp4",
    ],
    ids=lambda name: name[:20],
)
def test_names_of_uploads_stay_in_a_folder_of_their_own(page: Served, name: str) -> None:
    before = sorted(page.folder.parent.iterdir())
    for _ in range(2):
        status, paths = page.upload((name, b"same"))
        assert status == 200
        path = Path(json.loads(paths)[0])
        assert path.parent.parent == page.folder and path.read_bytes() == b"same" and ".." not in path.parts
    assert len(page.stored()) == 2 and sorted(page.folder.parent.iterdir()) == before
