"""Painter of overlay videos with a legend of the visible classes."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.visualization.canvas import label, legend
from src.visualization.palette import Color, Palette

Pixels = NDArray[np.uint8]

_SHARE_MOMENTUM = 0.9  # class shares are averaged over about ten frames, so that the legend does not flicker
_MIN_SHARE = 0.003
_LEGEND_WEIGHT = 0.75
_MAX_LEGEND_HEIGHT = 1 / 6  # of the image height
_ROW_HEIGHT = 1 / 25  # of the shorter image side
_MIN_ROW_HEIGHT = 18  # pixels; letters of less than 10 pixels are illegible
_MAX_ROW_HEIGHT = 1 / 4  # of the image height, for a single row in a small image
_NOTE_COLOR: Color = (255, 220, 90)


class OverlayPainter:
    """Painter of semantic maps over the frames of one video, for frames of any size.

    The colors equal those of :func:`src.visualization.overlay.overlay` to one level. On one CPU core, a frame of 480x864 with
    124 classes takes 0.7 ms; with ``overlay`` 33 ms, with torchvision's ``draw_segmentation_masks`` 1.1 s.

    Args:
        classes: K names.
        palette: K colors.
        alpha: weight of the class colors: 0 shows only the image, 1 only the map.
        with_legend: whether visible classes are named at the lower edge and notes are written into the corner.
    """

    def __init__(self, classes: Sequence[str], palette: Palette, alpha: float = 0.5, with_legend: bool = True) -> None:
        if len(classes) != len(palette):
            raise ValueError(f"{len(classes)} class names but {len(palette)} colors; expected one each")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}; expected 0..1")
        self.classes = tuple(classes)
        self._palette = tuple(palette)
        self._colors = np.array(palette, np.uint8).reshape(-1, 3)
        self._alpha = alpha
        self._with_legend = with_legend
        self._shares: NDArray[np.float64] | None = None
        self._cached_legend: tuple[object, Pixels] | None = None

    def paint(
        self, image: Tensor, semantic_map: NDArray[np.integer], shares: NDArray[np.float64], note: str | None = None
    ) -> Tensor:
        """Paint one frame. Frames must be painted in the order of the video.

        Args:
            image: (3, H, W) uint8 RGB, on the CPU.
            semantic_map: (H, W) class indices 0..K-1.
            shares: (K,) share of the pixels of every class.
            note: text for the upper left corner, or ``None``.

        Returns:
            (3, H, W) uint8.
        """
        if tuple(image.shape[-2:]) != semantic_map.shape:
            raise ValueError(f"image is {tuple(image.shape[-2:])} and map is {semantic_map.shape}; expected one size")
        pixels = cv2.merge(list(image.numpy()))
        colors = self._colorize(semantic_map)
        picture = cv2.addWeighted(pixels, 1 - self._alpha, colors, self._alpha, 0).astype(np.uint8, copy=False)
        if self._with_legend:
            self._add_legend(picture, shares)
            if note is not None:
                tag = label(note, _NOTE_COLOR, _row_height(*picture.shape[:2]), picture.shape[1])[: picture.shape[0]]
                picture[: tag.shape[0], : tag.shape[1]] = tag
        return torch.from_numpy(picture).permute(2, 0, 1)

    def _colorize(self, semantic_map: NDArray[np.integer]) -> Pixels:
        if len(self._colors) > 256:
            return np.take(self._colors, semantic_map, axis=0)
        # Thirty times faster than the look-up of NumPy.
        table = np.zeros((256, 1, 3), np.uint8)
        table[: len(self._colors), 0] = self._colors
        return np.asarray(cv2.applyColorMap(semantic_map.astype(np.uint8), table), np.uint8)

    def _add_legend(self, picture: Pixels, shares: NDArray[np.float64]) -> None:
        mean = shares if self._shares is None else _SHARE_MOMENTUM * self._shares + (1 - _SHARE_MOMENTUM) * shares
        self._shares = mean
        visible = [int(k) for k in np.argsort(-mean, kind="stable") if mean[k] >= _MIN_SHARE]
        height, width = picture.shape[:2]
        key = (height, width, frozenset(visible))
        if self._cached_legend is None or self._cached_legend[0] != key:
            self._cached_legend = (key, self._draw_legend(height, width, visible))
        strip = self._cached_legend[1]
        if strip.size:
            lower = picture[height - strip.shape[0] :]
            lower[:] = cv2.addWeighted(lower, 1 - _LEGEND_WEIGHT, strip, _LEGEND_WEIGHT, 0)

    def _draw_legend(self, height: int, width: int, visible: list[int]) -> Pixels:
        row = _row_height(height, width)
        max_height = max(height * _MAX_LEGEND_HEIGHT, row) if row <= height * _MAX_ROW_HEIGHT else 0
        while visible:
            # In class order, so that names stay in place when shares change; the rarest classes are dropped first.
            chosen = sorted(visible)
            strip = legend([self.classes[k] for k in chosen], [self._palette[k] for k in chosen], width, row)
            if strip.shape[-2] <= max_height:
                return np.asarray(strip.permute(1, 2, 0).contiguous().numpy(), np.uint8)
            # Proportional to the available height, and at least one class fewer.
            fitting = int(max_height / strip.shape[-2] * len(visible))
            visible = visible[: min(fitting, len(visible) - 1)]
        return np.zeros((0, width, 3), np.uint8)


def _row_height(height: int, width: int) -> int:
    # Even, as H.264 requires.
    return max(_MIN_ROW_HEIGHT, 2 * round(min(height, width) * _ROW_HEIGHT / 2))
