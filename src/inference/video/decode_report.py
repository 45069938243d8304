"""Errors of a video file: damaged packets and frames, damaged containers, truncated files."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from src.files.video.container import error_text, ffmpeg_error_lines, open_container

log = logging.getLogger(__name__)

_AVI_CHUNK_HEADER = 8  # bytes from the position in an AVI index to the data of the frame
_EBML_DAMAGE = re.compile("EBML number|exceeds containing master element")
_EBML_TRUNCATED = "File ended prematurely"


class DecodeReport:
    """Counts of what was read from a video file, to derive its errors from.

    Attributes:
        frames: decoded so far.
        bad_packets: packets that could not be read or decoded.
        error: the last exception of those.
    """

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self._path, self._format = path, container.format.name
        self._declared = declared_seconds(container, stream)
        self._start = ticks_to_seconds(stream.start_time, stream.time_base) or Fraction(0)
        # AVI and MP4 files list every packet. In other formats FFmpeg's index lists codec key frames (I-frames), or the packets
        # read so far.
        index = stream.index_entries if self._format.startswith(("avi", "mov")) else ()
        self._index_end = max((entry.pos + entry.size for entry in index), default=0)
        self._unread = {entry.pos for entry in index if entry.size} if self._format == "avi" else set()
        self._end = Fraction(0)
        self._position = 0
        self._corrupt_frames = self._corrupt_packets = 0
        self.frames = self.bad_packets = 0
        self.error: Exception | None = None

    def add_frame(self, frame: av.VideoFrame, timestamp: Fraction | None, duration: Fraction) -> None:
        """Count one decoded frame; its presentation time and duration in seconds."""
        self.frames += 1
        self._corrupt_frames += frame.is_corrupt
        self._end = self._end + duration if timestamp is None else max(self._end, timestamp - self._start + duration)

    def add_packet(self, packet: av.Packet[VideoStream]) -> None:
        """Count one packet."""
        # FFmpeg marks packets truncated by the end of the file, or with an MPEG-TS continuity error.
        self._corrupt_packets += packet.is_corrupt
        if packet.pos is not None:
            self._position = max(self._position, packet.pos + packet.size)
            self._unread.discard(packet.pos - _AVI_CHUNK_HEADER)

    def add_error(self, error: Exception) -> None:
        """Count one packet or frame that could not be decoded."""
        self.bad_packets += 1
        self.error = error

    def errors(self) -> list[str]:
        """Return one sentence for each kind of error, after the whole file was read.

        A duration in the header that is merely too long is logged as a warning.
        """
        found, path, size = [], self._path, self._path.stat().st_size
        lines = _demuxer_errors(path) if "matroska" in self._format else []
        damage = next((line for line in lines if _EBML_DAMAGE.search(line)), None)
        if damage is not None:
            found.append(f"{path}: the container is damaged and frames are lost ({damage})")
        if self.bad_packets:
            found.append(f"{path}: {self.bad_packets} packets could not be decoded ({error_text(self.error)})")
        if self._corrupt_frames:
            found.append(f"{path}: {self._corrupt_frames} of {self.frames} frames are damaged")
        elif self._corrupt_packets:
            found.append(f"{path}: {self._corrupt_packets} packets are damaged")
        truncated = self._index_end > size or any(_EBML_TRUNCATED in line for line in lines)
        if self._unread and not found and not truncated:
            found.append(f"{path}: {len(self._unread)} frames listed in the index of the file are missing")
        too_short = None if self._declared is None else self._end < min(0.98 * self._declared, self._declared - 0.1)
        length = f"{float(self._end):.2f} s" + ("" if self._declared is None else f" of {self._declared:.2f} s")
        if truncated and too_short is not False:
            found.append(f"{path}: truncated: it ends after {self.frames} frames, {length}")
        elif too_short and self._position < 0.7 * size:
            found.append(f"{path}: nothing could be read after {self.frames} frames, {length}")
        elif too_short:
            log.warning("%s: the header declares %.2f s, the frames last %.2f s", path, self._declared, self._end)
        if not self.frames and not found:
            found.append(f"{path}: it contains no frame")
        return found


def declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the duration of a video stream by the header of its file; ``None`` if the header has none."""
    own = ticks_to_seconds(stream.duration, stream.time_base)
    if own is not None:
        return float(own)
    # The duration of a file with several streams is that of the longest one.
    single = len(container.streams) == 1
    return container.duration / av.time_base if single and container.duration is not None else None


def ticks_to_seconds(ticks: int | None, time_base: Fraction | None) -> Fraction | None:
    """Convert a timestamp to seconds; ``None`` if it or its time base is unknown."""
    return None if ticks is None or not time_base else ticks * Fraction(time_base)


def _demuxer_errors(path: Path) -> list[str]:
    """Read all packets of a file without decoding them, and return the errors that FFmpeg logs."""
    # An exception here was counted by the first pass.
    with ffmpeg_error_lines() as lines, suppress(av.FFmpegError, ValueError), open_container(path) as container:
        for _ in container.demux():
            pass
    return [text.strip() for _, _, text in lines]
