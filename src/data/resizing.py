"""Resizing of images, labels and flow with unknown pixels, whole or in part; and to what size.

Convention:
    both grids cover the same image and pixels are areas (half-pixel grid, align_corners=False), as for images.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from src.ops.warp import resize_flow
from src.structures import Size


def short_side_size(size: Size, short_side: int | None, max_long_side: int | None) -> Size:
    """The size an image is resized to, its proportions kept: as large as both limits allow (paper, VSPW: 480 and 853).

    Args:
        size: (H, W) of the image.
        short_side: wanted length of the shorter side, pixels; ``None``: never enlarge.
        max_long_side: limit of the longer side, or ``None``.

    Returns:
        (H, W), at least 1 pixel each. Applying it again changes nothing.
    """
    scale = 1.0 if short_side is None else short_side / min(size)
    if max_long_side is not None:
        scale = min(scale, max_long_side / max(size))
    # Not round(), which takes halves to even numbers.
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


class Window(NamedTuple):
    """A part of an image.

    Attributes:
        top: first row.
        left: first column.
        height: rows, at least 1.
        width: columns, at least 1.
    """

    top: int
    left: int
    height: int
    width: int

    def cut(self, x: Tensor) -> Tensor:
        """The view (..., height, width) of (..., H, W); less where the window reaches beyond."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]


def resize_image(image: Tensor, size: Size, window: Window | None = None) -> Tensor:
    """Resize an image, bilinear, with antialiasing where it shrinks.

    Args:
        image: (3, h, w) uint8 in any memory order.
        size: (H, W) of the whole result.
        window: the part of the result that is wanted; all of it by default. The values are those of the whole, to the bit.

    Returns:
        (3, H, W) or (3, ``window``) uint8, a view of memory ordered pixel by pixel.
    """
    window = window or Window(0, 0, *size)
    pixels = image.permute(1, 2, 0).numpy()
    height, width = pixels.shape[:2]
    if size[0] < height or size[1] < width:
        # OpenCV has no antialiasing. The memory order is the one for which torch is fast.
        planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
        return window.cut(v2.functional.resize(planes, list(size), antialias=True))
    # Both grids start at the same corner, so what lies right of and below the window can be left out and the scale kept. To leave
    # out what lies left of and above it, the window would have to begin between two pixels: by warpAffine, which takes 1.3 ms for
    # 480x480 against 0.65 ms for the whole 540x960 here.
    factors = size[0] / height, size[1] / width
    bottom = min(height, math.ceil((window.top + window.height) / factors[0]) + 1)
    right = min(width, math.ceil((window.left + window.width) / factors[1]) + 1)
    resized = cv2.resize(pixels[:bottom, :right], None, fx=factors[1], fy=factors[0], interpolation=cv2.INTER_LINEAR)
    return window.cut(torch.from_numpy(np.asarray(resized, np.uint8)).permute(2, 0, 1))


def resize_nearest(x: Tensor, size: Size, window: Window | None = None) -> Tensor:
    """(..., h, w) -> (..., H, W) of any dtype, or a window of that; each pixel from the one whose centre is nearest."""
    height, width = x.shape[-2:]
    window = window or Window(0, 0, *size)
    rows = _nearest(window.top, window.height, height, size[0])
    columns = _nearest(window.left, window.width, width, size[1])
    # A third of the time of two index_select (0.10 ms against 0.35 ms for 480x480).
    return torch.from_numpy(x.numpy()[..., rows, columns[0] : columns[-1] + 1][..., columns - columns[0]])


def _nearest(first: int, length: int, source: int, target: int) -> NDArray[np.intp]:
    """Where the positions ``first ...`` of an axis of ``target`` pixels come from on one of ``source`` pixels."""
    positions = (np.arange(first, first + length, dtype=np.float32) + np.float32(0.5)) * np.float32(source / target)
    return np.minimum(positions.astype(np.intp), source - 1)


def resize_partial_flow(flow: Tensor, size: Size) -> Tensor:
    """:func:`src.ops.warp.resize_flow` for a flow with NaN: unknown where the nearest pixel is, elsewhere the known ones' mean.

    Args:
        flow: (2, h, w).
        size: (H, W).

    Returns:
        (2, H, W).
    """
    known = ~flow.isnan().any(0)
    if known.all():
        return resize_flow(flow, size)
    resized = resize_flow(torch.where(known, flow, 0.0), size)
    weight = F.interpolate(known.to(flow.dtype)[None, None], size=size, mode="bilinear", align_corners=False)[0]
    return torch.where(resize_nearest(known, size), resized / weight, float("nan"))
