"""Pictures of confidence maps with a fixed scale."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.structures import Size
from src.visualization.canvas import LIGHT, text_width, write
from src.visualization.fixed_legend import PANEL_COLOR, row_height

_COLORS = cv2.COLORMAP_VIRIDIS
_TITLE, _TICKS = "confidence", (0.0, 0.25, 0.5, 0.75, 1.0)
_MIN_ROWS = 72  # smaller pictures have no scale


def confidence_picture(confidence: Tensor) -> Tensor:
    """Color a confidence map: dark blue is 0, yellow is 1; the scale beside it is the same for all maps.

    Args:
        confidence: (H, W) 0..1; values outside are clamped.

    Returns:
        (3, H, W + width of the scale) uint8 RGB; without a scale below 72 rows.
    """
    levels = (255 * confidence.clamp(0, 1)).round().byte().numpy()
    colored = _colored(levels)
    picture = np.concatenate((colored, _scale((colored.shape[0], colored.shape[1]))), axis=1)
    return torch.from_numpy(picture).permute(2, 0, 1)


def _colored(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(levels, _COLORS), cv2.COLOR_BGR2RGB), np.uint8)


@lru_cache(maxsize=4)
def _scale(size: Size) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw the scale (H, W, 3) of a map of (H, W)."""
    height, row = size[0], row_height(size)
    if height < _MIN_ROWS:
        return np.empty((height, 0, 3), np.uint8)
    font, gap = row - 6, row // 3
    canvas = np.full((height, text_width(_TITLE, font) + 2 * gap, 3), PANEL_COLOR, np.uint8)
    write(canvas, _TITLE, gap, row - 5, canvas.shape[1] - gap, font, LIGHT)
    top, bottom = row + row // 2, height - row
    bar = np.linspace(255, 0, bottom - top).round().astype(np.uint8)[:, None].repeat(row, 1)
    canvas[top:bottom, gap : gap + row] = _colored(bar)
    for tick in _TICKS:
        y = round(bottom - 1 - tick * (bottom - top - 1))
        canvas[y, gap + row : gap + row + gap] = LIGHT
        write(canvas, f"{tick:g}", row + 3 * gap, y + font // 3, canvas.shape[1] - row - 3 * gap, font, LIGHT)
    return canvas
