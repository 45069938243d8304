import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

import src.predict
from src.command_line.arguments import quote_paths
from src.commands import predict as commands
from src.commands.predict import open_source, predict
from src.files.results.owned_folder import output_lock
from src.files.results.result_marker import read_json
from src.inference.methods import with_method
from src.inference.scheduling.adaptive import Adaptive
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.inference.video.decoder import VideoFrames
from src.inference.video.live.latest import LiveFrames
from src.inference.video.sources import Frame, SourceInfo
from src.measure.cost import frame_cost
from src.ops.masks import semantic_map
from src.weights.checkpoints import load_checkpoint
from src.weights.model_folder import load_model, save_model
from tests.files.images.make_images import animation, chunk, exif, png
from tests.inference.tiny import CLASSES, FakeClips, frames, tiny_propagator
from tests.inference.videos import count_frames, cut, length, lying_avi, make_video
from tests.models.families import network

ROOT = Path(__file__).resolve().parents[2]
CLIPS = ["data=moving_scenes", "~data.test", "+data.test={_target_: tests.inference.tiny.FakeClips, lengths: [4, 3]}"]
ODD_NAME = "a (1) = b, c ~ & #1 100% it's [Übung] 影片"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    metadata = {"classes": CLASSES, "palette": FakeClips.palette, "short_side": 32}
    return save_model(tiny_propagator("query"), tmp_path_factory.mktemp("models") / "model", metadata)


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        fusion = [] if any(one.startswith("fuse_keys=") for one in overrides) else ["fuse_keys=false"]
        return compose("predict", quote_paths(["device=cpu", *fusion, *overrides]))


def test_key_frames_are_fused_by_default() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert compose("predict", ["checkpoint=x", "input=y", "output=z"]).fuse_keys


def maps(folder: Path) -> list[Tensor]:
    return [torch.from_numpy(np.array(Image.open(path))).long() for path in sorted((folder / "labels").iterdir())]


def keys(folder: Path) -> list[int]:
    with (folder / "class_share.csv").open(encoding="utf-8") as file:
        return [int(row["key"]) for row in csv.DictReader(file)]


