from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.inference.results.sources import MemoryFrames, Source, open_input
from src.inference.video.decoder import VideoFrames
from src.inference.video.sources import ImageFrames
from tests.inference.tiny import frames
from tests.inference.videos import make_video

IMAGE = frames(1)[0]
ARRAY = IMAGE.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("source", "count", "is_picture"),
    [
        (IMAGE, 1, True), (ARRAY, 1, True), (Image.fromarray(ARRAY), 1, True), ([IMAGE, IMAGE], 2, False),
        ([ARRAY], 1, False), (torch.stack([IMAGE] * 3), 3, False), (np.stack([ARRAY] * 2), 2, False),
        ((Image.fromarray(ARRAY) for _ in range(2)), 2, False), ((IMAGE[None],), 1, False),
    ],
)  # fmt: skip
def test_frames_in_memory_are_read_whatever_their_type(source: Source, count: int, is_picture: bool) -> None:
    opened = open_input(source, 10)
    assert opened.info.is_picture == is_picture
    found = list(opened)
    assert len(found) == count and [frame.name for frame in found] == [f"{n:06d}" for n in range(count)]
    assert all(torch.equal(frame.image, IMAGE) and frame.time == n * frame.duration for n, frame in enumerate(found))
    assert opened.stored_frames() in (count, None) and opened.info.fps == 10


def test_frames_are_copied() -> None:
    memory = IMAGE.clone()
    (frame,) = MemoryFrames([memory], 25)
    memory.zero_()
    assert torch.equal(frame.image, IMAGE)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3.5, "source is a float; expected a path, the number of a camera, a picture or pictures: uint8 RGB tensors"),
        ([], "source has no frame; expected at least one"),
        ([IMAGE.float()], r"frame 0: image is float32; expected uint8 RGB; use image.round"),
        ([IMAGE, IMAGE.float() / 255], r"frame 1: image has values .*, as if scaled to 0..1; expected RGB in 0..255"),
        ([ARRAY.astype(np.int64)], r"frame 0: image array is int64; expected uint8"),
        ([IMAGE.movedim(0, -1)], r"frame 0: image is \(40, 56, 3\); expected .*; use image.movedim"),
        (ARRAY[..., 0], r"frame 0: image array is \(40, 56\); expected \(H, W, 3\)"),
        (["a.jpg"], "frame 0: image is a str; expected a tensor"),
        ([torch.stack([IMAGE] * 2)], r"frame 0: frame is \(2, 3, 40, 56\); expected one image"),
    ],
)
def test_other_frames_are_refused_in_one_line(source: Source, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        list(open_input(source, 25))
    assert "\n" not in str(raised.value)


def test_paths_and_sources_are_opened_as_by_src_predict(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", frames(2, (48, 64)))
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.fromarray(ARRAY).save(folder / "1.png")
    assert isinstance(open_input(str(video), 25), VideoFrames) and isinstance(open_input(folder, 25), ImageFrames)
    assert open_input(folder / "1.png", 25).info.is_picture and open_input(VideoFrames(video), 25).info.name == str(video)
    with pytest.raises(FileNotFoundError, match=r"no video file at none.mp4"):
        open_input("none.mp4", 25)
    with pytest.raises(ValueError, match=r"fps is 0; expected 0\.001\.\.1000"):
        open_input([IMAGE], 0)
