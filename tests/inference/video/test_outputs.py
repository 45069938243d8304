import csv
import errno
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from src.files.results.owned_folder import Scratch
from src.inference.video.decoder import VideoFrames
from src.inference.video.outputs import OutputOptions, VideoOutputs
from src.inference.video.prediction import FramePrediction, PredictionProgress
from src.inference.video.quality.outcome import VideoPrediction
from src.inference.video.quality.report import About
from src.inference.video.sources import Frame, SourceInfo
from tests.inference.tiny import CLASSES, FakeClips, frames

INFO = SourceInfo("clip.mp4", Fraction(25), Fraction(1, 1000))
EVERYTHING = OutputOptions(labels=True, flow_pictures=True)


def results(count: int = 3, size: tuple[int, int] = (40, 56)) -> list[FramePrediction]:
    found = []
    for i, image in enumerate(frames(count, size)):
        labels = torch.randint(0, 4, size, dtype=torch.uint8)
        flow = None if i == 0 else torch.randn(2, 20, 28)
        found.append(
            FramePrediction(
                Frame(image, f"f{i}", Fraction(i * i, 50), Fraction(1, 25)),
                labels,
                i == 0,
                flow,
                "first" if i == 0 else None,
                0.0,
                # The result of an estimator without confidence, and of one with it.
                disoccluded_share=0.25 if i == 2 else None,
                disoccluded=(torch.arange(28) < 7).float().expand(20, 28) if i == 2 else None,
            )
        )
    return found


def write(folder: Path, found: list[FramePrediction], options: OutputOptions = EVERYTHING) -> list[Path]:
    with VideoOutputs(folder, INFO, CLASSES, FakeClips.palette, options) as outputs:
        for result in found:
            outputs.write(result)
        return outputs.finish()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_all_outputs_agree_with_the_predictions(tmp_path: Path) -> None:
    found = results(size=(41, 57))
    written = write(tmp_path / "deep" / "out", found)
    out = tmp_path / "deep" / "out"
    assert written == [out / "overlay.mp4", out / "class_share.csv", out / "labels", out / "flow"]
    assert names(out) == sorted(
        ["overlay.mp4", "class_share.csv", "labels", "flow", "f0.png", "f1.png", "f2.png", "f1.png", "f2.png"]
    )
    for result in found:
        label = np.asarray(Image.open(out / "labels" / f"{result.frame.name}.png"))
        assert label.dtype == np.uint8 and np.array_equal(label, result.semantic_map.numpy())
    overlay = list(VideoFrames(out / "overlay.mp4"))
    assert [frame.time for frame in overlay] == [result.frame.time for result in found]
    assert overlay[0].image.shape == (3, 42, 58)
    rows = list(csv.DictReader((out / "class_share.csv").open(encoding="utf-8")))
    assert [(row["frame"], row["name"], row["key"], row["reason"]) for row in rows] == [
        ("0", "f0", "1", "first"), ("1", "f1", "0", ""), ("2", "f2", "0", ""),
    ]  # fmt: skip
    for row, result in zip(rows, found, strict=True):
        assert float(row["seconds"]) == float(result.frame.time)
        shares = [float((result.semantic_map == k).float().mean()) for k in range(4)]
        assert [float(row[name]) for name in CLASSES] == pytest.approx(shares, abs=1e-6)
    assert [row["disoccluded"] for row in rows] == ["", "", "0.250000"]
    # The flow image also shows disoccluded pixels if the estimator has a confidence.
    plain, beside = (Image.open(out / "flow" / f"f{i}.png").size for i in (1, 2))
    assert beside[0] > 1.8 * plain[0] and beside[1] == plain[1]


def test_only_requested_outputs_are_written(tmp_path: Path) -> None:
    assert names(tmp_path / "out") == [] and write(tmp_path / "out", results(), OutputOptions())
    assert names(tmp_path / "out") == ["class_share.csv", "overlay.mp4"]


def test_flicker_is_a_column_before_the_classes_on_request(tmp_path: Path) -> None:
    found = [replace(one, semantic_map=torch.zeros(40, 56, dtype=torch.uint8)) for one in results()]
    found[2].semantic_map[:20] = 3
    found = [replace(one, frame=one.frame._replace(image=found[0].frame.image)) for one in found]
    assert not write(tmp_path / "plain", found, OutputOptions())[1].read_text().count("flicker")
    write(tmp_path / "out", found, OutputOptions(flicker=True))
    rows = list(csv.DictReader((tmp_path / "out" / "class_share.csv").open(encoding="utf-8")))
    assert [row["flicker"] for row in rows] == ["", "0.000000", "0.500000"] and list(rows[0])[6:] == ["flicker", *CLASSES]