def test_predictions_equal_those_of_the_stream_whatever_the_name_of_the_video(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    video = make_video(tmp_path / f"{ODD_NAME}.mp4", frames(7, (48, 64)), sound=True)
    out = tmp_path / f"out {ODD_NAME}"
    done = predict(config(f"input={video}", f"checkpoint={model}", f"output={out}", "labels=true", "flow_pictures=true"))
    assert done.exit_code == 0 and done.decode_errors == [] and done.progress.frames == 7
    assert f"{video}: its sound is kept (aac)" in caplog.text and str(out / "overlay.mp4") in caplog.text
    assert count_frames(out / "overlay.mp4") == 7 and length(out / "overlay.mp4") == pytest.approx(length(video), abs=1e-3)
    assert keys(out) == [1, 0, 0, 0, 0, 1, 0]
    assert sorted(os.listdir(out / "flow")) == [f"00000{i}.png" for i in (1, 2, 3, 4, 6)]
    assert "results are late by at most one key interval" in caplog.text and "at most 5 frames waited, 0.0 MB" in caplog.text
    # By default, the input size of the network is the checkpoint's, and both neighboring key frames are used.
    stream = StreamingSegmentor(load_model(model)[0], FixedInterval(5), short_side=32, mode="offline")
    expected = list(stream.stream(frame.image for frame in VideoFrames(video)))
    assert all(torch.equal(a, b) for a, b in zip(maps(out), expected, strict=True)) and expected[0].shape == (48, 64)


def test_key_interval_one_equals_the_segmentor_at_any_size(model: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mkv", frames(3, (47, 61)), codec="ffv1")
    out = tmp_path / "out"
    predict(config(f"input={video}", f"checkpoint={model}", f"output={out}", "labels=true", "key_interval=1", "short_side=null"))
    segmentor = load_model(model)[0].segmentor
    with torch.inference_mode():
        expected = [semantic_map(segmentor(frame.image[None]))[0] for frame in VideoFrames(video)]
    assert all(torch.equal(a, b) for a, b in zip(maps(out), expected, strict=True)) and keys(out) == [1, 1, 1]


def reasons(folder: Path) -> list[str]:
    with (folder / "class_share.csv").open(encoding="utf-8") as file:
        return [row["reason"] for row in csv.DictReader(file)]


def test_an_adaptive_prediction_writes_the_reasons_of_key_frames(model: Path, tmp_path: Path) -> None:
    clip = [*frames(3, (96, 128)), *frames(5, (96, 128), seed=3)]
    video = make_video(tmp_path / "a.mkv", clip, codec="ffv1")
    arguments = [f"input={video}", f"checkpoint={model}", "labels=true", "scheduler=adaptive", "key_interval=4"]
    predict(config(*arguments, f"output={tmp_path / 'out'}"))
    assert reasons(tmp_path / "out") == ["first", "", "", "cut", "", "", "", "change"]
    # What is written is what the stream itself gives.
    stream = StreamingSegmentor(load_model(model)[0], Adaptive(4), short_side=32, mode="offline")
    expected = list(stream.stream(frame.image for frame in VideoFrames(video)))
    assert all(torch.equal(a, b) for a, b in zip(maps(tmp_path / "out"), expected, strict=True))


def test_a_budget_is_held_and_logged(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    video = make_video(tmp_path / "a.mkv", frames(12, (48, 64)), codec="ffv1")
    arguments = [f"input={video}", f"checkpoint={model}", "scheduler=budget", "flow=copy"]
    cost = frame_cost(with_method(load_model(model)[0], "copy"), (32, 43), ["photometric"])
    third = (cost.frame(True, 0) + 2 * cost.frame(False, 2, "photometric")) / 3 + Budget(gflops=1.0).signal_gflops((32, 43))
    predict(config(*arguments, f"output={tmp_path / 'out'}", f"scheduler.gflops={third}", "scheduler.weight=0"))
    assert "every 3.0 frames" in caplog.text and keys(tmp_path / "out") == [1, 0, 0] * 4
    with pytest.raises(ValueError, match=r"expected more than the .* of a propagated frame"):
        predict(config(*arguments, f"output={tmp_path / 'b'}", f"scheduler.gflops={cost.post}"))
    predict(config(*arguments, f"output={tmp_path / 'c'}", "scheduler.ms=1e6"))
    assert keys(tmp_path / "c") == [1] * 12


@pytest.mark.parametrize(
    ("options", "sources", "sources_of_key"),
    [("mode=online", 1, 0), ("mode=online fuse_keys=true", 2, 1), ("mode=offline", 2, 0), ("mode=auto fuse_keys=true", 2, 2)],
)
def test_mode_and_fusion_reach_the_stream_and_the_marker(
    model: Path, tmp_path: Path, options: str, sources: int, sources_of_key: int
) -> None:
    video = make_video(tmp_path / "a.mkv", frames(6, (48, 64)), codec="ffv1")
    given = [f"input={video}", f"checkpoint={model}", f"output={tmp_path / 'out'}", "labels=true", "fusion=linear"]
    cfg = config(*given, "key_interval=3", *options.split())
    stream = commands.load_predictor(cfg, commands.output_options(cfg), "cpu", commands.chosen_mode(cfg)).stream
    assert stream.sources == (sources, sources_of_key) and stream.fusion == "linear"
    predict(cfg)
    expected = list(stream.stream(frame.image for frame in VideoFrames(video)))
    assert all(torch.equal(a, b) for a, b in zip(maps(tmp_path / "out"), expected, strict=True))
    settings = read_json(tmp_path / "out" / "finished.json")["settings"]
    fused = "linear" if sources + sources_of_key > 1 else None
    assert [settings[name] for name in ("mode", "fuse_keys", "fusion")] == [stream.mode, stream.fuse_keys, fused]


@pytest.mark.parametrize(("mode", "expected"), [("auto", "online"), ("offline", "offline")])
def test_a_camera_is_predicted_online_unless_requested(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: str, expected: str
) -> None:
    class Camera(LiveFrames):
        def __init__(self, index: int, options: object) -> None:
            self.info, self.decode_errors = SourceInfo("camera 0", Fraction(10), Fraction(1, 10)), []
            self.dropped, self.reconnects = 3, 1

        def until(self, stop: object) -> Generator[Frame, None, None]:
            for number, image in enumerate(frames(7, (48, 64))):
                yield Frame(image, f"{number}", Fraction(number, 10), Fraction(1, 10))

    caplog.set_level("INFO")
    monkeypatch.setattr(commands, "open_camera", Camera)
    monkeypatch.chdir(tmp_path)
    given = config("input=0", f"checkpoint={model}", f"output={tmp_path / 'out'}", f"mode={mode}", "labels=true")
    assert predict(given).frames == 7
    assert ("results are late by at most one key interval" in caplog.text) == (expected == "offline")
    marker = read_json(tmp_path / "out" / "finished.json")
    assert marker["settings"]["mode"] == expected and (marker["dropped"], marker["reconnects"]) == (3, 1)
    assert "3 dropped, 1 reconnections" in caplog.text


def test_videos_predicted_in_another_mode_are_not_skipped(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "a.mp4", frames(2, (48, 64)))
    given = [f"input={tmp_path / 'in'}", f"checkpoint={model}", f"output={tmp_path / 'out'}"]
    assert commands.run(config(*given, "mode=online")) == 0
    note = tmp_path / "out" / "a" / "finished.json"
    marker = read_json(note)
    for name in ("mode", "fusion", "fuse_keys"):
        del marker["settings"][name]
    # As an earlier release wrote it.
    note.write_text(json.dumps(marker))
    assert commands.run(config(*given, "mode=online")) == 0, "skipped"
    assert commands.run(config(*given)) == 1 and "has results of another fusion, mode;" in caplog.text
    assert commands.run(config(*given, "overwrite=true")) == 0
    assert commands.run(config(*given, "mode=offline")) == 0, "skipped"


@pytest.mark.parametrize("kind", ["vfr", "10bit", "phone", "lie", "odd"])
def test_frames_out_are_frames_in_and_the_length_stays(model: Path, tmp_path: Path, kind: str) -> None:
    clip = frames(8, (48, 64))
    video = {
        "vfr": lambda: make_video(tmp_path / "a.mp4", clip, times=[0, 20, 400, 410, 1000, 1010, 1500, 1600]),
        "10bit": lambda: make_video(tmp_path / "a.mp4", clip, pix_fmt="yuv420p10le", pixel_aspect=Fraction(4, 3)),
        "phone": lambda: make_video(tmp_path / "a.mp4", clip, rotation=90),
        "lie": lambda: lying_avi(tmp_path / "a.avi", clip, 2000),
        "odd": lambda: make_video(tmp_path / "a.mkv", frames(8, (49, 63)), codec="ffv1"),
    }[kind]()
    out = tmp_path / "out"
    done = predict(config(f"input={video}", f"checkpoint={model}", f"output={out}", "labels=true"))
    assert done.exit_code == 0 and done.progress.frames == 8 == count_frames(out / "overlay.mp4") == len(maps(out))
    source, overlay = VideoFrames(video), VideoFrames(out / "overlay.mp4")
    times = [[float(frame.time) for frame in found] for found in (source, overlay)]
    assert times[1] == pytest.approx(times[0], abs=1e-3)
    expected = times[0][-1] + float(list(source)[-1].duration)
    assert length(out / "overlay.mp4") == pytest.approx(expected, abs=1e-3)
    assert source.info.pixel_aspect == overlay.info.pixel_aspect
    size = {"phone": (64, 48), "odd": (49, 63)}.get(kind, (48, 64))
    assert maps(out)[0].shape == size


@pytest.mark.parametrize("flow", ["auto", "copy"])
def test_a_segmentor_of_transformers_runs_without_training(tmp_path: Path, flow: str, capfd: pytest.CaptureFixture[str]) -> None:
    propagator = tiny_propagator("copy")
    propagator.segmentor.network.save_pretrained(tmp_path / "hub model")
    video = make_video(tmp_path / "a.mp4", frames(4, (48, 64)))
    out = tmp_path / "out"
    predict(
        config(
            f"input={video}",
            f"checkpoint={tmp_path / 'hub model'}",
            f"output={out}",
            "labels=true",
            f"flow={flow}",
            "key_interval=4",
        )
    )
    found = maps(out)
    assert keys(out) == [1, 0, 0, 0]
    # Transformers would call a buffer of its loss missing, and advise to train.
    assert "MISSING" not in "".join(capfd.readouterr())
    assert torch.equal(found[0], found[3]) == (flow == "copy")


def test_videomt_runs_on_every_frame_by_path(tmp_path: Path) -> None:
    network("videomt").save_pretrained(tmp_path / "videomt")
    clip = frames(4, (48, 64))
    (tmp_path / "frames").mkdir()
    for number, image in enumerate(clip):
        Image.fromarray(image.movedim(0, -1).numpy()).save(tmp_path / "frames" / f"{number}.png")
    arguments = [
        f"input={tmp_path / 'frames'}",
        f"checkpoint={tmp_path / 'videomt'}",
        "labels=true",
        "flow=videomt",
        "fuse_keys=true",
    ]
    predict(config(*arguments, f"output={tmp_path / 'out'}"))
    propagator, _ = load_checkpoint(tmp_path / "videomt")
    stream = StreamingSegmentor(with_method(propagator, "videomt"), FixedInterval(1))
    assert keys(tmp_path / "out") == [1, 1, 1, 1]
    for found, expected in zip(maps(tmp_path / "out"), stream.stream([image[None] for image in clip]), strict=True):
        assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="expected online and false"):
        predict(config(*arguments, f"output={tmp_path / 'b'}", "mode=offline"))


def test_an_eomt_splits_images_by_path(tmp_path: Path) -> None:
    network("eomt").save_pretrained(tmp_path / "eomt")
    clip = frames(3, (48, 96))
    video = make_video(tmp_path / "a.mp4", clip)
    arguments = [f"input={video}", "labels=true", "split_images=true", "key_interval=1"]
    predict(config(*arguments, f"checkpoint={tmp_path / 'eomt'}", f"output={tmp_path / 'out'}"))
    propagator, metadata = load_checkpoint(tmp_path / "eomt", split_images=True)
    assert metadata["short_side"] == 64
    stream = StreamingSegmentor(propagator, FixedInterval(1), 64)
    images = [frame.image[None] for frame in VideoFrames(video)]
    assert all(torch.equal(a, b) for a, b in zip(maps(tmp_path / "out"), stream.stream(images), strict=True))
    tiny_propagator("copy").segmentor.network.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="split_images is set for a Mask2FormerSegmentor; expected an EoMT"):
        predict(config(*arguments, f"checkpoint={tmp_path / 'other'}", f"output={tmp_path / 'b'}"))


def test_a_folder_of_frames_and_a_clip_of_a_dataset(model: Path, tmp_path: Path) -> None:
    data = FakeClips((4, 3))
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, image in enumerate(data.images[1]):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"img{number + 9}.png")
    predict(config(f"input={folder}", f"checkpoint={model}", f"output={tmp_path / 'a'}", "labels=true", "fps=5"))
    predict(config("input=clip1", f"checkpoint={model}", f"output={tmp_path / 'b'}", "labels=true", *CLIPS))
    assert sorted(os.listdir(tmp_path / "a" / "labels")) == ["img10.png", "img11.png", "img9.png"]
    assert (
        VideoFrames(tmp_path / "a" / "overlay.mp4").info.fps == 5 and VideoFrames(tmp_path / "b" / "overlay.mp4").info.fps == 15
    )
    by_name = {path.name: np.array(Image.open(path)) for path in (tmp_path / "a" / "labels").iterdir()}
    in_order = [by_name[f"img{number}.png"] for number in (9, 10, 11)]
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(in_order, maps(tmp_path / "b"), strict=True))


