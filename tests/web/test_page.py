"""Tests of the page over 127.0.0.1 with Gradio's client."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hydra import compose, initialize_config_dir

from src.command_line.arguments import quote_paths
from src.commands import demo
from src.inference.video.decoder import VideoFrames
from src.web.methods import EVERY_FRAME, NO_COMPARISON
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, FakeClips, frames, tiny_propagator
from tests.inference.videos import cut, make_video
from tests.web.chromium import PROGRAM

gradio_client = pytest.importorskip("gradio_client", reason="Gradio is not installed (requirements-demo.txt)")
pytest.importorskip("gradio", reason="Gradio is not installed (requirements-demo.txt)")

ROOT = Path(__file__).resolve().parents[2]
NAME = "it's <b>one & [two].mp4"

# Values of the sliders of the other schedules.
OTHERS = (5, 40)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    save_model(tiny_propagator("query"), folder / "model", {"classes": CLASSES, "palette": FakeClips.palette, "short_side": 32})
    (folder / "clips").mkdir()
    make_video(folder / "clips" / "b.mkv", frames(6, (48, 64)), codec="ffv1")
    make_video(folder / "clips" / NAME, frames(12, (48, 64)))
    (folder / "clips" / "notes.txt").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[tuple[str, Path]]:
    overrides = [f"checkpoint={place / 'model'}", f"clips={place / 'clips'}", "device=cpu", "port=null", "max_frames=8"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("demo", quote_paths([*overrides, "~data"]))
    # A variable of the user's that would open the page to the network.
    before = {name: value for name, value in os.environ.items() if name.startswith(("GRADIO_", "HF_HUB_DISABLE"))}
    os.environ |= {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SHARE": "True", "GRADIO_ALLOWED_PATHS": str(place)}
    with demo.served(cfg) as (_, address):
        workplace = Path(os.environ["GRADIO_TEMP_DIR"])
        yield address, workplace
    assert not workplace.exists()
    for name in [name for name in os.environ if name.startswith(("GRADIO_", "HF_HUB_DISABLE"))]:
        del os.environ[name]
    os.environ |= before


@pytest.fixture
def client(served: tuple[str, Path]) -> Any:
    return gradio_client.Client(served[0], verbose=False)


def given(
    clip: str | None = None,
    upload: Path | None = None,
    k: int = 5,
    flow: str = "query",
    most: int = 8,
    mode: str = "offline",
    second: str = NO_COMPARISON,
) -> tuple[Any, ...]:
    file = None if upload is None else gradio_client.handle_file(str(upload))
    return clip, file, most, "every k-th frame", k, *OTHERS, mode, flow, second


def predict(client: Any, *args: Any, **options: Any) -> str:
    return str(client.predict(*given(*args, **options), api_name="/predict"))


def fetched(address: str, html: str) -> list[bytes]:
    """Fetch all files that the results link to."""
    links = re.findall(r'href="(.*?)"', html)
    return [urllib.request.urlopen(address + link, timeout=60).read() for link in links]


def test_a_clip_gives_video_timeline_costs_and_files(client: Any, served: tuple[str, Path], tmp_path: Path) -> None:
    html = predict(client, NAME)
    assert "8 frames" in html and "25% key frames" in html and "8 of 12 frames" in html and "<b>one" not in html
    assert html.count('class="mark"') == 2 and "key frame 5, 0.33 s: key interval" in html
    for row in ("key frame, fused</th><td>2</td>", "non-key frame, from two key frames</th><td>6</td>"):
        assert row in html
    assert "torch" in html and "32x43" in html
    video, table, labels = fetched(served[0], html)
    (tmp_path / "overlay.mp4").write_bytes(video)
    assert [tuple(frame.image.shape) for frame in VideoFrames(tmp_path / "overlay.mp4")] == 8 * [(3, 48, 128)]
    assert table.decode().startswith("frame,name,seconds,key,reason,disoccluded,sky")
    assert len(ZipFile(io.BytesIO(labels)).namelist()) == 9


def test_slider_flow_and_limit_have_an_effect(client: Any) -> None:
    html = predict(client, "b.mkv", k=1, flow="copy", most=0, mode="online")
    assert html.count('class="mark"') == 6 and "non-key frame, from two key frames</th><td>0</td><td></td><td></td>" in html


def test_two_methods_are_compared(client: Any, served: tuple[str, Path]) -> None:
    html = predict(client, "b.mkv", second=EVERY_FRAME)
    assert html.count("<video") == 2 and "A: every k-th frame (5), offline, flow query" in html and f"B: {EVERY_FRAME}" in html
    assert html.count("for comparison: every frame segmented") == 2 and len(fetched(served[0], html)) == 6
    assert "the second method is the first" in predict(client, "b.mkv", second="mode: offline")


def test_an_uploaded_video_takes_precedence(client: Any, place: Path) -> None:
    assert "6 frames" in predict(client, NAME, place / "clips" / "b.mkv")


def test_damaged_videos_are_reported(client: Any, place: Path, tmp_path: Path) -> None:
    html = predict(client, None, place / "clips" / "notes.txt")
    assert "notes.txt is not a readable video" in html and "error" in html and "<video" not in html
    assert str(place) not in html and "gradio" not in html and "Traceback" not in html
    whole = make_video(tmp_path / "whole.mp4", frames(30, (96, 128)), faststart=True)
    html = predict(client, None, cut(whole, tmp_path / NAME, 0.7), most=0)
    assert "The clip is damaged" in html and "two].mp4: truncated" in html and "<b>one" not in html and "<video" in html
    assert "Choose a clip" in predict(client)


def test_invalid_choices_are_refused(client: Any) -> None:
    for clip, k, flow in (("../model/config.json", 5, "query"), (NAME, 500, "query"), (NAME, 5, "raft")):
        with pytest.raises(Exception, match=r"(?i)choice|maximum|value|error"):
            predict(client, clip, k=k, flow=flow)
    with pytest.raises(Exception, match=r"(?i)choice|value|error"):
        predict(client, NAME, mode="late")


def test_sessions_are_queued_and_get_their_own_results(served: tuple[str, Path]) -> None:
    clients = [gradio_client.Client(served[0], verbose=False) for _ in range(3)]
    orders = [given(NAME, k=k, flow="copy") for k in (1, 2, 4)]
    jobs = [client.submit(*order, api_name="/predict") for client, order in zip(clients, orders, strict=True)]
    assert [job.result(timeout=200).count('class="mark"') for job in jobs] == [8, 4, 2]


def test_the_page_is_reachable_only_from_this_machine(served: tuple[str, Path]) -> None:
    address, _ = served
    assert address.startswith("http://127.0.0.1:")
    port = int(address.rstrip("/").rsplit(":", 1)[1])
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET, socket.SOCK_STREAM)}
    for other in own - {"127.0.0.1"}:
        with pytest.raises(OSError), socket.create_connection((other, port), timeout=5):
            pass
    page = urllib.request.urlopen(address, timeout=60).read().decode()
    assert '"analytics_enabled":false' in page.replace(" ", "") and "fonts.googleapis" not in page


def test_files_of_the_machine_are_not_served(served: tuple[str, Path], place: Path) -> None:
    for path in ("/etc/passwd", str(place / "model" / "config.json"), str(ROOT / "README.md")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{served[0]}gradio_api/file={path}", timeout=60)
        assert refused.value.code in (403, 404)


FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-features=AutofillServerCommunication --virtual-time-budget=20000 "
    "--dump-dom"
)


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_page_and_contacts_no_other_host(served: tuple[str, Path], tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    command = [str(PROGRAM), *FLAGS.split(), f"--user-data-dir={tmp_path / 'user'}", f"--log-net-log={log}", served[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert all(
        word in done.stdout for word in ("Key frames", "every k-th frame", "A frame is labelled", "Optical flow to the key frame")
    ), done.stderr
    # Requests of the page, not of the browser itself.
    asked = re.findall(r'"network_isolation_key":"http://127.{0,400}?"url":"(https?://[^/"]+)', log.read_text(errors="replace"))
    assert len(asked) > 10 and set(asked) == {served[0].rstrip("/")}
