"""The user's own dataset in the layout of docs/datasets.md: a road, a sky and a box that moves, in a few small frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLORS = np.array([[128, 64, 128], [70, 130, 180], [0, 0, 142]], np.uint8)
"""Colors of road, sky and car in masks of colors."""


def write_own_data(
    root: Path,
    videos: Sequence[str] = ("a", "b", "c"),
    num_frames: int = 6,
    every: int = 1,
    colored: bool = False,
    size: tuple[int, int] = (64, 96),
) -> Path:
    """Write frames and masks, without ``classes.yaml``: every n-th frame has a mask of values 0, 1, 2, or of ``COLORS``."""
    rng = np.random.default_rng(0)
    height, width = size
    for number, video in enumerate(videos):
        texture = rng.integers(0, 60, (*size, 3))
        for folder in ("frames", "masks"):
            (root / folder / video).mkdir(parents=True)
        for frame in range(num_frames):
            label = np.zeros(size, np.uint8)
            label[: height // 3] = 1
            left = (10 * number + 4 * frame) % (width // 2)
            label[height // 3 : height // 3 + 20, left : left + 30] = 2
            image = COLORS[label] // 2 + np.roll(texture, 2 * frame, axis=1)
            Image.fromarray(image.astype(np.uint8)).save(root / "frames" / video / f"{frame + 1:06d}.jpg", quality=95)
            if frame % every == 0:
                mask = Image.fromarray(COLORS[label] if colored else label)
                mask.save(root / "masks" / video / f"{frame + 1:06d}.png")
    return root
