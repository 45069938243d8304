from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from src.inference.video.sources import CameraFrames, ImageFrames
from tests.inference.tiny import FakeClips, frames


def save(path: Path, image: Tensor) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return path


def test_images_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    clip = frames(4)
    for name, image in zip(("f2.png", "f10.png", "f1.png", "f9.png"), clip, strict=True):
        save(tmp_path / name, image)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._f3.png").write_text("left by archive tools")
    source = ImageFrames.of_files(tmp_path, 10)
    found = list(source)
    assert [frame.name for frame in found] == ["f1", "f2", "f9", "f10"]
    assert [frame.time for frame in found] == [Fraction(i, 10) for i in range(4)]
    assert torch.equal(found[0].image, clip[2]) and torch.equal(found[3].image, clip[1])
    assert source.info.seconds == 0.4 and source.decode_errors == []


@pytest.mark.parametrize("suffix", ["tif", "bmp", "webp", "gif", "avif", "jp2", "ppm", "JPG"])
def test_images_of_every_format_are_frames(tmp_path: Path, suffix: str) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.{suffix}", torch.full((3, 16, 24), 60 * number, dtype=torch.uint8))
    found = list(ImageFrames.of_files(tmp_path, 10))
    assert [round(frame.image.float().mean().item() / 60) for frame in found] == [0, 1, 2]


def test_a_gif_among_jpegs_is_a_frame(tmp_path: Path) -> None:
    for name in ("0.jpg", "1.jpg", "2.gif"):
        save(tmp_path / name, frames(1)[0])
    assert [frame.name for frame in ImageFrames.of_files(tmp_path, 10)] == ["0", "1", "2"]


def test_one_line_names_what_is_left_out_of_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "0.png", frames(1)[0])
    ImageFrames.of_files(tmp_path, 10)
    assert caplog.records == []
    for name in ("a.mp4", "b.xcf", "c.txt", "d.json", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "e").mkdir()
    ImageFrames.of_files(tmp_path, 10)
    (line,) = caplog.messages
    assert line == f"{tmp_path}: 5 left out, which are no images: a.mp4, b.xcf, c.txt, ..."


def test_a_vspw_video_and_a_single_image_are_sources(tmp_path: Path) -> None:
    path = save(tmp_path / "video" / "origin" / "0001.png", frames(1)[0])
    assert [frame.name for frame in ImageFrames.of_files(tmp_path / "video", 15)] == ["0001"]
    assert [frame.name for frame in ImageFrames.of_files(path, 15)] == ["0001"]


def test_a_broken_image_is_a_decode_error_and_leaves_a_gap(tmp_path: Path) -> None:
    for number, image in enumerate(frames(4)):
        save(tmp_path / f"{number}.png", image)
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:100])
    (tmp_path / "0.png").write_bytes(b"")
    source = ImageFrames.of_files(tmp_path, 5)
    assert [(frame.name, frame.time) for frame in source] == [("1", 0), ("3", Fraction(2, 5))]
    assert len(source.decode_errors) == 2 and "0.png" in source.decode_errors[0] and "2.png" in source.decode_errors[1]


def test_bad_folders_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path.name} contains no image"):
        ImageFrames.of_files(tmp_path, 15)
    save(tmp_path / "a.png", frames(1)[0])
    with pytest.raises(ValueError, match="fps is 0"):
        ImageFrames.of_files(tmp_path, 0)
    save(tmp_path / "a.jpg", frames(1)[0])
    with pytest.raises(ValueError, match="two files are named 'a'"):
        ImageFrames.of_files(tmp_path, 15)


@pytest.mark.parametrize("name", ["clip1", "1"])
def test_a_clip_by_name_or_number(name: str) -> None:
    data = FakeClips((3, 2))
    source = ImageFrames.of_clip(data, name)
    found = list(source)
    assert all(torch.equal(frame.image, data.images[1][i]) for i, frame in enumerate(found)) and len(found) == 2
    assert [frame.name for frame in found] == ["0", "1"] and source.info.fps == 15


@pytest.mark.parametrize("name", ["clip2", "2", "-1", ""])
def test_an_unknown_clip_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected one of the 2 names clip0, clip1, or a number 0\.\.1"):
        ImageFrames.of_clip(FakeClips((3, 2)), name)


class FakeCamera:
    """cv2.VideoCapture without a device: three red pictures, then nothing."""

    released = 0

    def __init__(self, index: int) -> None:
        self.index, self.left = index, 3

    def isOpened(self) -> bool:  # noqa: N802
        return self.index == 0

    def get(self, key: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        picture = np.zeros((4, 6, 3), np.uint8)
        picture[..., 2] = 200
        return (True, picture) if self.left >= 0 else (False, None)

    def release(self) -> None:
        FakeCamera.released += 1


def test_a_camera_runs_until_it_disconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    source = CameraFrames(0)
    found = list(source)
    assert [frame.image[:, 0, 0].tolist() for frame in found] == [[200, 0, 0]] * 3
    assert found[0].time == 0 < found[1].time < found[2].time < 1
    assert source.decode_errors == ["camera 0 delivered no frame after frame 3"]
    before = FakeCamera.released
    assert len(list(islice(source, 2))) == 2 and FakeCamera.released == before + 1
    with pytest.raises(OSError, match="camera 7 cannot be opened"):
        CameraFrames(7)
