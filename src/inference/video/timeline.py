"""Presentation times that an encoder can take, made of those that a file gives."""

from __future__ import annotations

from fractions import Fraction

LONGEST_GAP = 3600
"""Seconds; a longer step between two frames, or any step back of more than a second, is a break in the clock, not a pause."""


class Timeline:
    """Turns the timestamps of decoded frames into strictly increasing times from 0, which keep their distances.

    Times that go back a little (AVI files with B-frames swap neighbours) are put half an interval behind the frame before.
    Where the clock breaks (a transport stream that starts over, a damaged timestamp), the frame follows the one before at the
    usual interval, and the clock is read from there.

    Args:
        interval: usual seconds from frame to frame.
    """

    def __init__(self, interval: Fraction) -> None:
        self._interval = interval
        self._last: Fraction | None = None
        self._shift = Fraction(0)

    def place(self, timestamp: Fraction | None) -> Fraction:
        """When the next frame is shown.

        Args:
            timestamp: in seconds, as the file says it; ``None`` if it says nothing.

        Returns:
            Seconds since the first frame.
        """
        if self._last is None:
            self._shift = -timestamp if timestamp is not None else Fraction(0)
            self._last = Fraction(0)
            return self._last
        usual = self._last + self._interval
        if timestamp is None:
            found = usual
        else:
            found = timestamp + self._shift
            if not self._last - 1 < found < self._last + LONGEST_GAP:
                self._shift += usual - found
                found = usual
            elif found <= self._last:
                found = self._last + self._interval / 2
        self._last = found
        return found
