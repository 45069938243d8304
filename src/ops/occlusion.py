"""Pixels of a frame without a source in another frame."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from src.ops.warp import warp


def inside_image(flow: Float[Tensor, "B 2 H W"]) -> Bool[Tensor, "B H W"]:
    """Mark pixels whose flow (in pixels) points into the image; NaN points nowhere."""
    height, width = flow.shape[-2:]
    x = flow[:, 0] + torch.arange(width, device=flow.device)
    y = flow[:, 1] + torch.arange(height, device=flow.device)[:, None]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def occluded(flow: Float[Tensor, "B 2 H W"]) -> Bool[Tensor, "B H W"]:
    """Mark pixels that by a true flow have no source: occluded in the other frame, or outside it.

    The data must mark occlusion by NaN (synthetic motion, ``moving_scenes``). Flow out of the image counts as well, because a
    crop may have removed the source.
    """
    return ~inside_image(flow)


def forward_backward_consistent(flow: Float[Tensor, "B 2 H W"], reverse_flow: Float[Tensor, "B 2 H W"]) -> Bool[Tensor, "B H W"]:
    """Mark pixels that return to themselves along both flows (Sundaram, Brox and Keutzer, ECCV 2010).

    The check fails where ``|f + r|^2 > 0.01 (|f|^2 + |r|^2) + 0.5`` pixels^2, r being the reverse flow read where f points, where
    f leaves the image, and where either flow is not finite. ``reverse_flow`` is that of the other frame, pointing into this one.
    """
    known = flow.isfinite().all(1, keepdim=True)
    flow = torch.where(known, flow, 0.0)
    # NaN with a weight of zero is still NaN, so unknown vectors are read as zeros and their share as a third channel.
    unknown = ~reverse_flow.isfinite().all(1, keepdim=True)
    read = warp(torch.cat((torch.where(unknown, 0.0, reverse_flow), unknown.to(flow.dtype)), 1), flow)
    reverse = read[:, :2]
    gap = (flow + reverse).square().sum(1)
    allowed = 0.01 * (flow.square().sum(1) + reverse.square().sum(1)) + 0.5
    return known[:, 0] & (read[:, 2] == 0) & inside_image(flow) & (gap <= allowed)
