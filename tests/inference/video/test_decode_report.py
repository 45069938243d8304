"""Laws of decode errors: none for an intact file, at least one for a truncated or damaged one."""

from pathlib import Path

import av
import pytest
import torch

from src.inference.video.decoder import VideoFrames
from tests.inference.videos import MPEG4, cut, make_video, remux, zeroed

NOISE = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(20)]
MUXER_OPTIONS = [
    {},
    {"live": "1"},
    {"cluster_size_limit": "5000"},
    {"cluster_time_limit": "100"},
    {"reserve_index_space": "3000"},
    {"cues_to_front": "1"},
    {"write_crc32": "0"},
]


def make(path: Path) -> Path:
    codec = {".avi": MPEG4, ".webm": "libvpx"}.get(path.suffix, "libx264")
    return make_video(path, NOISE, codec=codec, faststart=path.name.startswith("fast"))


def errors_of(path: Path) -> list[str]:
    source = VideoFrames(path)
    for _ in source:
        pass
    return source.decode_errors


@pytest.mark.parametrize("name", ["a.mp4", "fast.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.ts"])
def test_an_intact_file_has_no_errors(tmp_path: Path, name: str) -> None:
    assert errors_of(make(tmp_path / name)) == []


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.85])
@pytest.mark.parametrize("name", ["fast.mp4", "a.mkv", "a.webm", "a.avi"])
def test_a_truncated_file_is_reported(tmp_path: Path, name: str, share: float) -> None:
    errors = errors_of(cut(make(tmp_path / name), tmp_path / f"cut_{name}", share))
    assert errors and all(f"cut_{name}: " in error for error in errors)
    # FFmpeg corrects the declared duration of a truncated AVI, and marks the packet that the end cuts.
    assert ("damaged" if name == "a.avi" else "truncated: it ends after") in errors[-1]


@pytest.mark.parametrize("share", [0.2, 0.6, 0.98])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_a_truncated_file_without_its_index_is_refused_as_such(tmp_path: Path, name: str, share: float) -> None:
    short = cut(make(tmp_path / name), tmp_path / f"cut_{name}", share)
    for _ in range(2):  # FFmpeg suppresses a repeated line by default
        with pytest.raises(ValueError, match=rf"cut_{name} is not a readable video: .*no index, moov: a truncated MP4"):
            VideoFrames(short)


def test_an_mp4_cut_between_two_frames_is_reported(tmp_path: Path) -> None:
    path = make(tmp_path / "fast.mp4")
    with av.open(str(path)) as container:
        end = [packet.pos + packet.size for packet in container.demux(video=0) if packet.pos is not None][9]
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[:end])
    assert errors_of(tmp_path / "cut.mp4") == [f"{tmp_path / 'cut.mp4'}: truncated: it ends after 10 frames, 0.67 s of 1.33 s"]


@pytest.mark.parametrize("options", MUXER_OPTIONS)
@pytest.mark.parametrize("name", ["a.webm", "a.mkv"])
def test_matroska_errors_are_independent_of_muxer_options(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    times = [40 * number + (900 if number > 7 else 0) for number in range(20)]
    path = make_video(tmp_path / "all.mkv", NOISE, codec="libvpx", times=times, sound=not name.endswith("webm"))
    written = remux(path, tmp_path / name, options)
    assert errors_of(written) == []
    for share in (0.3, 0.6):
        assert "truncated" in errors_of(cut(written, tmp_path / f"cut_{name}", share))[-1]
    # Two recordings in one file.
    (tmp_path / f"twice_{name}").write_bytes(written.read_bytes() * 2)
    assert errors_of(tmp_path / f"twice_{name}") == []


@pytest.mark.parametrize("options", MUXER_OPTIONS[:3])
@pytest.mark.parametrize("start", [0.2, 0.6])
def test_zeros_over_the_header_of_a_block_are_reported(tmp_path: Path, start: float, options: dict[str, str]) -> None:
    written = remux(make_video(tmp_path / "all.mkv", NOISE, codec="libvpx"), tmp_path / "a.webm", options)
    with av.open(str(written)) as container:
        largest = max(packet.size for packet in container.demux(video=0)) / written.stat().st_size
    # At least as long as a block, so that it covers the header of one. The VP8 decoder may report the rest of the block as well.
    error, *_ = errors_of(zeroed(written, tmp_path / "hole.webm", start, start + largest))
    assert "the container is damaged and frames are lost (0x00 at pos" in error
