"""Frames of a video file: decoded one at a time, upright, with their times; what is broken is left out and told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.container import InputContainer
from av.video.stream import VideoStream
from torch import Tensor

from src.inference.video import matroska
from src.inference.video.container_size import missing_bytes
from src.inference.video.sources import Frame, SourceInfo
from src.inference.video.timeline import Timeline

log = logging.getLogger(__name__)

MOST_PIXELS = 2**26
"""Pixels of a frame, twice 8K. A damaged header can ask for more memory than any machine has."""

_USUAL_RATE = Fraction(25)
_AVI_HEAD = 8  # bytes from where an index says that a frame is to the frame itself
# Formats that are lists of other files or addresses.
_LISTS = {"hls", "concat", "dash", "imf", "sdp", "rtsp"}


class VideoFrames:
    """The frames of a video file, in constant memory.

    Frames come upright (a phone's rotation applied) and with their own timestamps, whatever the header says about their number.
    Packets that cannot be decoded are skipped.

    Args:
        path: any container and codec that FFmpeg reads.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no readable video.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.faults: list[str] = []
        if not self.path.is_file():
            raise FileNotFoundError(f"no video file at {path}")
        with self._opened() as (container, stream):
            self.info = _info(self.path, container, stream)

    def __iter__(self) -> Iterator[Frame]:
        """Every frame that can be decoded; afterwards ``faults`` is complete."""
        self.faults.clear()
        timeline = Timeline(1 / self.info.fps)
        with self._opened() as (container, stream):
            record = _Record(self.path, container, stream)
            for frame in _decoded(container, stream, record):
                try:
                    image = _upright_rgb(frame)
                except (av.FFmpegError, ValueError, MemoryError) as error:
                    record.bad_packets += 1
                    record.error = error
                    continue
                timestamp = _seconds(frame.pts, frame.time_base)
                duration = _seconds(frame.duration or None, frame.time_base) or 1 / self.info.fps
                record.saw_frame(frame, timestamp, duration)
                yield Frame(image, f"{record.frames - 1:06d}", timeline.place(timestamp), duration)
            self.faults += record.faults()

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        # "file:" because FFmpeg takes what stands before a colon in a name for a protocol; and no other protocol is to be opened.
        options = {"protocol_whitelist": "file"}
        try:
            container = av.open(f"file:{self.path}", options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(f"{self.path} is not a readable video: {_reason(error)}{self._cut_off()}") from error
        with container:
            if _LISTS & set(container.format.name.split(",")):
                raise ValueError(f"{self.path} is a list of other files ({container.format.name}); expected a video file")
            stream = container.streams.best("video")
            if not isinstance(stream, VideoStream):
                raise ValueError(f"{self.path} has no video stream")
            stream.thread_type = "AUTO"
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
            yield container, stream

    def _cut_off(self) -> str:
        missing = missing_bytes(self.path)
        return f" (the file is cut off: {missing:,} bytes are missing)" if missing else ""


class _Record:
    """What was seen while reading a file, to judge it by."""

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self._path = path
        self.declared = _declared_seconds(container, stream)
        self._start = _seconds(stream.start_time, stream.time_base) or Fraction(0)
        self.frames = self.bad_packets = self.corrupt = self.corrupt_packets = self.position = 0
        # AVI files list their frames; elsewhere FFmpeg's index holds a part of them, or what it has seen itself.
        listed = stream.index_entries if container.format.name == "avi" else ()
        self._unseen = {entry.pos for entry in listed if entry.size}
        self.end = Fraction(0)
        self.error: Exception | None = None

    def saw_frame(self, frame: av.VideoFrame, timestamp: Fraction | None, duration: Fraction) -> None:
        self.frames += 1
        self.corrupt += frame.is_corrupt
        self.end = self.end + duration if timestamp is None else max(self.end, timestamp - self._start + duration)

    def saw_packet(self, packet: av.Packet[VideoStream]) -> None:
        # As MPEG-TS marks what its packet counters miss.
        self.corrupt_packets += packet.is_corrupt
        if packet.pos is not None:
            self.position = max(self.position, packet.pos + packet.size)
            self._unseen.discard(packet.pos - _AVI_HEAD)

    def faults(self) -> list[str]:
        """The sentences of ``VideoFrames.faults``; a header that merely promises too much is a warning in the log."""
        found = []
        hole = matroska.hole(self._path)
        if hole is not None:
            found.append(f"{self._path}: the file is damaged at byte {hole:,}, and frames there are lost")
        if self.bad_packets:
            found.append(f"{self._path}: {self.bad_packets} parts of the stream could not be decoded ({_reason(self.error)})")
        if self.corrupt:
            found.append(f"{self._path}: {self.corrupt} of {self.frames} frames are damaged")
        elif self.corrupt_packets:
            found.append(f"{self._path}: {self.corrupt_packets} parts of the stream are damaged")
        missing, size = missing_bytes(self._path), self._path.stat().st_size
        if self._unseen and not found and not missing:
            found.append(f"{self._path}: {len(self._unseen)} frames that its index lists are not there")
        short = None if self.declared is None else self.end < min(0.98 * self.declared, self.declared - 0.1)
        length = "" if self.declared is None else f" of {self.declared:.2f} s"
        if missing and short is not False:
            found.append(
                f"{self._path}: cut off: {missing:,} bytes are missing; it ends after {self.frames} frames, "
                f"{float(self.end):.2f} s{length}"
            )
        elif short and self.position < 0.7 * size:
            found.append(f"{self._path}: nothing could be read behind {float(self.end):.2f} s{length}, {self.frames} frames")
        elif short:
            log.warning("%s: the header declares %.2f s, there are %.2f s", self._path, self.declared, self.end)
        if not self.frames and not found:
            found.append(f"{self._path}: there is no frame in it")
        return found


def _decoded(container: InputContainer, stream: VideoStream, record: _Record) -> Iterator[av.VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, ValueError) as error:
            record.bad_packets, record.error = record.bad_packets + 1, error
            return
        if packet is None:
            return
        record.saw_packet(packet)
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError) as error:
            record.bad_packets, record.error = record.bad_packets + 1, error
            continue
        yield from frames


def _reason(error: BaseException | None) -> str:
    """What FFmpeg says, without its number and its name for the file."""
    return str(getattr(error, "strerror", None) or error)


def _upright_rgb(frame: av.VideoFrame) -> Tensor:
    """(3, H, W) uint8."""
    image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
    return torch.rot90(image, round(frame.rotation / 90), dims=(1, 2)).contiguous()


def _info(path: Path, container: InputContainer, stream: VideoStream) -> SourceInfo:
    rate = stream.average_rate or stream.guessed_rate
    fps = Fraction(rate) if rate and 0 < rate <= 1000 else _USUAL_RATE
    base = Fraction(stream.time_base) if stream.time_base else 1 / fps
    return SourceInfo(
        name=str(path),
        fps=fps,
        time_base=base if base > 0 else 1 / fps,
        seconds=_declared_seconds(container, stream),
        pixel_aspect=_upright_aspect(container, stream),
        has_audio=bool(container.streams.audio),
    )


def _upright_aspect(container: InputContainer, stream: VideoStream) -> Fraction:
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if aspect <= 0 or aspect == 1:
        return Fraction(1)
    # Only a frame tells how it is turned.
    try:
        frame = next(container.decode(stream), None)
    except (av.FFmpegError, ValueError):
        frame = None
    turned = frame is not None and round(frame.rotation / 90) % 2
    return 1 / aspect if turned else aspect


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    own = _seconds(stream.duration, stream.time_base)
    if own is not None:
        return float(own)
    # The length of a file with sound is that of the longer of the two.
    alone = len(container.streams) == 1
    return container.duration / av.time_base if alone and container.duration is not None else None


def _seconds(ticks: int | None, base: Fraction | None) -> Fraction | None:
    return None if ticks is None or not base else ticks * Fraction(base)
