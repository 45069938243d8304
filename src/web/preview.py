"""Small picture of the last labelled frame, for a page that shows a running prediction."""

import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import cv2
import numpy as np

from src.inference.video.prediction import FramePrediction
from src.visualization.overlay_painter import OverlayPainter
from src.visualization.palette import Palette

_INTERVAL = 0.5  # seconds
_MAX_WIDTH = 640  # pixels
_QUALITY = 75


class Preview:
    """Function of predictions that passes on a JPEG of the overlay, at most twice a second.

    Args:
        classes: K names.
        palette: K colors.
        pixel_aspect: width of a pixel divided by its height.
        show: receiver of the JPEG.
        clock: clock in seconds.
    """

    def __init__(
        self,
        classes: Sequence[str],
        palette: Palette,
        pixel_aspect: Fraction,
        show: Callable[[bytes], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._painter = OverlayPainter(classes, palette)
        self._aspect, self._show, self._clock = float(pixel_aspect), show, clock
        self._shown = float("-inf")

    def __call__(self, result: FramePrediction) -> None:
        """Take the next prediction."""
        now = self._clock()
        if now - self._shown < _INTERVAL:
            return
        self._shown = now
        labels = result.semantic_map.numpy()
        picture = self._painter.paint(result.frame.image, labels, np.zeros(0)).flip(0).permute(1, 2, 0).contiguous().numpy()
        height, width = picture.shape[0], picture.shape[1] * self._aspect
        scale = min(1.0, _MAX_WIDTH / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self._show(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
