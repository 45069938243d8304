"""Whether a video file was cut off, by what its container says about its own size."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from src.inference.video import matroska

_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp")
_MOST_BOXES = 1_000_000


def missing_bytes(path: Path) -> int:
    """How much longer the file should be: MP4 and MOV, AVI, Matroska and WebM say so; 0 for a whole file and for any other kind.

    Only the sizes of the outermost parts are read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] == b"RIFF":
            end = _riff_end(file, size)
        elif head[4:8] in _MP4_BOXES:
            end = _mp4_end(file, size)
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            end = matroska.declared_end(path)
        else:
            end = 0
    return max(0, end - size)


def _riff_end(file: BinaryIO, size: int) -> int:
    # Files over 1 GB are several RIFF chunks in a row.
    position = 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(8)
        if head[:4] != b"RIFF":
            break
        length = int.from_bytes(head[4:], "little")
        position += 8 + length + length % 2
    return position


def _mp4_end(file: BinaryIO, size: int) -> int:
    position = 0
    for _ in range(_MOST_BOXES):
        if position + 8 > size:
            break
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        # 0 means up to the end of the file; less than its own head is no box.
        if length < 8:
            break
        position += length
    return position