def test_every_frame_of_an_animated_image_is_predicted(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(animation("WEBP", 5, (48, 64), durations=200))
    done = predict(config(f"input={tmp_path / 'a.webp'}", f"checkpoint={model}", f"output={tmp_path / 'out'}", "labels=true"))
    assert (done.exit_code, done.progress.frames) == (0, 5)
    assert [tuple(found.shape) for found in maps(tmp_path / "out")] == [(48, 64)] * 5
    assert length(tmp_path / "out" / "overlay.mp4") == pytest.approx(1, abs=1e-3)


def test_an_image_is_predicted_as_a_picture(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (image,) = frames(1, (47, 61))
    (tmp_path / "photo.png").write_bytes(png(image.permute(1, 2, 0).numpy(), 8))
    given = [f"input={tmp_path / 'photo.png'}", f"checkpoint={model}"]
    predict(config(*given, f"output={tmp_path / 'out'}", "labels=true"))
    assert sorted(content(tmp_path / "out")) == ["class_share.csv", "finished.json", "labels/photo.png", "overlay.png"]
    assert Image.open(tmp_path / "out" / "overlay.png").size == (61, 47) and "offline" not in caplog.text
    for name in ("out.png", "out.jpg"):
        predict(config(*given, f"output={tmp_path / name}"))
        assert Image.open(tmp_path / name).size == (61, 47)
    assert np.array_equal(Image.open(tmp_path / "out.png"), Image.open(tmp_path / "out" / "overlay.png"))
    assert sorted(os.listdir(tmp_path)) == ["out", "out.jpg", "out.png", "photo.png"]
    with pytest.raises(FileExistsError, match=r"photo\.png is the input; expected another name"):
        predict(config(*given, f"output={tmp_path / 'photo.png'}", "overwrite=true"))


def test_an_output_that_names_a_video_is_the_overlay_only(model: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames(6, (48, 64)), sound=True)
    given, out = [f"input={video}", f"checkpoint={model}"], tmp_path / "new" / "out.mp4"
    predict(config(*given, f"output={tmp_path / 'whole'}"))
    assert predict(config(*given, f"output={out}", "max_frames=4")).frames == 4
    assert count_frames(out) == 4
    with pytest.raises(FileExistsError, match="has results already; choose another output or set overwrite=true"):
        predict(config(*given, f"output={out}"))
    predict(config(*given, f"output={out}", "overwrite=true"))
    assert out.read_bytes() == (tmp_path / "whole" / "overlay.mp4").read_bytes() and os.listdir(out.parent) == ["out.mp4"]
    before = video.read_bytes()
    with pytest.raises(FileExistsError, match=r"a\.mp4 exists and was not written by a prediction"):
        predict(config(f"input={out}", f"checkpoint={model}", f"output={video}", "overwrite=true"))
    assert video.read_bytes() == before
    with pytest.raises(ValueError, match=r"output is .*b\.mp4, and the input has 1 videos; expected a folder"):
        commands.run(config(f"input={out.parent}", f"checkpoint={model}", f"output={tmp_path / 'b.mp4'}"))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (["input=a/drive.2.mp4"], "drive.2"),
        (["input=a"], "a"),
        (["input=0"], "camera_0"),
        (["data=camvid", "input=some/clip"], "camvid_test_some_clip"),
        (["input='a/Übung 1.mp4'", "paths.runs=runs"], "Übung_1"),
    ],
)
def test_results_are_named_by_the_input(given: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    for file in ("drive.2.mp4", "Übung 1.mp4"):
        (tmp_path / "a" / file).touch()
    folder = "runs" if "paths.runs=runs" in given else "outputs"
    assert commands.default_output(config("checkpoint=street", *given)) == f"{folder}/predict/{name}"


def test_without_an_output_results_are_below_the_runs(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "drive.mp4", frames(3))
    assert commands.run(config("input=drive.mp4", f"checkpoint={model}")) == 0
    assert (tmp_path / "outputs" / "predict" / "drive" / "overlay.mp4").is_file()


def test_folders_may_have_the_name_of_a_video(model: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames(2, (48, 64)))
    (tmp_path / "in.mp4").mkdir()
    (tmp_path / "out.mp4").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "in.mp4" / "0.png")
    predict(config(f"input={video}", f"checkpoint={model}", f"output={tmp_path / 'out.mp4'}", "sound=false"))
    predict(config(f"input={tmp_path / 'in.mp4'}", f"checkpoint={model}", f"output={tmp_path / 'other'}"))
    for name in ("out.mp4", "other"):
        assert sorted(os.listdir(tmp_path / name)) == ["class_share.csv", "finished.json", "overlay.mp4"]


