"""What a Matroska or WebM file says about its own size, and whether a hole in it has swallowed frames.

FFmpeg goes on behind a hole at the next sound cluster without a word, and the decoder of VP8 takes the rest for a whole stream.
The structure knows: every part begins where the one before ends. Frame rates do not matter to it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
# What a segment holds besides clusters: seek head, info, tracks, cues, attachments, chapters, tags.
_BESIDE_CLUSTERS = {0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
_LONGEST_HEAD = 12  # bytes: four of the name, eight of the size


@dataclass(frozen=True)
class _Element:
    """A part of a Matroska file.

    Attributes:
        name: its EBML id.
        start: of its content, bytes from the start of the file.
        end: behind its content; ``None`` where it is not known (live recordings).
    """

    name: int
    start: int
    end: int | None


def declared_end(path: Path) -> int:
    """How many bytes the file should have; 0 where it does not say so, and for files of other kinds."""
    with path.open("rb") as file:
        segment = _segment(file.fileno())
    return 0 if segment is None or segment.end is None else segment.end


def hole(path: Path) -> int | None:
    """Where the file is not what it should be.

    Only the heads of clusters and blocks are read: what happened inside a block, no structure knows.

    Returns:
        Bytes from the start of the file; ``None`` for a sound file, one that merely ends early, and files of other kinds.
    """
    with path.open("rb") as file:
        segment = _segment(file.fileno())
        return None if segment is None else _hole_in_segment(file.fileno(), segment, path.stat().st_size)


def _segment(file: int) -> _Element | None:
    header = _element(file, 0)
    if header is None or header.name != _EBML or header.end is None:
        return None
    segment = _element(file, header.end)
    return segment if segment is not None and segment.name == _SEGMENT else None


def _hole_in_segment(file: int, segment: _Element, size: int) -> int | None:
    position, end = segment.start, size if segment.end is None else min(segment.end, size)
    while position + _LONGEST_HEAD < end:
        found = _element(file, position)
        if found is None or (segment.end is not None and found.end is not None and found.end > segment.end):
            return position
        # Segments may follow one another where their lengths are not known.
        if found.name == _EBML:
            return None
        if found.name == _CLUSTER:
            broken, after = _hole_in_cluster(file, found, end)
            if broken is not None:
                return broken
        elif found.end is None:
            return position
        else:
            after = found.end
        position = after
    return None


def _hole_in_cluster(file: int, cluster: _Element, limit: int) -> tuple[int | None, int]:
    """The hole, if there is one, and where the next part of the segment begins."""
    end = limit if cluster.end is None else cluster.end
    position = cluster.start
    while position < min(end, limit):
        found = _element(file, position)
        if found is None and position + _LONGEST_HEAD > limit:
            return None, limit
        if cluster.end is None and found is not None and found.name in {_EBML, _CLUSTER, *_BESIDE_CLUSTERS}:
            return None, position
        if found is None or found.end is None or (cluster.end is not None and found.end > cluster.end):
            return position, end
        position = found.end
    return None, position


def _element(file: int, position: int) -> _Element | None:
    """What begins there; ``None`` where nothing can."""
    head = os.pread(file, _LONGEST_HEAD, position)
    # The zeros before the first one of a byte say how many bytes follow: up to three of a name, up to seven of a size.
    if not head or head[0] < 0x10:
        return None
    name_length = 9 - head[0].bit_length()
    size_byte = head[name_length : name_length + 1]
    if not size_byte or not size_byte[0]:
        return None
    size_length = 9 - size_byte[0].bit_length()
    digits = head[name_length : name_length + size_length]
    if len(digits) < size_length:
        return None
    start = position + name_length + size_length
    bits = 7 * size_length
    size = int.from_bytes(digits, "big") & ((1 << bits) - 1)
    return _Element(int.from_bytes(head[:name_length], "big"), start, None if size == (1 << bits) - 1 else start + size)
