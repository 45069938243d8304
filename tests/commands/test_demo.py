import importlib.util
import os
import re
import signal
import socket
import tempfile
import threading
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from omegaconf import DictConfig
from pydantic import TypeAdapter, ValidationError

import src.demo
from src.command_line.arguments import quote_paths
from src.commands.demo import byte_count, check_port, find_clips, open_model, quiet_environment, run, served
from src.options.fields import Bytes
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, frames, tiny_propagator
from tests.inference.videos import make_video

CLIPS = ["data=moving_scenes", "~data.test", "+data.test={_target_: tests.inference.tiny.FakeClips, lengths: [4, 3]}"]


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(Path(__file__).resolve().parents[2] / "conf"), version_base="1.3"):
        return compose("demo", quote_paths(["device=cpu", "checkpoint=x", *overrides]))


def test_the_address_cannot_be_chosen() -> None:
    for override in ("host=0.0.0.0", "server_name=0.0.0.0", "share=true"):
        with pytest.raises(ConfigCompositionException, match=override.split("=")[0]):
            config(override)


def test_without_gradio_the_error_names_the_requirements(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        src.demo.main.__wrapped__(config())
    assert ended.value.code == 1
    assert "pip install --no-deps -r requirements-demo.txt" in caplog.text


def test_clips_come_from_the_folder_and_the_dataset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("clip 10.mp4", "clip 9.mkv"):
        make_video(tmp_path / name, frames(3, (48, 64)))
    (tmp_path / "notes.txt").write_text("no video")
    found = find_clips(config(f"clips={tmp_path}", *CLIPS))
    assert f"{tmp_path}: 1 left out, which are no videos: notes.txt" in caplog.messages
    assert list(found) == ["clip 9.mkv", "clip 10.mp4", "moving_scenes: clip0", "moving_scenes: clip1"]
    assert [sum(1 for _ in source()) for source in found.values()] == [3, 3, 4, 3]
    assert find_clips(config("~data")) == {}
    (tmp_path / "empty").mkdir()
    for folder, error, message in (("none", FileNotFoundError, "no folder"), ("empty", ValueError, "contains no video")):
        with pytest.raises(error, match=message):
            find_clips(config(f"clips={tmp_path / folder}", "~data"))


def test_the_model_has_every_selectable_flow(tmp_path: Path) -> None:
    metadata = {"classes": CLASSES, "short_side": 40}
    predictor = open_model(config(f"checkpoint={save_model(tiny_propagator('query'), tmp_path / 'a', metadata)}"))
    assert predictor.flows == ["query", "copy", "dis", "dis_fine", "pixel"] and predictor.classes == CLASSES
    plain = save_model(tiny_propagator("copy"), tmp_path / "b", metadata)
    assert open_model(config(f"checkpoint={plain}")).flows == ["dis", "copy", "dis_fine"]
    assert open_model(config(f"checkpoint={plain}", "flow=copy")).flows == ["copy", "dis", "dis_fine"]
    with pytest.raises(ValueError, match="device is 'gpu0'; expected auto or a device of this machine: cpu"):
        open_model(config(f"checkpoint={plain}", "device=gpu0"))
    with pytest.raises(ValueError, match="needs a checkpoint with a QueryFlow"):
        open_model(config(f"checkpoint={plain}", "flow=query"))


def test_every_schedule_of_the_page_makes_a_scheduler() -> None:
    schedules = [instantiate(schedule) for schedule in config("key_interval=7").schedules.values()]
    assert len({schedule.title for schedule in schedules}) == len(schedules) >= 1
    for schedule in schedules:
        for value in (schedule.minimum, schedule.value, schedule.maximum):
            scheduler = schedule.scheduler(value)
            assert callable(scheduler.decide)
    assert schedules[0].title == "every k-th frame" and schedules[0].value == schedules[1].value == 7


def test_the_environment_of_gradio_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"GRADIO_SERVER_NAME": "0.0.0.0", "HOME": "mine"})
    quiet_environment(tmp_path)
    assert os.environ == {
        "HOME": "mine", "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(tmp_path),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip


@pytest.mark.parametrize(("text", "count"), [("500mb", 500 * 2**20), ("2 GB", 2**31), ("1kb", 1024)])
def test_sizes_have_a_unit(text: str, count: int) -> None:
    assert byte_count(TypeAdapter(Bytes).validate_python(text)) == count


@pytest.mark.parametrize(
    "text", ["500", "", "0mb", "-1mb", "1.5gb", "1e3mb", "500mbx", "5 0mb", "500 m b", "\u0661mb", "1tb", True, None, 500]
)
def test_other_sizes_are_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Bytes).validate_python(text)


def test_options_of_the_page_are_checked_before_the_model_is_loaded() -> None:
    with (
        pytest.raises(ValueError, match="max_stored is 400mb; expected at least max_upload, 500mb"),
        served(config("max_stored=400mb")),
    ):
        pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match=f"port {port} cannot be used: .*; choose another, or port=null"),
            served(config(f"port={port}")),
        ):
            pass
    check_port(port)
    with pytest.raises(OSError, match="port 70000 cannot be used"):
        check_port(70000)


@pytest.mark.skipif(find_spec("gradio") is None, reason="Gradio is not installed (requirements-demo.txt)")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_page_and_deletes_its_uploads(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")  # restored afterwards
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = save_model(tiny_propagator("copy"), tmp_path / "model", {"classes": CLASSES, "short_side": 40})
    content = b'--xx\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\nx\r\n--xx--\r\n'
    stored: list[Path] = []

    def upload_and_end() -> None:
        try:
            address = wait_for_address(caplog)
            asked = urllib.request.Request(
                f"{address}gradio_api/upload", content, {"Content-Type": "multipart/form-data; boundary=xx"}
            )
            urllib.request.urlopen(asked, timeout=60).read()
            stored.extend(tmp_path.glob("mpvss_demo_*/*/a.mp4"))
        finally:
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=upload_and_end)
    thread.start()
    assert run(config(f"checkpoint={model}", "~data", "port=null")) == 0
    thread.join()
    assert len(stored) == 1 and not list(tmp_path.glob("mpvss_demo_*"))
    assert "the page is closed, and its files are deleted" in caplog.text


def wait_for_address(caplog: pytest.LogCaptureFixture) -> str:
    for _ in range(600):
        found = re.search(r"the page is at (http://\S+/),", caplog.text)
        if found:
            return found[1]
        threading.Event().wait(0.1)
    raise AssertionError(caplog.text)