def test_the_confidence_is_a_video_and_a_column_on_request(tmp_path: Path) -> None:
    sizes = [(144, 192), (144, 192), (96, 128)]
    found = [
        replace(results(1, size)[0], confidence=torch.full(size, value))
        for size, value in zip(sizes, (0.0, 0.5, 1.0), strict=True)
    ]
    write(tmp_path, found, OutputOptions(confidence=True, flicker=True, quality=1))
    rows = list(csv.DictReader((tmp_path / "class_share.csv").open(encoding="utf-8")))
    assert [row["confidence"] for row in rows] == ["0.000000", "0.500000", "1.000000"]
    assert list(rows[0])[6:] == ["flicker", "confidence", *CLASSES]
    video = [frame.image for frame in VideoFrames(tmp_path / "confidence.mp4")]
    assert len({frame.shape for frame in video}) == 1 and video[0].shape[2] > 192
    assert [int(frame[1, 40:100, 20:100].float().mean() // 60) for frame in video] == [0, 2, 3], "violet, green, yellow"


def test_a_report_shows_the_overlay_without_legend_and_source(tmp_path: Path) -> None:
    found = results(4, (144, 192))
    options = OutputOptions(report=True, source_beside=True, legend="side")
    outcome = VideoPrediction(PredictionProgress(4, 1, 1.0, 2.0), ["frame 4: <truncated>"], None)
    with VideoOutputs(tmp_path / "out", INFO, CLASSES, FakeClips.palette, options, About("<model>")) as outputs:
        for result in found:
            outputs.write(result)
        outputs.write_report(outcome)
        assert outputs.finish()[-1] == tmp_path / "out" / "report.html"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Damaged input: 4 frames could be decoded (exit code 1)\nframe 4: &lt;truncated&gt;" in page
    assert "<title>clip.mp4</title>" in page and "&lt;model&gt;" in page and "192 x 144 pixels" in page
    assert 'width="192" height="144"' in page and 'href="class_share.csv"' in page and "mean flicker" in page


def test_the_source_is_shown_beside_the_overlay_on_request(tmp_path: Path) -> None:
    # A single class: the encoder would blur a noisy half into the other half.
    found = [replace(result, semantic_map=torch.full((40, 56), 3, dtype=torch.uint8)) for result in results(size=(40, 56))]
    for alpha in (0.0, 1.0):
        out = tmp_path / f"out{alpha}"
        write(out, found, OutputOptions(legend="off", alpha=alpha, quality=1, source_beside=True))
        for frame, result in zip(VideoFrames(out / "overlay.mp4"), found, strict=True):
            assert frame.image.shape == (3, 40, 112)
            left, right = ((half.float() - result.frame.image.float()).abs().mean() for half in frame.image.split(56, dim=2))
            assert left < 10 and (right < 10) == (alpha == 0)


def test_key_frames_are_marked_on_request_only(tmp_path: Path) -> None:
    found = [replace(one, semantic_map=torch.full((144, 192), 3, dtype=torch.uint8)) for one in results(2, (144, 192))]
    corners = {}
    for marks in (False, True):
        write(tmp_path / str(marks), found, OutputOptions(legend="off", key_marks=marks, quality=1))
        corners[marks] = [frame.image[:, :14, :60].float() for frame in VideoFrames(tmp_path / str(marks) / "overlay.mp4")]
    key, nonkey = ((one - other).abs().mean() for one, other in zip(corners[False], corners[True], strict=True))
    assert key > 20 and nonkey < 3


def test_the_overlay_has_a_legend_beside_or_below_it(tmp_path: Path) -> None:
    found = results(1, (144, 192))
    shapes = {}
    for legend in ("side", "bottom", "off"):
        write(tmp_path / legend, found, OutputOptions(legend=legend))
        shapes[legend] = tuple(next(iter(VideoFrames(tmp_path / legend / "overlay.mp4"))).image.shape[1:])
    assert shapes["off"] == (144, 192) and shapes["side"][0] == 144 and shapes["bottom"][1] == 192
    assert 192 < shapes["side"][1] <= 256 and 144 < shapes["bottom"][0] <= 168


def test_flow_pictures_of_a_video_have_one_scale(tmp_path: Path) -> None:
    first, second = results(2), results(2)
    slow = [replace(one, flow=None if one.flow is None else torch.ones(2, 20, 28)) for one in first]
    fast = [replace(one, flow=None if one.flow is None else 9 * torch.ones(2, 20, 28)) for one in second]
    for name, scale in (("default", None), ("given", 50.0)):
        for speed, found in (("slow", slow), ("fast", fast)):
            write(tmp_path / name / speed, found, OutputOptions(flow_pictures=True, flow_scale=scale))
    colors = {
        (name, speed): np.asarray(Image.open(tmp_path / name / speed / "flow" / "f1.png"))[40, 10].min().item()
        for name in ("default", "given") for speed in ("slow", "fast")
    }  # fmt: skip
    # Of a map of 28 pixels, one pixel has full color; of the given scale, it is pale.
    assert colors["default", "slow"] == colors["default", "fast"] < colors["given", "fast"] < colors["given", "slow"] < 255


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "out", results(1))
    before = (tmp_path / "out" / "overlay.mp4").read_bytes()
    with pytest.raises(FileExistsError, match=r"overlay\.mp4 exists"):
        write(tmp_path / "out", results(2))
    assert (tmp_path / "out" / "overlay.mp4").read_bytes() == before


@pytest.mark.parametrize("name", ["overlay", "labels", "table"])
def test_a_full_disk_is_one_error_that_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=rf"{tmp_path}/out cannot be written: No space left on device; free space") as raised:  # noqa: SIM117
        with (
            Scratch(tmp_path, "out") as scratch,
            VideoOutputs(scratch.new, INFO, CLASSES, FakeClips.palette, EVERYTHING) as outputs,
        ):
            outputs.write(results(1)[0])
            if name == "overlay":
                monkeypatch.setattr(outputs._video, "_encode", fail)
            elif name == "labels":
                monkeypatch.setattr(Image.Image, "save", fail)
            else:
                monkeypatch.setattr(outputs, "_rows", SimpleNamespace(writerow=fail))
            outputs.write(results(2)[1])
            outputs.finish()
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


