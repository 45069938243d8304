"""Conversion of file timestamps to presentation times that an encoder accepts."""

from fractions import Fraction

MAX_GAP = 3600
"""Seconds. A longer step between two frames, or a step back of more than a second, is a discontinuity, not a pause."""


class Timeline:
    """Converter from timestamps of decoded frames to strictly increasing times from 0 with the same distances.

    A frame slightly earlier than the previous one (AVI files with B-frames swap neighbours) is placed half an interval after
    the previous one. At a discontinuity (a transport stream that restarts, a damaged timestamp), the frame is placed one
    interval after the previous one, and later timestamps are counted from there.

    Args:
        interval: nominal seconds between two frames.
    """

    def __init__(self, interval: Fraction) -> None:
        self._interval = interval
        self._last: Fraction | None = None
        self._shift = Fraction(0)

    def place(self, timestamp: Fraction | None) -> Fraction:
        """Return the presentation time, seconds since the first frame, of the stored timestamp, ``None`` if it is missing."""
        if self._last is None:
            self._shift = -timestamp if timestamp is not None else Fraction(0)
            self._last = Fraction(0)
            return self._last
        time = nominal = self._last + self._interval
        if timestamp is not None:
            time = timestamp + self._shift
            if not self._last - 1 < time < self._last + MAX_GAP:
                self._shift += nominal - time
                time = nominal
            elif time <= self._last:
                time = self._last + self._interval / 2
        self._last = time
        return time
