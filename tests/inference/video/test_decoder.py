import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from src.inference.video import decoder as video_frames
from src.inference.video.decoder import VideoFrames
from src.inference.video.sources import Frame
from tests.inference.tiny import frames
from tests.inference.videos import MPEG4, cut, lying_avi, make_video, zeroed


def read(path: Path) -> tuple[list[Frame], list[str]]:
    source = VideoFrames(path)
    return list(source), source.faults


def difference(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().mean())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("a.avi", {"codec": MPEG4}),
        ("10bit.mp4", {"pix_fmt": "yuv420p10le"}),
        ("444.mkv", {"pix_fmt": "yuv444p"}),
        ("10:30 100% #1.mp4", {}),
        ("sound.mp4", {"sound": True}),
    ],
)
def test_every_frame_comes_once_in_order_and_on_time(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    clip = frames(9, (48, 64))
    path = make_video(tmp_path / name, clip, **options)  # type: ignore[arg-type]
    found, faults = read(path)
    assert faults == []
    assert [frame.time for frame in found] == [pytest.approx(Fraction(i, 15), abs=1e-3) for i in range(9)]
    assert [frame.name for frame in found] == [f"{i:06d}" for i in range(9)]
    for frame, original in zip(found, clip, strict=True):
        assert frame.image.shape == (3, 48, 64) and frame.image.dtype == torch.uint8 and frame.image.is_contiguous()
        assert difference(frame.image, original) < 8
    info = VideoFrames(path).info
    assert float(info.fps) == pytest.approx(15, rel=1e-3) and info.has_audio == ("sound" in options)
    # The length of a Matroska file with sound would be that of the longer stream; these know their own.
    assert info.seconds == pytest.approx(0.6, abs=0.01)


def test_odd_sizes_and_iterating_twice(tmp_path: Path) -> None:
    # H.264 stores no odd sides in 4:2:0, FFV1 does.
    path = make_video(tmp_path / "odd.mkv", frames(3, (47, 61)), codec="ffv1")
    source = VideoFrames(path)
    assert [frame.image.shape for frame in source] == [(3, 47, 61)] * 3 == [frame.image.shape for frame in source]


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    ticks = [0, 40, 50, 500, 501, 2000]
    found, faults = read(make_video(tmp_path / "vfr.mp4", frames(6, (48, 64)), times=ticks))
    assert [frame.time for frame in found] == [Fraction(tick, 1000) for tick in ticks] and faults == []


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_phone_held_upright_is_read_upright(tmp_path: Path, angle: int) -> None:
    clip = frames(2, (32, 64))
    path = make_video(tmp_path / "phone.mp4", clip, rotation=angle, pixel_aspect=Fraction(4, 3))
    (first, _), _ = read(path)
    expected = torch.rot90(clip[0], angle // 90, (1, 2))
    assert first.image.shape == expected.shape
    assert difference(first.image, expected) < difference(first.image, expected.flip(1, 2)) / 3
    assert VideoFrames(path).info.pixel_aspect == (Fraction(4, 3) if angle == 180 else Fraction(3, 4))


@pytest.mark.parametrize("claimed", [3, 90, 5000])
def test_a_header_that_lies_about_the_number_of_frames_is_no_damage(tmp_path: Path, claimed: int) -> None:
    found, faults = read(lying_avi(tmp_path / "lie.avi", frames(9, (48, 64)), claimed))
    assert len(found) == 9 and faults == []


@pytest.mark.parametrize("name", ["fast.mp4", "a.mkv", "a.avi"])
def test_a_file_cut_off_gives_what_it_has_and_says_so(tmp_path: Path, name: str) -> None:
    clip = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(20)]
    path = make_video(tmp_path / name, clip, codec=MPEG4 if name == "a.avi" else "libx264", faststart=True)
    found, faults = read(cut(path, tmp_path / f"cut_{name}", 0.6))
    assert 5 < len(found) < 18
    assert faults and all(f"cut_{name}" in fault for fault in faults)
    if name != "a.avi":
        assert "cut off" in faults[-1] and f"{len(found)} frames" in faults[-1] and "of 1.33 s" in faults[-1]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_hole_in_the_file_is_told(tmp_path: Path, name: str) -> None:
    clip = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(20)]
    path = make_video(tmp_path / name, clip, codec=MPEG4 if name == "a.avi" else "libx264")
    found, faults = read(zeroed(path, tmp_path / f"hole_{name}", 0.4, 0.55))
    assert 4 < len(found) <= 20 and faults and all(f"hole_{name}" in fault for fault in faults)