def test_a_turned_image_is_predicted_as_viewers_show_it(model: Path, tmp_path: Path) -> None:
    (image,) = frames(1, (48, 64))
    shown = image.permute(1, 2, 0).numpy()
    (tmp_path / "shown.png").write_bytes(png(shown, 8))
    (tmp_path / "turned.png").write_bytes(png(np.rot90(shown).copy(), 8, chunk(b"eXIf", exif(6).tobytes()[6:])))
    for name in ("shown", "turned"):
        predict(config(f"input={tmp_path / name}.png", f"checkpoint={model}", f"output={tmp_path / name}", "labels=true"))
    assert torch.equal(maps(tmp_path / "shown")[0], maps(tmp_path / "turned")[0])


def test_input_is_a_file_before_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(commands, "open_camera", lambda index, options: seen.append(index))
    monkeypatch.chdir(tmp_path)
    open_source(config("input=2", "checkpoint=x", "output=y"))
    assert seen == [2]
    # A file of that name comes first.
    (tmp_path / "2").write_text("no video")
    with pytest.raises(ValueError, match="2 is not a readable video"):
        open_source(config("input=2", "checkpoint=x", "output=y"))
    with pytest.raises(FileNotFoundError, match=r"no video file at none\.mp4"):
        open_source(config("input=none.mp4", "checkpoint=x", "output=y"))


