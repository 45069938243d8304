"""Course of a prediction in bins of frames, in memory that does not grow with the video."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from src.structures import KeyReason

REASONS: tuple[str, ...] = (*get_args(KeyReason), "")
"""Reasons for key frames; the last one is that of a network that runs on every frame."""

MAX_BINS = 480


@dataclass(frozen=True)
class FrameFigures:
    """Figures of one frame.

    Attributes:
        start, end: presentation time, seconds.
        shares: (K,) share of every class, 0..1.
        reason: reason for a key frame, an item of ``REASONS``; ``None`` for another frame.
        seconds: wall-clock time of its networks.
        flicker: 0..1, or ``None`` where it is unknown.
        confidence: mean over the pixels, 0..1, or ``None`` where it was not requested.
    """

    start: float
    end: float
    shares: NDArray[np.float64]
    reason: str | None
    seconds: float
    flicker: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Means:
    """Sums of a figure and the number of frames that have it, per bin."""

    total: NDArray[np.float64]
    count: NDArray[np.float64]

    @property
    def per_bin(self) -> NDArray[np.float64]:
        """(bins,) means; NaN in bins without such a frame."""
        return np.divide(self.total, self.count, out=np.full_like(self.total, np.nan), where=self.count > 0)

    @property
    def median(self) -> float | None:
        """Median of the bins' means, which single slow frames do not move; ``None`` without a frame."""
        known = self.per_bin[self.count > 0]
        return float(np.median(known)) if known.size else None

    @property
    def overall(self) -> float | None:
        """Mean over all frames; ``None`` without one."""
        frames = self.count.sum()
        return float(self.total.sum() / frames) if frames else None


_NAMES = ("key", "other", "flicker", "confidence")  # figures with a sum and a number of frames; the first two are seconds


class Timeline:
    """Accumulator of :class:`FrameFigures` in at most ``2 * MAX_BINS`` bins of equally many frames.

    When all bins are in use, neighbors are merged in pairs, so that later bins have twice as many frames.

    Args:
        num_classes: K.

    Attributes:
        frames: number of frames.
        bin_frames: number of frames in every bin but the last.
    """

    def __init__(self, num_classes: int) -> None:
        bins = 2 * MAX_BINS
        self.frames, self.bin_frames = 0, 1
        self._count, self._shares = np.zeros(bins), np.zeros((bins, num_classes))
        self._keys = np.zeros((bins, len(REASONS)))
        self._sums, self._counts = np.zeros((bins, len(_NAMES))), np.zeros((bins, len(_NAMES)))
        self._peaks, self._times = np.zeros(bins), np.zeros((bins, 2))

    def add(self, frame: FrameFigures) -> None:
        """Add the next frame."""
        if self.frames == self.bin_frames * len(self._count):
            self._merge()
        number = self.frames // self.bin_frames
        self.frames += 1
        if not self._count[number]:
            self._times[number, 0] = frame.start
        self._times[number, 1] = frame.end
        self._count[number] += 1
        self._shares[number] += frame.shares
        if frame.reason is not None:
            self._keys[number, REASONS.index(frame.reason)] += 1
        seconds = (frame.seconds, None) if frame.reason is not None else (None, frame.seconds)
        for column, value in enumerate((*seconds, frame.flicker, frame.confidence)):
            if value is not None:
                self._sums[number, column] += value
                self._counts[number, column] += 1
        self._peaks[number] = max(self._peaks[number], frame.flicker or 0.0)

    @property
    def edges(self) -> NDArray[np.float64]:
        """(bins + 1,) start of every bin and end of the last, seconds."""
        bins = self._bins
        return np.append(self._times[:bins, 0], self._times[bins - 1, 1] if bins else 0.0)

    @property
    def shares(self) -> NDArray[np.float64]:
        """(bins, K) mean share of every class."""
        return self._shares[: self._bins] / self._count[: self._bins, None]

    @property
    def mean_shares(self) -> NDArray[np.float64]:
        """(K,) mean share of every class over all frames; 0 without a frame."""
        mean: NDArray[np.float64] = self._shares.sum(0) / max(1, self.frames)
        return mean

    @property
    def flicker_peaks(self) -> NDArray[np.float64]:
        """(bins,) largest flicker of every bin."""
        return self._peaks[: self._bins]

    def keys(self) -> dict[str, NDArray[np.float64]]:
        """Return the number of key frames of every bin, by reason, of the reasons that occur."""
        bins = self._keys[: self._bins]
        return {reason: bins[:, number] for number, reason in enumerate(REASONS) if bins[:, number].any()}

    def means(self, name: str) -> Means:
        """Return a figure: ``key`` or ``other`` (seconds of those frames), ``flicker`` or ``confidence``."""
        column = _NAMES.index(name)
        return Means(self._sums[: self._bins, column], self._counts[: self._bins, column])

    @property
    def _bins(self) -> int:
        return -(-self.frames // self.bin_frames)

    def _merge(self) -> None:
        half = len(self._count) // 2
        for sums in (self._count, self._shares, self._keys, self._sums, self._counts):
            sums[:half] = sums[::2] + sums[1::2]
            sums[half:] = 0
        self._peaks[:half] = np.maximum(self._peaks[::2], self._peaks[1::2])
        self._times[:half] = np.stack((self._times[::2, 0], self._times[1::2, 1]), axis=1)
        self._peaks[half:], self._times[half:] = 0, 0
        self.bin_frames *= 2
