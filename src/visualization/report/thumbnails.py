"""Small pictures of a video at even times, and of the frames with the largest flicker."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_WIDTH = 400  # pixels
_QUALITY = 82
_Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Thumbnail:
    """Small picture of a frame.

    Attributes:
        number: number of the frame, from 0.
        time: presentation time, seconds.
        jpeg: content of a JPEG file.
        size: (height, width), pixels.
        flicker: flicker of the frame, 0..1; ``None`` where it does not count.
        before: JPEG of the frame before.
    """

    number: int
    time: float
    jpeg: bytes
    size: tuple[int, int]
    flicker: float | None = None
    before: bytes | None = None


class _Kept(NamedTuple):
    """Frame that may become a thumbnail; its picture is reduced, and encoded at the end."""

    number: int
    time: float
    pixels: _Pixels
    flicker: float = 0.0
    before: _Pixels | None = None

    def thumbnail(self, flicker: float | None) -> Thumbnail:
        before = None if self.before is None else _encode(self.before)
        height, width = self.pixels.shape[:2]
        return Thumbnail(self.number, self.time, _encode(self.pixels), (height, width), flicker, before)


class Thumbnails:
    """Collector of thumbnails of one video, of constant size.

    Args:
        even: number of thumbnails at even times.
        peaks: number of thumbnails of the largest flicker.
        apart: smallest distance between two of these, seconds.
    """

    def __init__(self, even: int = 8, peaks: int = 4, apart: float = 1.0) -> None:
        self._even, self._most, self._apart = even, peaks, apart
        self._stride, self._frames = 1, 0
        self._kept: list[_Kept] = []
        self._peaks: list[_Kept] = []
        self._before: Tensor | None = None

    def add(self, time: float, picture: Tensor, flicker: float | None) -> None:
        """Add the next frame: time in seconds, (3, H, W) uint8 RGB, which must not change afterwards, and flicker 0..1."""
        number = self._frames
        self._frames += 1
        if number % self._stride == 0:
            self._kept.append(_Kept(number, time, _reduce(picture)))
            if len(self._kept) == 2 * self._even:
                self._kept = self._kept[::2]
                self._stride *= 2
        if flicker is not None and self._before is not None:
            self._add_peak(number, time, picture, flicker, self._before)
        self._before = picture

    @property
    def even(self) -> list[Thumbnail]:
        """Thumbnails at even times, in order, the first frame among them."""
        chosen = np.linspace(0, len(self._kept) - 1, min(self._even, len(self._kept))).round().astype(int)
        return [self._kept[number].thumbnail(None) for number in chosen.tolist()]

    @property
    def peaks(self) -> list[Thumbnail]:
        """Thumbnails of the frames with the largest flicker, the largest first, without frames of no flicker."""
        ordered = sorted(self._peaks, key=lambda one: (-one.flicker, one.number))
        return [one.thumbnail(one.flicker) for one in ordered]

    def _add_peak(self, number: int, time: float, picture: Tensor, flicker: float, before: Tensor) -> None:
        near = [one for one in self._peaks if time - one.time < self._apart]
        rivals = near or (self._peaks if len(self._peaks) == self._most else [])
        weakest = min((one.flicker for one in rivals), default=0.0)
        if flicker <= max((one.flicker for one in near), default=weakest):
            return
        gone = near or [one for one in rivals if one.flicker == weakest][:1]
        self._peaks = [one for one in self._peaks if all(one is not other for other in gone)]
        self._peaks.append(_Kept(number, time, _reduce(picture), flicker, _reduce(before)))


def _reduce(picture: Tensor) -> _Pixels:
    """Return a picture as (H, W, 3) BGR in memory of its own, at most ``_WIDTH`` wide."""
    height, width = picture.shape[1:]
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    if width > _WIDTH:
        pixels = cv2.resize(pixels, (_WIDTH, max(1, round(height * _WIDTH / width))), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), np.uint8)


def _encode(pixels: _Pixels) -> bytes:
    done, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        height, width = pixels.shape[:2]
        raise ValueError(f"a picture of {height}x{width} (HxW) cannot be encoded as JPEG; expected smaller sides")
    return content.tobytes()
