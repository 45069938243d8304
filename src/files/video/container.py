"""Opening of video files: fixed formats, no other file beside the one named, one limit of the frame size."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import av.logging
from av.container import InputContainer
from av.video.stream import VideoStream

from src.files.images.opened_image import MAX_PIXELS

log = logging.getLogger(__name__)

_RAW_FORMATS = ("av1", "h261", "h263", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "obu", "vc1", "vvc")
_CONTAINERS = (
    "apng", "asf", "avi", "dv", "flv", "gif", "gxf", "ivf", "matroska", "mov", "mpeg", "mpegts", "mxf", "nut", "ogg",
    "yuv4mpegpipe",
)  # fmt: skip
_OPTIONS = {
    # Not on the list are formats that open further files or addresses (concat, hls, dash, image2, sdp, vobsub ...), and those
    # that generate video from text (lavfi). FFmpeg compares the list after it has read the first bytes of the file named.
    "format_whitelist": ",".join(_CONTAINERS + _RAW_FORMATS),
    "protocol_whitelist": "file",
    # MP4 tracks whose data are in other files.
    "enable_drefs": "0",
    "use_absolute_path": "0",
    "max_streams": "100",
    "threads": "1",  # of the decoders that FFmpeg opens to guess properties
}
_TOO_LARGE = re.compile(r"Picture size (\d+)x(\d+)")
_DEFAULT_FPS = Fraction(25)
_MAX_FPS = 1000


@contextmanager
def open_video(path: Path, frame_threads: bool = True) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video file and its best video stream; the file is closed at the end of the context.

    Args:
        path: file in one of the formats that :func:`open_container` reads.
        frame_threads: decode several frames at once, fewer the larger they are. Otherwise threads share one frame.

    Raises:
        ValueError: if the file is not a readable video, has no video stream, or its frames exceed ``MAX_PIXELS``.
    """
    try:
        with ffmpeg_error_lines() as lines:
            container = open_container(path)
    except (av.FFmpegError, ValueError, MemoryError) as error:
        reason = error_text(error)
        if any("not on whitelist" in text for _, _, text in lines):
            reason = "a list of other files, or no video format; expected a video file such as MP4, Matroska, AVI or MPEG-TS"
        elif any("moov atom not found" in text for _, _, text in lines):
            reason += " (no index, moov: a truncated MP4 or MOV file, or no video)"
        raise ValueError(f"{path} is not a readable video: {reason}") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            raise ValueError(f"{path} has no video stream that can be decoded")
        codec = stream.codec_context
        # A codec with no other header than its frames' has no size if theirs exceeds the limit.
        refused = next((match for _, _, text in lines if (match := _TOO_LARGE.search(text))), None)
        width, height = (codec.width, codec.height) if codec.width or refused is None else map(int, refused.groups())
        too_large = oversize(width, height)
        if too_large is not None:
            raise ValueError(f"{path}: {too_large}")
        codec.options = {"max_pixels": str(MAX_PIXELS)}
        if frame_threads:
            stream.thread_type = "AUTO"
            # Every thread holds frames of its own.
            affordable = MAX_PIXELS // max(1, width * height)
            if affordable < (os.cpu_count() or 1) + 1:
                codec.thread_count = max(1, affordable)
        yield container, stream


def open_container(path: Path) -> InputContainer:
    """Open a file in one of the listed formats of FFmpeg, of the ``file`` protocol, and no other file.

    Raises:
        av.FFmpegError: if it cannot be opened or has another format.
    """
    # "file:" because FFmpeg takes the text before a colon for a protocol.
    options = _OPTIONS | {"max_pixels": str(MAX_PIXELS)}
    return av.open(f"file:{path}", options=options, metadata_errors="replace")


def oversize(width: int, height: int) -> str | None:
    """Return the error of frames larger than ``MAX_PIXELS``, or ``None``."""
    pixels = width * height
    if pixels <= MAX_PIXELS:
        return None
    return f"frames are {width}x{height}, {pixels} pixels; expected at most {MAX_PIXELS}; scale the video down"


def frame_rate(path: Path, container: InputContainer, stream: VideoStream) -> Fraction:
    """Return the frames per second of a stream, the average where the rate varies, at most 1000.

    Raw streams have the rate of their codec header; without one it is 25, with a warning in the log.
    """
    raw = container.format.name in _RAW_FORMATS
    # FFmpeg's average of a raw stream is that of its default timestamps, 25 frames per second.
    rate = stream.codec_context.framerate if raw else stream.average_rate or stream.guessed_rate
    if raw and not rate:
        log.warning("%s: the raw stream has no frame rate; it is read with %s frames per second", path, _DEFAULT_FPS)
    return Fraction(rate) if rate and 0 < rate <= _MAX_FPS else _DEFAULT_FPS


@contextmanager
def ffmpeg_error_lines() -> Iterator[list[tuple[int, str, str]]]:
    """Collect the error lines that FFmpeg logs in this thread, as (level, component, text).

    Not for decoding: decoder threads that log wait for Python's lock, which may be held by the thread that joins them.
    """
    level, skip = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as lines:
            yield lines
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skip)


def error_text(error: BaseException | None) -> str:
    """Return the message of an FFmpeg error without its number and file name."""
    return str(getattr(error, "strerror", None) or error)
