"""Painter of overlay videos with a legend."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.visualization.canvas import LIGHT, label
from src.visualization.fixed_legend import PANEL_COLOR, FixedLegend, LegendPlace, row_height
from src.visualization.overlay import Blender
from src.visualization.palette import DEFAULT_ALPHA, Palette

Legend = LegendPlace | Literal["off"]


class OverlayPainter:
    """Painter of semantic maps over the frames of one video, for frames of any size.

    The pixels equal those of :func:`src.visualization.overlay.overlay`.

    Args:
        classes: K names.
        palette: K colors.
        alpha: weight of the class colors: 0 shows only the image, 1 only the map.
        legend: place of the panel of class names.
        source_beside: whether the image is shown to the left of the overlay.
    """

    def __init__(
        self,
        classes: Sequence[str],
        palette: Palette,
        alpha: float = DEFAULT_ALPHA,
        legend: Legend = "off",
        source_beside: bool = False,
    ) -> None:
        if len(classes) != len(palette):
            raise ValueError(f"{len(classes)} class names but {len(palette)} colors; expected one each")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}; expected 0..1")
        if legend not in ("side", "bottom", "off"):
            raise ValueError(f"legend is {legend!r}; expected side, bottom or off")
        self.classes = tuple(classes)
        self._blender = Blender(palette, alpha, void=len(palette) == 1)
        self._place = legend
        self._legend = None if legend == "off" else FixedLegend(classes, palette, legend)
        self._source_beside = source_beside

    def paint(
        self, image: Tensor, semantic_map: NDArray[np.integer], shares: NDArray[np.float64], note: str | None = None
    ) -> Tensor:
        """Paint one frame. Frames must be painted in the order of the video.

        Args:
            image: (3, H, W) uint8 RGB, on the CPU.
            semantic_map: (H, W) class indices 0..K-1, or 255 for the background of a single class.
            shares: (K,) share of the pixels of every class.
            note: text for the upper left corner of the overlay, or ``None``.

        Returns:
            (3, H + height of the legend, W or 2 W + width of the legend) uint8.
        """
        if tuple(image.shape[-2:]) != semantic_map.shape:
            raise ValueError(f"image is {tuple(image.shape[-2:])} and map is {semantic_map.shape}; expected one size")
        height, width = semantic_map.shape
        source = width if self._source_beside else 0
        legend = self._legend
        panel = np.empty((height, 0, 3), np.uint8) if legend is None else legend.panel((height, source + width), shares)
        if self._place == "bottom":
            picture = np.empty((height + panel.shape[0], source + width, 3), np.uint8)
            picture[height:] = panel
        else:
            picture = np.empty((height, source + width + panel.shape[1], 3), np.uint8)
            picture[:, source + width :] = panel
        if source:
            picture[:height, :source] = image.permute(1, 2, 0).numpy()
        overlay = picture[:height, source : source + width]
        self._blender.blend(image.numpy(), semantic_map, overlay)
        if note is not None:
            tag = label(note, PANEL_COLOR, row_height((height, width)), width, LIGHT)[:height]
            overlay[: tag.shape[0], : tag.shape[1]] = tag
        return torch.from_numpy(picture).permute(2, 0, 1)
