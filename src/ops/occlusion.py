"""Which pixels of a frame have no counterpart in another."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from src.ops.warp import warp


def inconsistent(
    flow: Float[Tensor, "B 2 H W"], back: Float[Tensor, "B 2 H W"], share: float = 0.01, offset: float = 0.5
) -> Bool[Tensor, "B H W"]:
    """Forward-backward check (Sundaram et al., ECCV 2010): pixels that do not come back to themselves.

    A pixel is marked where the way there and back does not end within ``share`` of the squared lengths plus ``offset`` of its
    start, or where the flow points out of the image.

    Args:
        flow: (B, 2, H, W) from this frame, pixels.
        back: (B, 2, H, W) of the other frame, pointing into this one.
        share: of the squared lengths of both flows.
        offset: squared pixels.

    Returns:
        (B, H, W) bool.
    """
    returned = warp(back, flow)
    gap = (flow + returned).square().sum(1)
    allowed = share * (flow.square().sum(1) + returned.square().sum(1)) + offset
    height, width = flow.shape[-2:]
    x = flow[:, 0] + torch.arange(width, device=flow.device)
    y = flow[:, 1] + torch.arange(height, device=flow.device)[:, None]
    outside = (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)
    return (gap > allowed) | outside


def hidden(flow: Float[Tensor, "B 2 H W"]) -> Bool[Tensor, "B H W"]:
    """Which pixels a true flow says have no source: hidden in the other frame, or outside it.

    Args:
        flow: (B, 2, H, W) of which the flow is known, pixels; NaN where the source is hidden, as ``still_motion`` and
            ``moving_scenes`` give it. What points out of the image counts too, for a crop may have cut the source off.

    Returns:
        (B, H, W) bool.
    """
    height, width = flow.shape[-2:]
    x = flow[:, 0] + torch.arange(width, device=flow.device)
    y = flow[:, 1] + torch.arange(height, device=flow.device)[:, None]
    # Comparisons with NaN are false.
    return ~((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))
