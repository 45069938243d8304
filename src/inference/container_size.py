"""Whether a video file was cut off, by what its container says about its own size."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

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
            end = _matroska_end(file)
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


def _matroska_end(file: BinaryIO) -> int:
    file.seek(4)
    header = _matroska_length(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    # A live recording does not know its length.
    segment = _matroska_length(file)
    return 0 if segment is None else file.tell() + segment


def _matroska_length(file: BinaryIO) -> int | None:
    """A length of 1 to 8 bytes: the leading zeros of the first say how many follow; all ones means unknown."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    extra = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> extra)]) + file.read(extra), "big")
    return None if value == (1 << 7 * (extra + 1)) - 1 else value
