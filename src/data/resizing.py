"""Resizing of what bilinear interpolation would spoil: labels, flow with unknown pixels; and to what size.

Convention:
    both grids cover the same image and pixels are areas (half-pixel grid, align_corners=False), as for images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

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


def resize_nearest(x: Tensor, size: Size) -> Tensor:
    """(..., h, w) -> (..., H, W) of any dtype, each pixel from the one whose centre is nearest."""
    height, width = x.shape[-2:]
    rows = ((torch.arange(size[0]) + 0.5) * (height / size[0])).long().clamp(max=height - 1)
    columns = ((torch.arange(size[1]) + 0.5) * (width / size[1])).long().clamp(max=width - 1)
    # index_select copies whole rows; fancy indexing is five times slower.
    return x.index_select(-2, rows).index_select(-1, columns)


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
