"""Small pictures of a video at even times, and of the frames with the largest flicker."""

from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

_WIDTH = 400  # pixels
_QUALITY = 82


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
        self._kept: list[Thumbnail] = []
        self._peaks: list[Thumbnail] = []
        self._before: Tensor | None = None

    def add(self, time: float, picture: Tensor, flicker: float | None) -> None:
        """Add the next frame: time in seconds, (3, H, W) uint8 RGB, which must not change afterwards, and flicker 0..1."""
        number = self._frames
        self._frames += 1
        if number % self._stride == 0:
            self._kept.append(Thumbnail(number, time, *_encode(picture)))
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
        return [self._kept[number] for number in chosen.tolist()]

    @property
    def peaks(self) -> list[Thumbnail]:
        """Thumbnails of the frames with the largest flicker, the largest first, without frames of no flicker."""
        return sorted(self._peaks, key=lambda one: (-(one.flicker or 0.0), one.number))

    def _add_peak(self, number: int, time: float, picture: Tensor, flicker: float, before: Tensor) -> None:
        near = [one for one in self._peaks if time - one.time < self._apart]
        rivals = near or (self._peaks if len(self._peaks) == self._most else [])
        weakest = min((one.flicker or 0.0 for one in rivals), default=0.0)
        if flicker <= (max(one.flicker or 0.0 for one in near) if near else weakest):
            return
        gone = near or [one for one in rivals if one.flicker == weakest][:1]
        self._peaks = [one for one in self._peaks if one not in gone]
        jpeg, size = _encode(picture)
        self._peaks.append(Thumbnail(number, time, jpeg, size, flicker, _encode(before)[0]))


def _encode(picture: Tensor) -> tuple[bytes, tuple[int, int]]:
    height, width = picture.shape[1:]
    pixels = cv2.cvtColor(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2BGR)
    if width > _WIDTH:
        height, width = max(1, round(height * _WIDTH / width)), _WIDTH
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError(f"a picture of {height}x{width} (HxW) cannot be encoded as JPEG; expected smaller sides")
    return content.tobytes(), (height, width)
