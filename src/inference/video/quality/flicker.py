"""Flicker of each frame of a video against the frame before, compensated for motion."""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from src.inference.scheduling.change import CUTS, ChangeState
from src.metrics.flicker import motion_flicker
from src.models.flow.dis import image_flow

# Shorter side of the grid on which frames are compared, pixels: the cost is a quarter of that at 480 rows.
_SHORT_SIDE = 240


class FrameFlicker:
    """:func:`src.metrics.flicker.motion_flicker` of successive frames, by DIS flow; holds one reduced frame and its map.

    Frames are compared on a grid of at most 240 pixels on the shorter side: images are reduced by averaging areas, maps by the
    nearest pixel. Scene cuts are those of :data:`src.inference.scheduling.change.CUTS`.
    """

    def __init__(self) -> None:
        self._previous: tuple[Tensor, Tensor] | None = None
        self._change: ChangeState | None = None

    @torch.inference_mode()
    def add(self, image: Tensor, labels: Tensor) -> float | None:
        """Add the next frame and return its flicker, 0..1.

        Args:
            image: (3, H, W) uint8 RGB.
            labels: (H, W) uint8 or int32 classes.

        Returns:
            ``None`` for the first frame, after a scene cut or a change of the frame size, and without a visible pixel.

        Raises:
            ValueError: if the image has a side below 16 pixels.
        """
        height, width = labels.shape
        scale = min(1.0, _SHORT_SIDE / min(height, width))
        size = (round(width * scale), round(height * scale))
        picture = _reduce(image.permute(1, 2, 0).numpy(), size, cv2.INTER_AREA).permute(2, 0, 1)
        current = (picture, _reduce(labels.numpy(), size, cv2.INTER_NEAREST))
        change = CUTS.update_change(picture[None], None if self._change is None else self._change.reset())
        previous, self._previous, self._change = self._previous, current, change
        if previous is None or change.cut or previous[1].shape != current[1].shape:
            return None
        backward, forward = image_flow(previous[0], picture), image_flow(picture, previous[0])
        return motion_flicker(previous[1], current[1], backward, forward)


def _reduce(array: np.ndarray[Any, Any], size: tuple[int, int], interpolation: int) -> Tensor:
    """Return an array of (width, height) as a tensor; unchanged where it has that size."""
    if array.shape[1::-1] == size:
        return torch.from_numpy(array)
    return torch.from_numpy(cv2.resize(array, size, interpolation=interpolation))
