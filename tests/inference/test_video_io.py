from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch

from src.inference.video_io import VideoWriter, read_video
from tests.inference.tiny import frames


def write(path: Path, clip: list[torch.Tensor], fps: Fraction | float = 15.0, quality: int = 10) -> Path:
    with VideoWriter(path, fps, quality) as video:
        for frame in clip:
            video.write(frame)
    return path


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_what_was_written_is_read_back(tmp_path: Path, size: tuple[int, int]) -> None:
    clip = frames(9, size)
    path = write(tmp_path / "deeper" / "clip.mp4", clip, Fraction(30000, 1001))
    images, fps = read_video(path)
    read = list(images)
    assert fps == Fraction(30000, 1001) and len(read) == 9
    height, width = size
    for written, found in zip(clip, read, strict=True):
        assert found.shape == (3, 48, 64) and found.dtype == torch.uint8 and found.is_contiguous()
        assert (found[:, :height, :width].float() - written.float()).abs().mean() < 10
    # Frames moved by 2 px a frame, so that an exchanged order would show.
    assert (read[0].float() - read[-1].float()).abs().mean() > (
        read[0][:, :height, :width].float() - clip[0].float()
    ).abs().mean()
    assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]


def test_every_player_can_show_it(tmp_path: Path) -> None:
    with av.open(str(write(tmp_path / "clip.mp4", frames(3)))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.frames == 3


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(KeyError), VideoWriter(tmp_path / "clip.mp4", 15) as video:
        for frame in frames(60):
            video.write(frame)
        assert [file.name.endswith(".partial.mp4") for file in tmp_path.iterdir()] == [True]
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_the_earlier_video(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", frames(2))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="one size"), VideoWriter(path, 15) as video:
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


def test_unreadable_videos_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        read_video(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(ValueError, match=r"text\.mp4 is not a readable video"):
        read_video(tmp_path / "text.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(ValueError, match=r"empty\.mp4"):
        read_video(tmp_path / "empty.mp4")


def test_a_video_cut_short_is_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = write(tmp_path / "whole.mp4", [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(20)])
    # An mkv has its description in front, so that its first half is readable.
    cut = tmp_path / "cut.mkv"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    images, _ = read_video(cut)
    count = sum(1 for _ in images)
    assert 5 < count < 15
    assert f"cut.mkv: only {count} of 20 frames" in caplog.text


def test_a_phone_held_upright_is_read_upright(tmp_path: Path) -> None:
    picture = frames(1, (32, 64))[0]
    with av.open(str(tmp_path / "phone.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        stream.set_display_rotation(90)
        frame = av.VideoFrame.from_ndarray(picture.permute(1, 2, 0).contiguous().numpy(), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    (image,) = read_video(tmp_path / "phone.mp4")[0]
    assert image.shape == (3, 64, 32)
    upright = torch.rot90(picture, 1, (1, 2)).float()
    assert (image.float() - upright).abs().mean() < (image.float() - upright.flip(1, 2)).abs().mean() / 3
