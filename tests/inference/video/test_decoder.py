import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from src.files.video import container
from src.inference.video.decoder import VideoFrames, read_video
from src.inference.video.sources import Frame
from tests.inference.tiny import frames
from tests.inference.videos import MPEG4, cut, lying_avi, make_video, zeroed


def read(path: Path) -> tuple[list[Frame], list[str]]:
    source = VideoFrames(path)
    return list(source), source.decode_errors


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
def test_every_frame_is_decoded_once_in_order_with_its_time(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    clip = frames(9, (48, 64))
    path = make_video(tmp_path / name, clip, **options)  # type: ignore[arg-type]
    found, errors = read(path)
    assert errors == []
    assert [frame.time for frame in found] == [pytest.approx(Fraction(i, 15), abs=1e-3) for i in range(9)]
    assert [frame.name for frame in found] == [f"{i:06d}" for i in range(9)]
    for frame, original in zip(found, clip, strict=True):
        assert frame.image.shape == (3, 48, 64) and frame.image.dtype == torch.uint8 and frame.image.is_contiguous()
        assert difference(frame.image, original) < 8
    info = VideoFrames(path).info
    assert float(info.fps) == pytest.approx(15, rel=1e-3) and (info.sound == path) == ("sound" in options)
    # The length of a Matroska file with sound would be that of the longer stream; the streams of these have their own.
    assert info.seconds == pytest.approx(0.6, abs=0.01)


def test_odd_sizes_and_iterating_twice(tmp_path: Path) -> None:
    # H.264 stores no odd sides in 4:2:0, FFV1 does.
    path = make_video(tmp_path / "odd.mkv", frames(3, (47, 61)), codec="ffv1")
    source = VideoFrames(path)
    assert [frame.image.shape for frame in source] == [(3, 47, 61)] * 3 == [frame.image.shape for frame in source]


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    ticks = [0, 40, 50, 500, 501, 2000]
    found, errors = read(make_video(tmp_path / "vfr.mp4", frames(6, (48, 64)), times=ticks))
    assert [frame.time for frame in found] == [Fraction(tick, 1000) for tick in ticks] and errors == []


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_the_rotation_of_a_phone_is_applied(tmp_path: Path, angle: int) -> None:
    clip = frames(2, (32, 64))
    path = make_video(tmp_path / "phone.mp4", clip, rotation=angle, pixel_aspect=Fraction(4, 3))
    (first, _), _ = read(path)
    expected = torch.rot90(clip[0], angle // 90, (1, 2))
    assert first.image.shape == expected.shape
    assert difference(first.image, expected) < difference(first.image, expected.flip(1, 2)) / 3
    assert VideoFrames(path).info.pixel_aspect == (Fraction(4, 3) if angle == 180 else Fraction(3, 4))


@pytest.mark.parametrize("claimed", [3, 90, 5000])
def test_a_wrong_number_of_frames_in_the_header_is_no_error(tmp_path: Path, claimed: int) -> None:
    found, errors = read(lying_avi(tmp_path / "lie.avi", frames(9, (48, 64)), claimed))
    assert len(found) == 9 and errors == []


@pytest.mark.parametrize("name", ["fast.mp4", "a.mkv", "a.avi"])
def test_a_truncated_file_yields_its_frames_and_is_reported(tmp_path: Path, name: str) -> None:
    clip = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(20)]
    path = make_video(tmp_path / name, clip, codec=MPEG4 if name == "a.avi" else "libx264", faststart=True)
    found, errors = read(cut(path, tmp_path / f"cut_{name}", 0.6))
    assert 5 < len(found) < 18
    assert errors and all(f"cut_{name}" in error for error in errors)
    if name != "a.avi":
        assert "truncated" in errors[-1] and f"{len(found)} frames" in errors[-1] and "of 1.33 s" in errors[-1]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_zeros_in_the_file_are_reported(tmp_path: Path, name: str) -> None:
    clip = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(20)]
    path = make_video(tmp_path / name, clip, codec=MPEG4 if name == "a.avi" else "libx264")
    found, errors = read(zeroed(path, tmp_path / f"hole_{name}", 0.4, 0.55))
    assert 4 < len(found) <= 20 and errors and all(f"hole_{name}" in error for error in errors)


