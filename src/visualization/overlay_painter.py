"""The frames of an overlay video: fast, and with a legend of the classes that are in view."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.visualization.canvas import label, packed_legend
from src.visualization.palette import Color, Palette

Pixels = NDArray[np.uint8]

_MEMORY = 0.9  # a class's share is averaged over about ten frames, so that the legend does not flicker
_SMALLEST_SHARE = 0.003
_LEGEND_WEIGHT = 0.75
_LARGEST_LEGEND = 1 / 6  # of the picture's height
_LEGEND_ROW = 1 / 25  # of the picture's shorter side
_SMALLEST_ROW = 18  # pixels; letters of less than 10 pixels cannot be read
_ONE_ROW = 1 / 4  # of the picture's height, which a single row may take in a small one
_NOTE_COLOR: Color = (255, 220, 90)


class OverlayPainter:
    """Lays semantic maps over the frames of one video.

    The same colors as :func:`src.visualization.overlay.overlay`, at a hundredth of its time; frames of any size.

    Args:
        classes: K names.
        palette: K colors.
        alpha: share of the class colors: 0 is the image, 1 the map alone.
        with_legend: whether the classes in view are named at the lower edge of the picture, and notes written into its corner.

    Raises:
        ValueError: if names and colors differ in number or alpha is out of range.
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
        self._drawn: tuple[object, Pixels] | None = None

    def paint(
        self, image: Tensor, semantic_map: NDArray[np.integer], shares: NDArray[np.float64], note: str | None = None
    ) -> Tensor:
        """One frame; call it in the order of the video.

        Args:
            image: (3, H, W) uint8 RGB.
            semantic_map: (H, W), 0..K-1.
            shares: K shares of the pixels, 0..1.
            note: what is written into the upper left corner, such as that it is a key frame; ``None``: nothing.

        Returns:
            (3, H, W) uint8.

        Raises:
            ValueError: if the sizes differ.
        """
        if tuple(image.shape[-2:]) != semantic_map.shape:
            raise ValueError(f"image of {tuple(image.shape[-2:])} and map of {semantic_map.shape}: expected one size")
        pixels = cv2.merge(list(image.numpy()))
        picture = cv2.addWeighted(pixels, 1 - self._alpha, self._in_color(semantic_map), self._alpha, 0).astype(
            np.uint8, copy=False
        )
        if self._with_legend:
            self._add_legend(picture, shares)
        if note is not None and self._with_legend:
            self._add_note(picture, note)
        return torch.from_numpy(picture).permute(2, 0, 1)

    def _in_color(self, semantic_map: NDArray[np.integer]) -> Pixels:
        if len(self._colors) > 256:
            return np.take(self._colors, semantic_map, axis=0)
        # A table look-up of OpenCV's is thirty times faster than numpy's.
        table = np.zeros((256, 1, 3), np.uint8)
        table[: len(self._colors), 0] = self._colors
        return np.asarray(cv2.applyColorMap(semantic_map.astype(np.uint8), table), np.uint8)

    def _add_legend(self, picture: Pixels, shares: NDArray[np.float64]) -> None:
        self._shares = shares if self._shares is None else _MEMORY * self._shares + (1 - _MEMORY) * shares
        height, width = picture.shape[:2]
        strip = self._legend(height, width)
        if strip is not None:
            lower = picture[height - strip.shape[0] :]
            lower[:] = cv2.addWeighted(lower, 1 - _LEGEND_WEIGHT, strip, _LEGEND_WEIGHT, 0)

    def _add_note(self, picture: Pixels, note: str) -> None:
        tag = label(note, _NOTE_COLOR, _row_height(*picture.shape[:2]))[: picture.shape[0], : picture.shape[1]]
        picture[: tag.shape[0], : tag.shape[1]] = tag

    def _legend(self, height: int, width: int) -> Pixels | None:
        assert self._shares is not None
        order = np.argsort(-self._shares, kind="stable")
        shown = [int(k) for k in order if self._shares[k] >= _SMALLEST_SHARE]
        view = (height, width, frozenset(shown))
        if self._drawn is None or self._drawn[0] != view:
            self._drawn = (view, self._draw_legend(height, width, shown))
        strip = self._drawn[1]
        return strip if strip.size else None

    def _draw_legend(self, height: int, width: int, shown: list[int]) -> Pixels:
        row = _row_height(height, width)
        most = max(height * _LARGEST_LEGEND, row) if row <= height * _ONE_ROW else 0
        while shown:
            # In the order of the classes, so that names keep their places as shares change; the rarest go where room is short.
            chosen = sorted(shown)
            strip = packed_legend([self.classes[k] for k in chosen], [self._palette[k] for k in chosen], width, row)
            if strip.shape[-2] <= most:
                return np.asarray(strip.permute(1, 2, 0).contiguous().numpy(), np.uint8)
            # Fewer in proportion to the room, and one fewer at least.
            room = int(most / strip.shape[-2] * len(shown))
            shown = shown[: min(room, len(shown) - 1)]
        return np.zeros((0, width, 3), np.uint8)


def _row_height(height: int, width: int) -> int:
    # Even, like every picture here.
    return max(_SMALLEST_ROW, 2 * round(min(height, width) * _LEGEND_ROW / 2))
