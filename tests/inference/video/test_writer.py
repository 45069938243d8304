from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
import torch

from src.inference.video.decoder import VideoFrames
from src.inference.video.writer import VideoWriter
from tests.inference.tiny import frames


def write(path: Path, clip: list[torch.Tensor], fps: Fraction | float = 15.0, quality: int = 10) -> Path:
    with VideoWriter(path, fps, quality) as video:
        for frame in clip:
            video.write(frame)
    return path


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_written_frames_are_read_back(tmp_path: Path, size: tuple[int, int]) -> None:
    clip = frames(9, size)
    path = write(tmp_path / "deeper" / "clip.mp4", clip, Fraction(30000, 1001))
    video = VideoFrames(path)
    read = [frame.image for frame in video]
    assert video.info.fps == Fraction(30000, 1001) and len(read) == 9
    height, width = size
    for written, found in zip(clip, read, strict=True):
        assert found.shape == (3, 48, 64) and found.dtype == torch.uint8 and found.is_contiguous()
        assert (found[:, :height, :width].float() - written.float()).abs().mean() < 10
    # The image moves by 2 px per frame, so a wrong order would be visible.
    assert (read[0].float() - read[-1].float()).abs().mean() > (
        read[0][:, :height, :width].float() - clip[0].float()
    ).abs().mean()
    assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]


def test_every_player_can_show_it(tmp_path: Path) -> None:
    with av.open(str(write(tmp_path / "clip.mp4", frames(3)))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.frames == 3


def test_after_an_error_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyError), VideoWriter(tmp_path / "clip.mp4", 15) as video:
        for frame in frames(60):
            video.write(frame)
        assert [file.name.endswith(".partial.mp4") for file in tmp_path.iterdir()] == [True]
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_an_error_keeps_the_earlier_video(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", frames(2))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="expected the size of the first frame, 40x56"), VideoWriter(path, 15) as video:
        video.write(frames(1)[0])
        video.write(frames(1, (16, 16))[0])
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_bad_frames_and_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected \(3, H, W\) torch.uint8"), VideoWriter(tmp_path / "a.mp4", 15) as video:
        video.write(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="no frame"), VideoWriter(tmp_path / "a.mp4", 15):
        pass
    with pytest.raises(ValueError, match=r"\.mp4"):
        VideoWriter(tmp_path / "a.avi", 15)
    with pytest.raises(ValueError, match="fps is 0"):
        VideoWriter(tmp_path / "a.mp4", 0)
    assert not list(tmp_path.iterdir())


def test_frames_keep_their_times_and_the_last_one_its_duration(tmp_path: Path) -> None:
    times = [Fraction(t, 1000) for t in (0, 33, 40, 41, 900, 1500)]
    with VideoWriter(tmp_path / "vfr.mp4", 25, time_base=Fraction(1, 1000), pixel_aspect=Fraction(4, 3)) as video:
        for frame, time in zip(frames(6), times, strict=True):
            video.write(frame, time, Fraction(1, 4))
    source = VideoFrames(tmp_path / "vfr.mp4")
    assert [frame.time for frame in source] == times
    assert source.info.seconds == pytest.approx(1.75) and source.info.pixel_aspect == Fraction(4, 3)


@pytest.mark.parametrize("base", [Fraction(66667, 1000000), Fraction(1, 15), Fraction(125, 2997), Fraction(1, 1_000_000_000)])
def test_any_time_base_is_accepted(tmp_path: Path, base: Fraction) -> None:
    times = [i * Fraction(1, 15) + (Fraction(1, 40) if i == 2 else 0) for i in range(5)]
    with VideoWriter(tmp_path / "a.mp4", 15, time_base=base) as video:
        for frame, time in zip(frames(5), times, strict=True):
            video.write(frame, time)
    found = [frame.time for frame in VideoFrames(tmp_path / "a.mp4")]
    assert found == [pytest.approx(time, abs=1e-4) for time in times]


def test_times_within_one_tick_still_increase(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 25, time_base=Fraction(1, 1000)) as video:
        for frame, time in zip(frames(4), (0, Fraction(1, 10**9), Fraction(2, 10**9), 1), strict=True):
            video.write(frame, Fraction(time))
    found = [frame.time for frame in VideoFrames(tmp_path / "a.mp4")]
    assert len(found) == 4 and all(a < b for a, b in pairwise(found)) and found[-1] == 1


def test_colors_survive(tmp_path: Path) -> None:
    colors = torch.tensor([[230, 20, 20], [20, 200, 40], [30, 40, 220], [250, 250, 250]], dtype=torch.uint8)
    picture = colors.T[:, :, None].repeat_interleave(16, 1).expand(3, 64, 64).contiguous()
    (found,) = VideoFrames(write(tmp_path / "colors.mp4", [picture], quality=5))
    assert (found.image.float() - picture.float()).abs().mean() < 4
