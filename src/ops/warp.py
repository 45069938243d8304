"""Backward warping and everything that changes the grid of a flow map."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from src.ops.precision import full_precision
from src.structures import FlowPrediction, Size

WarpGrid = Literal["exact", "reference"]


def warp(source: Tensor, flow: Tensor, grid: WarpGrid = "exact") -> Tensor:
    """Read ``source`` where ``flow`` points: ``out[p] = source[p + flow[p]]``, bilinear, in at least float32.

    Convention:
        flow channel 0 = dx (right), channel 1 = dy (down), in pixels of its own grid. Positions outside are clamped to the
        border. ``grid="exact"``: zero flow is the identity and integer flow a shifted copy, bit for bit.
        ``grid="reference"``: the grid of the published MPVSS code, positions divided by W and H and read with
        align_corners=True, so that zero flow shrinks the image slightly; for converted weights only.

    Args:
        source: (B, C, H, W).
        flow: (B, 2, H, W).
        grid: which sampling grid.

    Returns:
        (B, C, H, W), float32 (float64 where the input is).

    Raises:
        ValueError: if the shapes do not belong together.
    """
    if flow.shape != (source.shape[0], 2, *source.shape[-2:]):
        raise ValueError(f"flow {tuple(flow.shape)} does not fit source {tuple(source.shape)}: expected (B, 2, H, W)")
    # Half precision cannot name a pixel beyond 256 (bf16) with sub-pixel accuracy.
    with full_precision(source):
        dtype = torch.promote_types(torch.promote_types(source.dtype, flow.dtype), torch.float32)
        source, flow = source.to(dtype), flow.to(dtype)
        height, width = source.shape[-2:]
        x = flow[:, 0] + torch.arange(width, device=flow.device, dtype=dtype)
        y = flow[:, 1] + torch.arange(height, device=flow.device, dtype=dtype)[:, None]
        if grid == "reference":
            positions = torch.stack((2 * x / width - 1, 2 * y / height - 1), dim=-1)
            return F.grid_sample(source, positions, mode="bilinear", padding_mode="border", align_corners=True)
        if grid != "exact":
            raise ValueError(f"unknown warp grid {grid!r}; expected 'exact' or 'reference'")
        # grid_sample takes positions as fractions of the width. Fractions of a power of two are exact in floating point,
        # so the source is padded to one; the clamp keeps the padding from ever being read with a weight above zero.
        full_height, full_width = _next_power_of_two(height), _next_power_of_two(width)
        source = F.pad(source, (0, full_width - width, 0, full_height - height))
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        positions = torch.stack(((2 * x + 1) / full_width - 1, (2 * y + 1) / full_height - 1), dim=-1)
        return F.grid_sample(source, positions, mode="bilinear", padding_mode="zeros", align_corners=False)


def warp_segments(mask_logits: Tensor, segment_flow: Tensor, grid: WarpGrid = "exact") -> Tensor:
    """Warp every segment's mask by its own flow (paper section 3.2), or all by one where the flow has Q = 1.

    Args:
        mask_logits: (L, B, Q, h, w), masks of L decoder layers.
        segment_flow: (B, Q or 1, 2, h, w), pixels of the mask grid; the same for all layers.
        grid: see :func:`warp`.

    Returns:
        (L, B, Q, h, w).

    Raises:
        ValueError: if the shapes do not belong together.
    """
    layers, batch, queries, height, width = mask_logits.shape
    flows = segment_flow.shape[1]
    if segment_flow.shape != (batch, flows, 2, height, width) or flows not in (1, queries):
        raise ValueError(f"segment_flow {tuple(segment_flow.shape)} does not fit mask_logits {tuple(mask_logits.shape)}")
    # Masks that share a flow become channels of one image: the positions are computed once for all of them.
    masks = mask_logits.permute(1, 2, 0, 3, 4).reshape(batch * flows, queries // flows * layers, height, width)
    warped = warp(masks, segment_flow.reshape(batch * flows, 2, height, width), grid)
    return warped.reshape(batch, queries, layers, height, width).permute(2, 0, 1, 3, 4)


def resize_flow(flow: Tensor, size: Size) -> Tensor:
    """Resize a flow map and scale its vectors with it, so that they stay in pixels of their own grid.

    Convention:
        bilinear, align_corners=False: both grids cover the same image.

    Args:
        flow: (..., 2, h, w).
        size: (H, W) of the new grid.

    Returns:
        (..., 2, H, W), same dtype.
    """
    height, width = flow.shape[-2:]
    if (height, width) == tuple(size):
        return flow
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(2, 1, 1)
    resized = F.interpolate(flow.reshape(-1, 2, height, width), size=tuple(size), mode="bilinear", align_corners=False)
    return (resized * scale).reshape(*flow.shape[:-2], *size)


def full_size_flow(flow: FlowPrediction, image_size: Size) -> Tensor:
    """The finest flow of the image as a whole, on the image's own grid.

    Args:
        flow: with at least one pixel flow.
        image_size: (H, W) of the unpadded image.

    Returns:
        (B, 2, H, W), pixels of the image.
    """
    height, width = image_size
    return resize_flow(flow.pixel_flows[-1].float(), flow.padded_size)[..., :height, :width]


def unexplained(flow: FlowPrediction, image_size: Size) -> Tensor | None:
    """How likely each pixel of the non-key frame is new: nothing in the key frame shows what it shows.

    Args:
        flow: with a confidence; where each query has its own, the surest counts.
        image_size: (H, W) of the unpadded image.

    Returns:
        (B, H, W) float32 in 0..1; its mean is the share of the image that propagation has to guess. ``None`` where the estimator
        gives no confidence.
    """
    if flow.confidence is None:
        return None
    height, width = image_size
    new = 1 - flow.confidence.float().amax(1, keepdim=True)
    return F.interpolate(new, size=flow.padded_size, mode="bilinear", align_corners=False)[:, 0, :height, :width]


def _next_power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