@pytest.mark.parametrize(
    ("name", "codec", "message"),
    [
        # Neither decoder reports the missing frames, and no other frame is marked.
        ("a.webm", "libvpx", "the container is damaged and frames are lost"),
        ("a.avi", "mjpeg", "frames listed in the index of the file are missing"),
        ("a.ts", "libx264", "packets are damaged|frames are damaged"),
    ],
)
def test_frames_that_the_decoder_skips_silently_are_reported(tmp_path: Path, name: str, codec: str, message: str) -> None:
    clip = [torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8) for _ in range(20)]
    path = make_video(tmp_path / name, clip, codec=codec, pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p")
    whole, errors = read(path)
    assert len(whole) == 20 and errors == []
    with av.open(str(path)) as opened:
        sizes = [packet.size for packet in opened.demux(video=0)]
    found, errors = read(zeroed(path, tmp_path / f"hole_{name}", 0.4, 0.4 + max(sizes[3:]) / path.stat().st_size))
    assert len(found) < 20 and len(errors) == 1 and errors[0].startswith(f"{tmp_path / f'hole_{name}'}: ")
    assert re.search(message, errors[0])


def test_frames_that_an_intact_file_leaves_out_are_no_error(tmp_path: Path) -> None:
    # FFmpeg writes empty chunks into an AVI where nothing changes for a while.
    ticks = [0, 1, 2, 30, 31, 60]
    path = make_video(tmp_path / "a.avi", frames(6, (48, 64)), codec=MPEG4, times=ticks, time_base=Fraction(1, 15), sound=True)
    found, errors = read(path)
    assert len(found) == 6 and errors == []


def test_frames_that_grow_beyond_the_limit_are_decode_errors_with_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = make_video(tmp_path / "small.h264", frames(3, (48, 64)) * 40)
    large = make_video(tmp_path / "large.h264", frames(3, (128, 144)))
    (tmp_path / "grows.h264").write_bytes(small.read_bytes() + large.read_bytes())
    monkeypatch.setattr(container, "MAX_PIXELS", 10_000)
    found, errors = read(tmp_path / "grows.h264")
    assert len(found) == 120 and "frames are 144x128, 18432 pixels; expected at most 10000" in errors[0]


def test_the_size_may_change_within_a_video(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{side}.h264", frames(2, (side, 64))) for side in (48, 96)]
    (tmp_path / "both.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    found, errors = read(tmp_path / "both.h264")
    assert [frame.image.shape[-2:] for frame in found] == [(48, 64)] * 2 + [(96, 64)] * 2 and errors == []


@pytest.mark.parametrize(("suffix", "codec"), [("h264", "libx264"), ("m4v", MPEG4), ("m2v", "mpeg2video")])
def test_a_raw_stream_is_timed_by_its_codec(tmp_path: Path, suffix: str, codec: str) -> None:
    path = make_video(tmp_path / f"raw.{suffix}", frames(6, (48, 64)), codec=codec, fps=24)
    found, errors = read(path)
    assert VideoFrames(path).info.fps == 24 and errors == []
    assert [frame.time for frame in found] == [Fraction(i, 24) for i in range(6)]
    assert {frame.duration for frame in found} == {Fraction(1, 24)}


def test_a_raw_stream_without_a_rate_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_video(tmp_path / "raw.mjpeg", frames(2, (48, 64)), codec="mjpeg", pix_fmt="yuvj420p")
    assert VideoFrames(path).info.fps == 25
    assert f"{path}: the raw stream has no frame rate; it is read with 25 frames per second" in caplog.text


@pytest.mark.parametrize(("angle", "mirrored"), [(0, True), (90, True), (180, True), (270, True), (90, False)])
def test_a_mirrored_video_is_shown_as_players_do(tmp_path: Path, angle: int, mirrored: bool) -> None:
    clip = frames(2, (32, 64))
    path = make_video(tmp_path / "phone.mp4", clip, rotation=angle, mirrored=mirrored, pixel_aspect=Fraction(4, 3))
    (first, _), errors = read(path)
    expected = torch.rot90(clip[0], angle // 90, (1, 2))
    expected = expected.flip(2) if mirrored else expected
    assert first.image.shape == expected.shape and first.image.is_contiguous() and errors == []
    others = [turned for k in range(4) for turned in (torch.rot90(clip[0], k, (1, 2)), torch.rot90(clip[0], k, (1, 2)).flip(2))]
    nearest = min((one for one in others if one.shape == expected.shape), key=lambda one: difference(first.image, one))
    assert torch.equal(nearest, expected)
    assert VideoFrames(path).info.pixel_aspect == (Fraction(3, 4) if angle % 180 else Fraction(4, 3))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.mp4", "not a video", "is not a readable video"),
        ("empty.mp4", "", "is not a readable video"),
        ("list.mp4", "ffconcat version 1.0\nfile a.mp4\n", "a list of other files, or no video format"),
        (
            "live.mp4",
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
            "is not a readable video",
        ),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, name: str, content: str, message: str) -> None:
    make_video(tmp_path / "a.mp4", frames(2, (48, 64)))
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}.*{message}") as refused:
        VideoFrames(tmp_path / name)
    # The name appears once, as typed, and without FFmpeg's error number.
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


def test_a_damaged_video_raises_after_its_last_frame(tmp_path: Path) -> None:
    clip = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(20)]
    path = make_video(tmp_path / "whole.mp4", clip)
    images, fps = read_video(path)
    assert fps == 15 and len(list(images)) == 20
    images, _ = read_video(zeroed(path, tmp_path / "hole.mp4", 0.4, 0.5))
    count = 0
    with pytest.raises(ValueError, match=r"hole\.mp4"):
        for _ in images:
            count += 1
    assert 5 < count <= 20


def test_a_truncated_video_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(20)]
    images, _ = read_video(cut(make_video(tmp_path / "a.mkv", clip), tmp_path / "cut.mkv", 0.5))
    count = sum(1 for _ in images)
    assert 5 < count < 15 and f"truncated: it ends after {count} frames" in caplog.text


def test_transparency_that_is_not_read_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuva420p")))
        container.mux(stream.encode(None))
    assert len(read(path)[0]) == 1
    assert f"{path}: its transparency (WebM) is not read" in caplog.text
