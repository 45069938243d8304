"""Frames of a video file, decoded one at a time, upright, with their times."""

import logging
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream
from torch import Tensor

from src.files.video.container import frame_rate, open_video, oversize
from src.files.video.upright import UprightRgb, orientation
from src.inference.video.decode_report import DecodeReport, declared_seconds, ticks_to_seconds
from src.inference.video.sources import Frame, SourceInfo
from src.inference.video.timeline import Timeline

log = logging.getLogger(__name__)


class VideoFrames:
    """:class:`FrameSource` of a video file in any container and codec that FFmpeg reads, in constant memory.

    Frames are upright (a phone's rotation is applied) and have their own timestamps; the frame count of the header is ignored.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds no readable video.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.decode_errors: list[str] = []
        if not self.path.is_file():
            raise FileNotFoundError(f"no video file at {path}")
        with open_video(self.path) as (container, stream):
            self.info = _info(self.path, container, stream)

    def __iter__(self) -> Generator[Frame, None, None]:
        """Yield every frame that can be decoded, then complete ``decode_errors``."""
        self.decode_errors.clear()
        timeline, upright_rgb = Timeline(1 / self.info.fps), UprightRgb(self.path)
        with open_video(self.path) as (container, stream):
            report = DecodeReport(self.path, container, stream)
            for frame in _decode(container, stream, report):
                try:
                    image = upright_rgb(frame)
                except (av.FFmpegError, ValueError, MemoryError) as error:
                    report.add_error(error)
                    continue
                timestamp = ticks_to_seconds(frame.pts, frame.time_base)
                duration = ticks_to_seconds(max(frame.duration, 0), frame.time_base) or 1 / self.info.fps
                report.add_frame(frame, timestamp, duration)
                yield Frame(image, f"{report.frames - 1:06d}", timeline.place(timestamp), duration, timestamp)
                del image  # the next frame is decoded without it in memory
        self.decode_errors += report.errors()

    def stored_frames(self) -> int | None:
        """Count the packets of frames in the file without decoding them; ``None`` if they cannot be read."""
        try:
            with open_video(self.path) as (container, stream):
                return sum(packet.size > 0 and not packet.is_discard for packet in container.demux(stream))
        except (av.FFmpegError, ValueError):
            return None


def read_video(path: str | Path) -> tuple[Iterator[Tensor], Fraction]:
    """Open a video file.

    Args:
        path: video file in any container and codec that FFmpeg reads.

    Returns:
        Frames, (3, H, W) uint8 RGB, upright, decoded during the iteration; and frames per second. ``VideoFrames`` also has the
        times of the frames.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds no readable video; after the last frame, if the file is damaged. A truncated file is a
            warning in the log.
    """
    source = VideoFrames(path)
    return _images(source), source.info.fps


def _images(source: VideoFrames) -> Iterator[Tensor]:
    for frame in source:
        yield frame.image
    for error in source.decode_errors:
        log.warning("%s", error)
    damage = [error for error in source.decode_errors if ": truncated: " not in error]
    if damage:
        raise ValueError("; ".join(damage))


def _decode(container: InputContainer, stream: VideoStream, report: DecodeReport) -> Iterator[av.VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, ValueError) as error:
            report.add_error(error)
            return
        if packet is None:
            return
        report.add_packet(packet)
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError, MemoryError) as error:
            too_large = oversize(stream.codec_context.width, stream.codec_context.height)
            report.add_error(error if too_large is None else ValueError(too_large))
            continue
        yield from frames


def _info(path: Path, container: InputContainer, stream: VideoStream) -> SourceInfo:
    fps = frame_rate(path, container, stream)
    base = Fraction(stream.time_base) if stream.time_base else 1 / fps
    if stream.metadata.get("alpha_mode") == "1":
        log.warning("%s: its transparency (WebM) is not read; transparent pixels keep their colors", path)
    return SourceInfo(
        name=str(path),
        fps=fps,
        time_base=base if base > 0 else 1 / fps,
        seconds=declared_seconds(container, stream),
        pixel_aspect=_upright_aspect(container, stream),
        sound=path if container.streams.audio else None,
    )


def _upright_aspect(container: InputContainer, stream: VideoStream) -> Fraction:
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if aspect <= 0 or aspect == 1:
        return Fraction(1)
    # The display matrix is stored with the frames.
    try:
        frame = next(container.decode(stream), None)
    except (av.FFmpegError, ValueError):
        frame = None
    turned = frame is not None and orientation(frame)[0]
    return 1 / aspect if turned else aspect