@pytest.mark.parametrize(
    ("name", "codec", "message"),
    [
        # Neither decoder misses the frames, and no other frame is marked.
        ("a.webm", "libvpx", r"damaged at byte [\d,]+, and frames there are lost"),
        ("a.avi", "mjpeg", "frames that its index lists are not there"),
        ("a.ts", "libx264", "parts of the stream are damaged|frames are damaged"),
    ],
)
def test_frames_that_a_hole_swallowed_without_a_word_are_told(tmp_path: Path, name: str, codec: str, message: str) -> None:
    clip = [torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8) for _ in range(20)]
    path = make_video(tmp_path / name, clip, codec=codec, pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p")
    whole, faults = read(path)
    assert len(whole) == 20 and faults == []
    with av.open(str(path)) as container:
        sizes = [packet.size for packet in container.demux(video=0)]
    found, faults = read(zeroed(path, tmp_path / f"hole_{name}", 0.4, 0.4 + max(sizes[3:]) / path.stat().st_size))
    assert len(found) < 20 and len(faults) == 1 and faults[0].startswith(f"{tmp_path / f'hole_{name}'}: ")
    assert re.search(message, faults[0])


def test_frames_that_a_sound_file_leaves_out_are_no_damage(tmp_path: Path) -> None:
    # FFmpeg writes empty chunks into an AVI where nothing changes for a while.
    ticks = [0, 1, 2, 30, 31, 60]
    path = make_video(tmp_path / "a.avi", frames(6, (48, 64)), codec=MPEG4, times=ticks, time_base=Fraction(1, 15), sound=True)
    found, faults = read(path)
    assert len(found) == 6 and faults == []


def test_frames_of_absurd_size_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "large.mp4", frames(3, (128, 128)))
    monkeypatch.setattr(video_frames, "MOST_PIXELS", 10_000)
    found, faults = read(path)
    assert not found and faults


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.mp4", "not a video", "is not a readable video"),
        ("empty.mp4", "", "is not a readable video"),
        ("list.mp4", "ffconcat version 1.0\nfile a.mp4\n", "is a list of other files"),
        (
            "live.mp4",
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
            "list of other|not a readable",
        ),
    ],
)
def test_what_is_no_video_is_refused_by_name(tmp_path: Path, name: str, content: str, message: str) -> None:
    make_video(tmp_path / "a.mp4", frames(2, (48, 64)))
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}.*{message}") as refused:
        VideoFrames(tmp_path / name)
    # The name once, as it was typed, and no number of FFmpeg's.
    assert str(refused.value).count(name) == 1 and "Errno" not in str(refused.value)


def test_files_without_pictures_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        VideoFrames(tmp_path / "none.mp4")
    make_video(tmp_path / "both.mkv", frames(2, (48, 64)), sound=True)
    code = f"""
import av
with av.open(r"{tmp_path}/both.mkv") as source, av.open(r"{tmp_path}/sound.mkv", "w") as target:
    stream = target.add_stream_from_template(source.streams.audio[0])
    for packet in source.demux(audio=0):
        if packet.dts is not None:
            packet.stream = stream
            target.mux(packet)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with pytest.raises(ValueError, match=r"sound\.mkv has no video stream"):
        VideoFrames(tmp_path / "sound.mkv")