def test_a_damaged_video_has_results_an_error_and_exit_code_one(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make_video(
        tmp_path / "whole.mp4", [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8) for _ in range(20)], faststart=True
    )
    broken = cut(whole, tmp_path / "broken.mp4", 0.6)
    out = tmp_path / "out"
    done = predict(config(f"input={broken}", f"checkpoint={model}", f"output={out}"))
    assert done.exit_code == 1 and 5 < done.progress.frames < 18
    assert count_frames(out / "overlay.mp4") == done.progress.frames
    assert f"{broken}: truncated" in caplog.text and "the frames that could be decoded are written" in caplog.text


def test_a_video_without_frames_has_no_results(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = make_video(tmp_path / "whole.mp4", frames(6, (64, 64)), faststart=True)
    data = bytearray(whole.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    (tmp_path / "zeros.mp4").write_bytes(data)
    done = predict(config(f"input={tmp_path / 'zeros.mp4'}", f"checkpoint={model}", f"output={tmp_path / 'out'}"))
    assert done.exit_code == 1 and done.frames == 0 and "zeros.mp4" in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["whole.mp4", "zeros.mp4"]


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["checkpoint=nowhere"], FileNotFoundError, "nowhere does not exist"),
        (["checkpoint=run/last.ckpt"], FileNotFoundError, "run/last.ckpt does not exist"),
        (["flow=raft"], ValueError, "flow is 'raft'"),
        (["autocast=half"], ValueError, "autocast is 'half'"),
        (["device=gpu0"], ValueError, "device is 'gpu0'; expected auto or a device of this machine: cpu"),
        (["key_interval=0"], Exception, "key_interval is 0"),
        (["short_side=0"], ValueError, "short_side is 0"),
        (["quality=77"], ValueError, "quality is 77"),
        (["alpha=2"], ValueError, "alpha is 2"),
        (["mode=late"], ValueError, "mode is 'late'"),
        (["fusion=mean"], ValueError, "fusion"),
        (["input=clip9", *CLIPS], ValueError, "no clip 'clip9'"),
        (["data=moving_scenes", "clip_split=valid"], Exception, "valid"),
    ],
)
def test_invalid_conversion_is_refused_and_writes_nothing(
    model: Path, tmp_path: Path, overrides: list[str], error: type[Exception], message: str
) -> None:
    video = make_video(tmp_path / "a.mp4", frames(2, (48, 64)))
    given = [f"input={video}", f"checkpoint={model}", f"output={tmp_path / 'out'}"]
    with pytest.raises(error, match=message):
        predict(config(*given, *overrides))
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_results_and_input_are_overwritten_only_on_request(model: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames(2, (48, 64)))
    given = [f"checkpoint={model}", f"output={tmp_path / 'out'}"]
    predict(config(f"input={video}", *given))
    before = (tmp_path / "out" / "overlay.mp4").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=true"):
        predict(config(f"input={video}", *given, "max_frames=1"))
    assert (tmp_path / "out" / "overlay.mp4").read_bytes() == before
    with pytest.raises(FileExistsError, match="contains the input"):
        predict(config(f"input={tmp_path / 'out' / 'overlay.mp4'}", *given, "overwrite=true"))
    assert predict(config(f"input={video}", *given, "max_frames=1", "overwrite=true")).progress.frames == 1
    assert count_frames(tmp_path / "out" / "overlay.mp4") == 1


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("output", ["in", "in/out", ".", "link"])
@pytest.mark.parametrize("source", ["in", "in/a.mp4", "list.txt"])
def test_output_and_input_that_contain_one_another_are_refused(model: Path, tmp_path: Path, source: str, output: str) -> None:
    if source != "in" and output == "in/out":
        pytest.skip("the output is beside the video")
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "a.mp4", frames(2, (48, 64)))
    (tmp_path / "list.txt").write_text("in/a.mp4\n")
    (tmp_path / "link").symlink_to("in")
    before = content(tmp_path)
    with pytest.raises(FileExistsError, match="expected separate folders"):
        commands.run(config(f"input={tmp_path / source}", f"checkpoint={model}", f"output={tmp_path / output}", "overwrite=true"))
    assert content(tmp_path) == before