def test_a_file_as_folder_and_a_video_without_frames_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="file is a file"):
        write(tmp_path / "file", results(1))
    with pytest.raises(ValueError, match="no frame"):
        write(tmp_path / "out", [])
    with pytest.raises(ValueError, match="quality is 99"):
        write(tmp_path / "other", [], OutputOptions(quality=99))


def test_frames_of_another_size_are_resized_in_the_overlay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = results(2)
    image: Tensor = frames(1, (64, 64))[0]
    other = replace(second, frame=second.frame._replace(image=image), semantic_map=torch.zeros(64, 64, dtype=torch.uint8))
    write(tmp_path / "out", [first, other])
    assert [frame.image.shape for frame in VideoFrames(tmp_path / "out" / "overlay.mp4")] == [(3, 40, 56)] * 2
    assert Image.open(tmp_path / "out" / "labels" / "f1.png").size == (64, 64)
    assert "frame 1 is 64x64 (HxW) in a video of 40x56" in caplog.text


def test_more_than_256_classes_are_stored_with_16_bits(tmp_path: Path) -> None:
    result = replace(results(1)[0], semantic_map=torch.randint(0, 300, (40, 56), dtype=torch.int32))
    palette = [(k % 256, k // 256, 7) for k in range(300)]
    with VideoOutputs(tmp_path / "out", INFO, [f"c{k}" for k in range(300)], palette, EVERYTHING) as outputs:
        outputs.write(result)
        outputs.finish()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/labels/f0.png")), result.semantic_map.numpy())


def test_the_background_of_a_single_class_is_255_in_labels_and_in_no_share(tmp_path: Path) -> None:
    labels = torch.full((40, 56), 255, dtype=torch.uint8)
    labels[:10] = 0
    found = [replace(one, semantic_map=labels) for one in results(2)]
    options = OutputOptions(labels=True, legend="off", alpha=1.0)
    with VideoOutputs(tmp_path, INFO, ("lane",), [(200, 40, 40)], options) as outputs:
        for one in found:
            outputs.write(one)
        outputs.finish()
    rows = list(csv.reader((tmp_path / "class_share.csv").open()))
    assert rows[0][-1] == "lane" and [row[-1] for row in rows[1:]] == ["0.250000"] * 2
    assert len({len(row) for row in rows}) == 1
    with Image.open(tmp_path / "labels" / "f0.png") as image:
        assert np.array_equal(np.asarray(image), labels.numpy())
    picture = next(iter(VideoFrames(tmp_path / "overlay.mp4"))).image.float()
    assert picture[0, :8].mean() > 170 and picture[:, 14:].mean() < 20
