"""Colors for classes without a palette of their own."""

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from src.data.clips import Color

# Void is black, and pictures use white and mid grey for "nothing" and "unknown": no class may have a similar color.
_RESERVED = ((0, 0, 0), (255, 255, 255), (128, 128, 128))
_LEVELS = (20, 55, 90, 125, 160, 195, 230, 255)


def distinct_palette(num_classes: int) -> tuple[Color, ...]:
    """Choose K (at most 512) different RGB colors: each is the candidate farthest (CIE Lab) from all before it.

    The first n colors do not depend on K. Black, white and mid grey are not among them.
    """
    grid = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1).reshape(-1, 3)
    if not 1 <= num_classes <= len(grid):
        raise ValueError(f"num_classes is {num_classes}; expected 1..{len(grid)}")
    candidates = _to_lab(grid)
    distance = np.linalg.norm(candidates[:, None] - _to_lab(np.array(_RESERVED)), axis=-1).min(axis=1)
    palette: list[Color] = []
    for _ in range(num_classes):
        best = int(distance.argmax())
        red, green, blue = grid[best].tolist()
        palette.append((red, green, blue))
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[best], axis=-1))
    return tuple(palette)


def read_palette(path: Path) -> tuple[Color, ...]:
    """Read the RGB colors of a JSON object of class name -> color."""
    return tuple((red, green, blue) for red, green, blue in json.loads(path.read_text(encoding="utf-8")).values())


def _to_lab(rgb: np.ndarray) -> NDArray[np.float64]:
    """Convert (N, 3) RGB 0..255 to (N, 3) CIE Lab."""
    return np.asarray(cv2.cvtColor((rgb[None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0], np.float64)