def test_a_folder_of_videos_with_a_poster_is_predicted_and_other_content_is_not_skipped(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "a.mp4", frames(2, (48, 64)))
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "poster.jpg")
    copied = tmp_path / "model"
    shutil.copytree(model, copied)
    given = config(f"input={tmp_path / 'in'}", f"checkpoint={copied}", f"output={tmp_path / 'out'}")
    assert commands.run(given) == 0 and "everything else is left out: 1 images, 0 other files (poster.jpg)" in caplog.text
    assert sorted(os.listdir(tmp_path / "out" / "a")) == ["class_share.csv", "finished.json", "overlay.mp4"]
    before = content(tmp_path / "out" / "a")
    assert commands.run(given) == 0, "skipped"
    shutil.rmtree(copied)
    other, metadata = load_model(model)
    next(other.parameters()).data.add_(0.1)
    save_model(other, copied, metadata)
    assert commands.run(given) == 1 and "has results of another weights" in caplog.text
    shutil.rmtree(copied)
    shutil.copytree(model, copied)
    make_video(tmp_path / "in" / "a.mp4", frames(2, (48, 64), seed=4))
    assert commands.run(given) == 1 and "has results of another video content" in caplog.text
    assert content(tmp_path / "out" / "a") == before


@pytest.mark.parametrize("name", ["overlay.mp4", "class_share.csv", "finished.json", "labels/000000.png", "labels"])
def test_a_users_file_is_not_replaced_even_with_overwrite(model: Path, tmp_path: Path, name: str) -> None:
    video = make_video(tmp_path / "a.mp4", frames(2, (48, 64)))
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("mine")
    for overwrite in ("true", "false"):
        given = [f"input={video}", f"checkpoint={model}", f"output={tmp_path / 'out'}", "labels=true", f"overwrite={overwrite}"]
        with pytest.raises(FileExistsError, match=r"is not listed in a finished\.json of this project"):
            predict(config(*given))
        assert (tmp_path / "out" / name).read_text() == "mine"


