import os
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from src.inference.video.sources import ImageFrames
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


@pytest.mark.parametrize("fps", [0, -1, 1e-9, 1001, float("inf"), float("nan")])
def test_a_rate_out_of_range_is_refused_in_one_line(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match=r"fps is \S+; expected 0\.001\.\.1000"):
        ImageFrames.of_files(save(tmp_path / "0.png", frames(1)[0]), fps)


def test_names_that_are_no_text_become_text(tmp_path: Path) -> None:
    try:
        save(tmp_path / os.fsdecode(b"a\xff.png"), frames(1)[0])
    except OSError:
        pytest.skip("the file system has names of text only")
    assert [frame.name for frame in ImageFrames.of_files(tmp_path, 25)] == ["a\\udcff"]
