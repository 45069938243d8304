"""Connection to an address: frames as FFmpeg decodes them, and whether they have an end."""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream
from torch import Tensor

from src.files.images.opened_image import MAX_PIXELS
from src.files.video.container import error_text, ffmpeg_error_lines, frame_rate, oversize
from src.files.video.upright import UprightRgb
from src.inference.video.decode_report import declared_seconds, ticks_to_seconds
from src.inference.video.live.address import READ, check_address, masked
from src.inference.video.live.latest import Picture
from src.inference.video.sources import Frame, SourceInfo
from src.inference.video.timeline import Timeline

log = logging.getLogger(__name__)

_TICK = Fraction(1, 90_000)
_MOST_WAIT = 10.0  # seconds; a longer step of timestamps is a discontinuity
_MOST_LATE = 0.5  # seconds; a frame that comes later starts a new clock, so that the frames after it are not all late


@dataclass(frozen=True)
class Connection:
    """Address that frames are read from, each time by a new connection.

    Args:
        address: of a scheme in ``READ``.
        timeout: seconds to wait for a connection, and for its next data.

    Raises:
        ValueError: if the address has another scheme.
    """

    address: str
    timeout: float = 10.0

    def __post_init__(self) -> None:
        check_address(self.address, "input", READ)

    @property
    def name(self) -> str:
        """Address without credentials."""
        return masked(self.address)

    def info(self) -> SourceInfo:
        """Connect and return the declared properties; ``seconds`` is ``None`` for a stream without an end.

        Raises:
            OSError: if there is no connection.
            ValueError: if it has no readable video.
        """
        with self._open() as (container, stream):
            fps = frame_rate(Path(self.name), container, stream)
            seconds = declared_seconds(container, stream)
            if seconds is None and container.duration is not None:
                seconds = container.duration / av.time_base
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            return SourceInfo(self.name, fps, _TICK, seconds, aspect if aspect > 0 else Fraction(1))

    def pictures(self) -> Generator[Picture, None, None]:
        """Yield frames as they arrive, of HTTP at their own distances in time, each a function that returns the image.

        Raises:
            OSError: if the connection fails or no data arrive in time.
            ValueError: if it has no readable video.
        """
        paced, clock, upright_rgb = READ[self.address.partition("://")[0].lower()].paced, _Pace(), UprightRgb(Path(self.name))
        for frame in self.frames([]):
            timestamp = ticks_to_seconds(frame.pts, frame.time_base)
            if paced and timestamp is not None:
                clock.wait(float(timestamp))
            yield partial(upright_rgb, frame)

    def frames(self, damage: list[str]) -> Generator[av.VideoFrame, None, None]:
        """Yield decoded frames, as fast as they come; ``damage`` gets a sentence if packets could not be decoded.

        Raises:
            OSError, ValueError: see :meth:`pictures`.
        """
        bad, last = 0, ""
        with self._open() as (container, stream):
            packets = container.demux(stream)
            while True:
                with self._own_errors():
                    packet = next(packets, None)
                if packet is None:
                    break
                try:
                    decoded = packet.decode()
                except (av.FFmpegError, ValueError, MemoryError) as error:
                    bad, last = bad + 1, error_text(error)
                    continue
                yield from decoded
        if bad:
            damage.append(f"{self.name}: {bad} packets could not be decoded ({last})")

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        protocol = check_address(self.address, "input", READ)
        options = dict(protocol.options) | {
            "protocol_whitelist": protocol.protocols,
            "format_whitelist": protocol.formats,
            "enable_drefs": "0",
            "use_absolute_path": "0",
            "max_streams": "100",
            "max_pixels": str(MAX_PIXELS),
            "threads": "1",
        }
        with ffmpeg_error_lines() as lines, self._own_errors(lines):
            container = av.open(self.address, options=options, timeout=(self.timeout, self.timeout), metadata_errors="replace")
        with container:
            stream = container.streams.best("video")
            if not isinstance(stream, VideoStream) or stream.codec_context is None:
                raise ValueError(f"{self.name} has no video stream that can be decoded")
            too_large = oversize(stream.codec_context.width, stream.codec_context.height)
            if too_large is not None:
                raise ValueError(f"{self.name}: {too_large}")
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            # Threads that share a frame delay nothing; threads of one frame each delay as many frames.
            stream.thread_type = "SLICE"
            yield container, stream

    @contextmanager
    def _own_errors(self, lines: list[tuple[int, str, str]] | None = None) -> Iterator[None]:
        """Raise errors of FFmpeg anew: its own contain the address with the password."""
        try:
            yield
        except av.ExitError:
            raise OSError(f"{self.name}: no data for {self.timeout:g} s") from None
        except (av.FFmpegError, ValueError, MemoryError) as error:
            if any("not on whitelist" in text or "not allowed" in text for _, _, text in lines or ()):
                raise ValueError(f"{self.name} names another protocol or format; expected a stream of video") from None
            raise OSError(f"{self.name} cannot be read: {error_text(error)}") from None


class RemoteFrames:
    """:class:`~src.inference.video.sources.FrameSource` of an address with an end: every frame, with the times of the stream."""

    def __init__(self, connection: Connection, info: SourceInfo) -> None:
        self._connection = connection
        self.info = info
        self.decode_errors: list[str] = []

    def stored_frames(self) -> None:
        """Return ``None``: frames are not counted before they are read."""

    def __iter__(self) -> Generator[Frame, None, None]:
        """Yield every frame; a connection that fails is a decode error and the end."""
        self.decode_errors.clear()
        timeline, upright_rgb, usual = Timeline(1 / self.info.fps), UprightRgb(Path(self.info.name)), 1 / self.info.fps
        number = 0
        try:
            for decoded in self._connection.frames(self.decode_errors):
                image: Tensor = upright_rgb(decoded)
                duration = ticks_to_seconds(max(decoded.duration, 0), decoded.time_base) or usual
                time_of = timeline.place(ticks_to_seconds(decoded.pts, decoded.time_base))
                yield Frame(image, f"{number:06d}", time_of, duration)
                number += 1
        except (OSError, ValueError, av.FFmpegError) as error:
            self.decode_errors.append(f"{error_text(error)}; it ends after {number} frames")


class _Pace:
    """Clock that holds frames back which arrive before their time."""

    def __init__(self, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._now, self._sleep = now, sleep
        self._start: float | None = None

    def wait(self, timestamp: float) -> None:
        """Wait until the time of a frame; timestamps that jump, and frames that come late, start the clock anew."""
        now = self._now()
        ahead = 0.0 if self._start is None else self._start + timestamp - now
        if self._start is None or not -_MOST_LATE <= ahead <= _MOST_WAIT:
            self._start = now - timestamp
        elif ahead > 0:
            self._sleep(ahead)
