"""Frames of a source without an end: a thread reads them, keeps the newest one and reconnects."""

import logging
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import av
from torch import Tensor

from src.inference.video.sources import Frame, SourceInfo

log = logging.getLogger(__name__)

Picture = Callable[[], Tensor]
"""Function that returns an image, (3, H, W) uint8 RGB, of a frame that may be dropped before."""

LONG_GAP = 2.0
"""Seconds without a frame, after which masks are not carried on."""
_POLL_SECONDS = 0.1  # longest wait before the stop signal is checked
_JOIN_SECONDS = 1.0  # longest wait for a reader that blocks in a read; its thread is then abandoned
_MAX_DELAY = 30.0


@dataclass(frozen=True)
class Retry:
    """Reconnection: how often in a row, and after how long.

    Attributes:
        seconds: before the first attempt; doubled with each that fails, up to 30, and shortened at random by at most a half, so
            that many readers do not come back at once.
        attempts: in a row; 0: the first loss is the end.
    """

    seconds: float = 1.0
    attempts: int = 10

    def delay(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after a number of failures in a row, from 0; ``chance`` is in 0..1."""
        # Beyond 2^10 the limit holds for any value of use.
        return float(min(self.seconds * 2 ** min(failures, 10), max(_MAX_DELAY, self.seconds)) * (1 - chance / 2))


@dataclass(frozen=True)
class LiveOptions:
    """Options of streams, see ``conf/predict.yaml``.

    Attributes:
        live: whether frames may be dropped: ``auto``: of a camera, and of an address whose stream has no known length.
        timeout: seconds to wait for a connection, and for its next data.
        retry: reconnection.
        max_seconds: end after that time from the first frame on, whether or not frames arrive; ``None``: no end.
    """

    live: Literal["auto"] | bool = "auto"
    timeout: float = 10.0
    retry: Retry = Retry()
    max_seconds: float | None = None


@dataclass(frozen=True)
class _Arrival:
    picture: Picture
    number: int
    time: float
    part: int


class LiveFrames:
    """:class:`~src.inference.video.sources.FrameSource` without an end: each frame is the newest one when it is taken.

    Frames are timed by the clock as they arrive, and named by their number among all that arrived. A frame is dropped if a newer
    one arrives before it is taken, so that nothing queues up. ``Frame.part`` changes after a reconnection and after
    ``LONG_GAP`` seconds without a frame.

    Args:
        info: declared properties.
        connect: called for every connection, returns its frames; an ``OSError`` or ``ValueError`` of them, or their end, is a
            lost connection.
        options: reconnection and end.
        clock: seconds.

    Attributes:
        dropped: frames that arrived and were never taken.
        reconnects: connections after the first one that delivered a frame.
    """

    def __init__(
        self,
        info: SourceInfo,
        connect: Callable[[], Generator[Picture, None, None]],
        options: LiveOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        options = options or LiveOptions()
        self.info, self._connect, self._retry = info, connect, options.retry
        self._max_seconds, self._clock = options.max_seconds, clock
        self.decode_errors: list[str] = []
        self.dropped = self.reconnects = 0

    def stored_frames(self) -> None:
        """Return ``None``: a stream has no end."""

    def __iter__(self) -> Generator[Frame, None, None]:
        """Yield the newest frames until the connection is lost for good, which is a decode error."""
        return self.until(threading.Event())

    def until(self, stop: threading.Event) -> Generator[Frame, None, None]:
        """Yield the newest frames until ``stop`` is set, see :meth:`__iter__`."""
        self.decode_errors.clear()
        self.dropped = self.reconnects = 0
        slot = _Slot()
        reader = threading.Thread(target=self._read, args=(slot,), name="stream reader", daemon=True)
        reader.start()
        start, last, broken, reason = None, -self.info.time_base, 0, ""
        try:
            while not stop.is_set() and not self._is_over(start):
                arrival = slot.take(_POLL_SECONDS)
                if arrival is None:
                    if slot.ended:
                        break
                    continue
                start = arrival.time if start is None else start
                try:
                    image = arrival.picture()
                except (OSError, ValueError, MemoryError, av.FFmpegError) as error:
                    broken, reason = broken + 1, str(error)
                    continue
                ticks = round((arrival.time - start) / float(self.info.time_base))
                last = max(last + self.info.time_base, ticks * self.info.time_base)
                yield Frame(image, f"{arrival.number:06d}", last, 1 / self.info.fps, part=arrival.part)
                del image
        finally:
            slot.close()
            reader.join(_JOIN_SECONDS)
            self.dropped = slot.dropped
            if broken:
                self.decode_errors.append(f"{self.info.name}: {broken} frames cannot be converted ({reason})")
        if slot.error is not None:
            raise slot.error

    def _is_over(self, start: float | None) -> bool:
        return self._max_seconds is not None and start is not None and self._clock() - start >= self._max_seconds

    def _read(self, slot: "_Slot") -> None:
        failures = part = arrived = 0
        before: float | None = None
        try:
            while True:
                reason = f"{self.info.name}: the stream ended"
                try:
                    with closing(self._connect()) as pictures:
                        for picture in pictures:
                            now = self._clock()
                            self.reconnects += failures > 0
                            failures = 0
                            part += before is not None and now - before > LONG_GAP
                            before = now
                            if not slot.put(_Arrival(picture, arrived, now, part)):
                                return
                            self.dropped = slot.dropped
                            arrived += 1
                except (OSError, ValueError) as error:
                    reason = str(error)
                if slot.closed.is_set():
                    return
                if failures == self._retry.attempts:
                    self.decode_errors.append(f"{reason}; after {arrived} frames and {failures} attempts to reconnect")
                    return
                delay = self._retry.delay(failures, random.random())
                log.warning("%s after %d frames; reconnecting in %.1f s", reason, arrived, delay)
                failures, part, before = failures + 1, part + 1, None
                if slot.closed.wait(delay):
                    return
        except BaseException as error:
            slot.error = error
        finally:
            slot.end()


class _Slot:
    """Place of the newest frame."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: _Arrival | None = None
        self._is_at_end = False
        self.closed = threading.Event()
        self.error: BaseException | None = None
        self.dropped = 0

    @property
    def ended(self) -> bool:
        """True if there is no frame, and none will come."""
        with self._changed:
            return self._is_at_end and self._newest is None

    def put(self, arrival: _Arrival) -> bool:
        """Replace the frame; return whether frames are still wanted."""
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = arrival
            self._changed.notify()
        return not self.closed.is_set()

    def take(self, timeout: float) -> _Arrival | None:
        """Wait for a frame and take it; ``None`` after the time-out or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._is_at_end, timeout)
            newest, self._newest = self._newest, None
            return newest

    def end(self) -> None:
        """Wake the reader of the slot: no frame will come."""
        with self._changed:
            self._is_at_end = True
            self._changed.notify()

    def close(self) -> None:
        """End the thread that fills the slot; the frame in it is dropped."""
        self.closed.set()
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = None
