"""Tests of the page over 127.0.0.1 with Gradio's client."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from src.command_line.arguments import quote_paths
from src.commands import demo
from src.inference.video.decoder import VideoFrames
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, FakeClips, frames, tiny_propagator
from tests.inference.videos import cut, make_video

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


def predict(
    client: Any,
    clip: str | None = None,
    upload: Path | None = None,
    k: int = 5,
    flow: str = "query",
    most: int = 8,
    mode: str = "offline",
) -> Any:
    given = None if upload is None else gradio_client.handle_file(str(upload))
    return client.predict(clip, given, "every k-th frame", k, *OTHERS, mode, flow, most, api_name="/predict")


def test_a_clip_gives_video_timeline_and_costs(client: Any) -> None:
    text, video, line, table, shares = predict(client, NAME)
    assert "8 frames" in text and "25% key frames" in text
    assert len(list(VideoFrames(video["video"] if isinstance(video, dict) else video))) == 8
    assert line.count('class="mark"') == 2 and "key frame 5, 0.33 s: key interval" in line
    assert "| key frame, fused | 2 |" in table and "| non-key frame, from two key frames | 6 |" in table
    assert "torch" in table and "32x43" in table
    assert Path(shares).read_text(encoding="utf-8").startswith("frame,name,seconds,key,reason,disoccluded,sky")


def test_slider_flow_and_limit_have_an_effect(client: Any) -> None:
    *_, line, table, _ = predict(client, "b.mkv", k=1, flow="copy", most=0, mode="online")
    assert line.count('class="mark"') == 6 and "| non-key frame, from two key frames | 0 |  |  |" in table


def test_an_uploaded_video_takes_precedence(client: Any, place: Path) -> None:
    assert "6 frames" in predict(client, NAME, place / "clips" / "b.mkv")[0]


def test_damaged_videos_are_reported(client: Any, place: Path, tmp_path: Path) -> None:
    text, video, *_ = predict(client, None, place / "clips" / "notes.txt")
    assert "notes.txt is not a readable video" in text and "error" in text and video is None
    assert str(place) not in text and "gradio" not in text and "Traceback" not in text
    whole = make_video(tmp_path / "whole.mp4", frames(30, (96, 128)), faststart=True)
    text, video, *_ = predict(client, None, cut(whole, tmp_path / NAME, 0.7), most=0)
    assert "The clip is damaged" in text and "two].mp4: truncated" in text and "<b>" not in text and video is not None
    assert "Choose a clip" in predict(client)[0]


def test_invalid_choices_are_refused(client: Any) -> None:
    for clip, k, flow in (("../model/config.json", 5, "query"), (NAME, 500, "query"), (NAME, 5, "raft")):
        with pytest.raises(Exception, match=r"(?i)choice|maximum|value|error"):
            predict(client, clip, k=k, flow=flow)
    with pytest.raises(Exception, match=r"(?i)choice|value|error"):
        predict(client, NAME, mode="late")


def test_sessions_are_queued_and_get_their_own_results(served: tuple[str, Path]) -> None:
    clients = [gradio_client.Client(served[0], verbose=False) for _ in range(3)]
    given = [(NAME, None, "every k-th frame", k, *OTHERS, "offline", "copy", 8) for k in (1, 2, 4)]
    jobs = [client.submit(*values, api_name="/predict") for client, values in zip(clients, given, strict=True)]
    assert [job.result(timeout=200)[2].count('class="mark"') for job in jobs] == [8, 4, 2]


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


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-features=AutofillServerCommunication --virtual-time-budget=20000 "
    "--dump-dom"
)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_page_and_contacts_no_other_host(served: tuple[str, Path], tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={tmp_path / 'user'}", f"--log-net-log={log}", served[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert all(
        word in done.stdout for word in ("Key frames", "every k-th frame", "offline: a frame", "Optical flow to the key frame")
    ), done.stderr
    # Requests of the page, not of the browser itself.
    asked = re.findall(r'"network_isolation_key":"http://127.{0,400}?"url":"(https?://[^/"]+)', log.read_text(errors="replace"))
    assert len(asked) > 10 and set(asked) == {served[0].rstrip("/")}