def test_overwrite_replaces_the_whole_result_and_leaves_files_of_the_user(model: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames(3, (48, 64)))
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    given = [f"input={video}", f"checkpoint={model}", f"output={tmp_path / 'out'}"]
    predict(config(*given, "labels=true", "flow_pictures=true"))
    for name in ("notes.txt", "labels/mine.png"):
        (tmp_path / "out" / name).write_text("mine")
    predict(config(*given, "labels=true", "max_frames=1", "overwrite=true"))
    assert sorted(content(tmp_path / "real")) == [
        "class_share.csv", "finished.json", "labels/000000.png", "labels/mine.png", "notes.txt", "overlay.mp4",
    ]  # fmt: skip
    assert count_frames(tmp_path / "real" / "overlay.mp4") == 1 and (tmp_path / "out").is_symlink()
    mask = os.umask(0)
    os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "real").rglob("*") if path.is_file()} == {0o666 & ~mask}


def test_a_second_prediction_to_the_same_output_is_refused(model: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames(2, (48, 64)))
    with output_lock(tmp_path / "out"), pytest.raises(OSError, match=f"out is in use by process {os.getpid()} on"):
        predict(config(f"input={video}", f"checkpoint={model}", f"output={tmp_path / 'out'}"))
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_with_a_file_that_plays(model: Path, tmp_path: Path, number: signal.Signals) -> None:
    video = make_video(tmp_path / f"{ODD_NAME}.mp4", frames(40, (48, 64)) * 30)
    out = tmp_path / "out (1), a=b"
    command = [
        sys.executable,
        "-m",
        "src.predict",
        f"input={video}",
        f"checkpoint={model}",
        f"output={out}",
        "device=cpu",
        "threads=1",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 300
    while not list(out.glob(".mpvss.*.partial/new/.overlay*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 128 + number, said
    assert f"stopped by {number.name}" in said and "Traceback" not in said
    count = count_frames(out / "overlay.mp4")
    assert 0 < count < 1200 and count == len(keys(out))
    assert length(out / "overlay.mp4") == pytest.approx(count / 15, abs=1e-3)
    assert sorted(os.listdir(tmp_path)) == sorted([video.name, out.name])
    # Frames that waited for the next key frame are predicted from the past, as at the end of a video.
    predict(
        config(f"input={video}", f"checkpoint={model}", f"output={tmp_path / 'part'}", f"max_frames={count}", "fuse_keys=true")
    )
    assert (out / "class_share.csv").read_bytes() == (tmp_path / "part" / "class_share.csv").read_bytes()


def test_errors_are_one_line_and_exit_code_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(cfg: DictConfig, page: None) -> None:
        raise ValueError("what is wrong")

    monkeypatch.setattr(commands, "predict", fail)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as ended:
        src.predict.main.__wrapped__(config("input=a", "checkpoint=b", "output=c"))
    assert ended.value.code == 1 and "what is wrong" in caplog.text


@pytest.mark.parametrize("choice", sorted(path.stem for path in (ROOT / "conf" / "scheduler").glob("*.yaml")))
def test_every_scheduler_can_be_chosen(choice: str) -> None:
    allowance = ["scheduler.ms=40"] if choice == "budget" else []
    arguments = ["input=a", "checkpoint=b", "output=c", f"scheduler={choice}", "key_interval=7", *allowance]
    scheduler = instantiate(config(*arguments).scheduler)
    assert callable(scheduler.decide)
    if choice == "fixed":
        assert scheduler == FixedInterval(7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each copy is predicted in a forked process")
def test_damaged_copies_neither_hang_nor_crash_nor_write_partial_results() -> None:
    # Without --copies the script makes 200.
    command = [sys.executable, str(ROOT / "scripts" / "fuzz_video.py"), "--copies=6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error reported" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_a_prediction_of_many_is_its_exit_code(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        make_video(tmp_path / "in" / f"{name}.mp4", frames(2, (48, 64)))

    def signalled(path: Path, fps: float) -> VideoFrames:
        os.kill(os.getpid(), number)
        return VideoFrames(path)

    monkeypatch.setattr(commands, "open_path", signalled)
    assert commands.run(config(f"input={tmp_path / 'in'}", f"checkpoint={model}", f"output={tmp_path / 'out'}")) == 128 + number
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.json"]
