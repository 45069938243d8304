from pathlib import Path

import pytest

from src.inference.video.container_size import missing_bytes
from tests.inference.tiny import frames
from tests.inference.videos import MPEG4, cut, make_video


@pytest.mark.parametrize("name", ["a.mp4", "fast.mp4", "a.mov", "a.mkv", "a.avi"])
def test_a_whole_file_misses_nothing_and_a_cut_one_just_what_was_cut(tmp_path: Path, name: str) -> None:
    codec = MPEG4 if name.endswith("avi") else "libx264"
    path = make_video(tmp_path / name, frames(8, (64, 64)), codec=codec, faststart=name == "fast.mp4")
    assert missing_bytes(path) == 0
    # Behind the pictures of the others comes an index, which is a part of its own.
    share = 0.97 if name in ("fast.mp4", "a.mkv", "a.avi") else 0.4
    short = cut(path, tmp_path / f"cut_{name}", share)
    lost = path.stat().st_size - short.stat().st_size
    assert 0 < missing_bytes(short) <= lost
    if name in ("fast.mp4", "a.mkv", "a.avi"):
        assert missing_bytes(short) == lost


@pytest.mark.parametrize(
    "data",
    [b"", b"R", b"RIFF", b"RIFF\xff\xff\xff", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x00\x00", b"\0\0\0\4ftyp", b"text " * 9],
)
def test_fragments_and_other_files_are_no_problem(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert missing_bytes(tmp_path / "x") == 0


def test_long_boxes_and_unknown_lengths(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\0\0\0\x08free" + b"\0\0\0\1mdat" + (5_000_000_000).to_bytes(8, "big") + bytes(84))
    assert missing_bytes(path) == 8 + 5_000_000_000 - 108
    # The length 0 of a box means "up to the end"; a live recording in Matroska has a length of all ones.
    path.write_bytes(b"\0\0\0\x08free" + b"\0\0\0\0mdat" + bytes(84))
    assert missing_bytes(path) == 0
    path.write_bytes(b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67" + b"\x01" + b"\xff" * 7 + bytes(40))
    assert missing_bytes(path) == 0
