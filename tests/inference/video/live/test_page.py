"""Laws of the live page: browsers see the newest frames, no viewer delays a prediction, other sites see nothing."""

import http.client
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.inference.video.live import page as module
from src.inference.video.live.page import MAX_VIEWERS, LivePage, live_page
from src.inference.video.outputs import OutputOptions
from src.inference.video.predictor import VideoPredictor
from tests.inference.tiny import CLASSES, frames, tiny_propagator
from tests.inference.video.test_prediction import Images

PORT = 1  # of the name in a request, which may have any


def picture(value: int, side: int = 32) -> Tensor:
    return torch.full((3, side, side), value, dtype=torch.uint8)


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, title: str = "street") -> Iterator[tuple[LivePage, int]]:
    """Serve a page on a free port, which options cannot ask for."""
    ports: list[int] = []
    original = module._Server.__init__

    def init(self: module._Server, address: tuple[str, int], page: LivePage) -> None:
        original(self, (address[0], 0), page)
        ports.append(self.server_address[1])

    monkeypatch.setattr(module._Server, "__init__", init)
    with live_page(8090, title) as page:
        assert page is not None
        yield page, ports[0]


def get(port: int, path: str, host: str | None = None, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}", **headers})
    return connection.getresponse()


def part(stream: http.client.HTTPResponse) -> int:
    """Return the gray value of the next JPEG of a stream."""
    assert stream.readline() == b"--frame\r\n"
    assert stream.readline() == b"Content-Type: image/jpeg\r\n"
    size = int(stream.readline().split(b":")[1])
    assert stream.readline() == b"\r\n"
    value = int(np.asarray(Image.open(io.BytesIO(stream.read(size)))).mean().round())
    assert stream.readline() == b"\r\n"
    return value


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.005)


def test_a_viewer_sees_each_next_frame_and_the_stream_ends_with_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch) as (page, port):
        page.show(picture(200))
        stream = get(port, "/stream.mjpeg")
        until(lambda: page.viewers == 1)
        assert stream.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        feeder = Feeder(page, stream)
        assert [feeder.next(value) for value in (20, 90, 160)] == [20, 90, 160]
    assert stream.read().endswith(b"--frame\r\n")  # the end of the connection, perhaps after the last value again


class Feeder:
    """Shows a picture until the viewer, whose thread may begin to wait a moment later, has received it."""

    def __init__(self, page: LivePage, stream: http.client.HTTPResponse) -> None:
        self._page, self._stream = page, stream
        self._last: int | None = None

    def next(self, value: int) -> int:
        received: list[int] = []

        def read() -> None:
            found = part(self._stream)
            while found == self._last:
                found = part(self._stream)
            received.append(found)

        reader = threading.Thread(target=read)
        reader.start()
        while reader.is_alive():
            self._page.show(picture(value))
            reader.join(0.02)
        self._last = received[0]
        return received[0]


def test_a_stalled_viewer_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch) as (page, port):
        stalled = get(port, "/stream.mjpeg")  # never read
        until(lambda: page.viewers == 1)
        noise = torch.randint(0, 256, (3, 512, 512), dtype=torch.uint8)
        for _ in range(200):
            page.show(noise)
        watching = get(port, "/stream.mjpeg")
        until(lambda: page.viewers == 2)
        assert Feeder(page, watching).next(70) == 70
        stalled.close()


def test_pictures_are_encoded_only_for_viewers_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    page = LivePage("street", "127.0.0.1")
    page.show(picture(10))
    assert page._picture is None
    with page.viewer():
        page.show(picture(10))
        assert page._picture is not None
        assert page._jpeg(page._picture, 2) is page._jpeg(page._picture, 2)


def test_more_viewers_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch) as (page, port):
        streams = [get(port, "/stream.mjpeg") for _ in range(MAX_VIEWERS)]
        until(lambda: page.viewers == MAX_VIEWERS)
        assert get(port, "/stream.mjpeg").status == 503 and page.viewers == MAX_VIEWERS
        assert all(stream.status == 200 for stream in streams)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example:1", ""])
def test_other_names_are_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with served(monkeypatch) as (page, port):
        for path in ("/", "/stream.mjpeg", "/state.json"):
            assert get(port, path, host or " ").status == 403
        assert page.viewers == 0


def test_names_of_the_page_are_taken_and_other_sites_cannot_embed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch) as (page, port):
        for host in ("localhost", f"LOCALHOST:{PORT}", "127.0.0.1", f"[::1]:{PORT}", "[::1]"):
            assert get(port, "/state.json", host).status == 200
        assert get(port, "/stream.mjpeg", **{"Sec-Fetch-Site": "cross-site"}).status == 403
        assert get(port, "/other").status == 404
    assert LivePage("", "camera.lan").accepts(["camera.lan:8090"]) and not page.accepts([])
    assert not page.accepts(["localhost", "localhost"])


def test_the_page_shows_its_title_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch, title="<b>a&b") as (_, port):
        text = get(port, "/").read().decode()
        assert "<title>&lt;b&gt;a&amp;b</title>" in text and "<b>" not in text and 'src="stream.mjpeg" alt="' in text


def test_a_port_in_use_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch) as (_, port):
        monkeypatch.undo()
        with pytest.raises(ValueError, match=rf"^live_page is {port}: Address already in use; expected"), live_page(port, "b"):
            pass
    with live_page(None, "none") as page:
        assert page is None


def test_a_prediction_shows_its_frames_and_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with served(monkeypatch) as (page, port):
        stream = StreamingSegmentor(tiny_propagator(), FixedInterval(2))
        palette = tuple((40 * k, 30, 90) for k in range(len(CLASSES)))
        predictor = VideoPredictor(stream, CLASSES, palette, OutputOptions(), max_frames=4)
        shown: list[Tensor] = []
        show = page.show
        monkeypatch.setattr(page, "show", lambda picture: (shown.append(picture), show(picture)))
        predictor.predict(Images(frames(6)), tmp_path / "out", Console(quiet=True), (threading.Event(), []), page)
        state = json.loads(get(port, "/state.json").read())
    assert len(shown) == 4 and shown[0].dtype == torch.uint8 and shown[0].shape[0] == 3
    assert (state["frames"], state["dropped"], state["key_share"]) == (4, 0, 0.5)
