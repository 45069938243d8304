"""Laws of overlay writers: pictures have every pixel, videos the sound and both the mark of this project."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch

from src.files.images.readers import read_rgb
from src.files.results.owned_file import check_file
from src.inference.video.decoder import VideoFrames
from src.inference.video.overlay_writer import overlay_writer
from src.inference.video.sources import SourceInfo
from tests.inference.tiny import frames
from tests.inference.videos import make_video

PICTURE = SourceInfo("photo.jpg", Fraction(25), Fraction(1, 25), is_picture=True)


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.JPEG"])
def test_a_picture_keeps_its_size_and_is_marked(tmp_path: Path, name: str) -> None:
    (image,) = frames(1, (41, 57))
    writer = overlay_writer(tmp_path / name, PICTURE, 20, sound=True, in_place=True)
    writer.write(image, Fraction(0), Fraction(1, 25), None)
    writer.close()
    writer.abandon()
    found = read_rgb(tmp_path / name)
    assert found.shape == (3, 41, 57)
    assert torch.equal(found, image) if name == "out.png" else (found.float() - image.float()).abs().mean() < 8
    check_file(tmp_path / name, overwrite=True)


@pytest.mark.parametrize("sound", [True, False])
def test_a_video_is_marked_and_has_sound_on_request(tmp_path: Path, sound: bool) -> None:
    source = VideoFrames(make_video(tmp_path / "a.mp4", frames(3, (48, 64)), sound=True))
    info = replace(source.info, name="b")
    (tmp_path / "out.mp4").touch()
    writer = overlay_writer(tmp_path / "out.mp4", info, 20, sound, in_place=True)
    for frame in source:
        writer.write(frame.image, frame.time, frame.duration, frame.stored)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
    writer.close()
    check_file(tmp_path / "out.mp4", overwrite=True)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams.audio) == sound
