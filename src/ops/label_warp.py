"""Warping of label maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from src.ops.warp import warp
from src.structures import IGNORE_INDEX


def warp_label(label: Int64[Tensor, "B H W"], flow: Float[Tensor, "B 2 H W"], num_classes: int) -> Int64[Tensor, "B H W"]:
    """Warp the key frame's label to the non-key frame by a bilinear vote of four labels.

    Convention:
        that of :func:`src.ops.warp.warp`: the four neighbors vote with their bilinear weights, positions outside are clamped to
        the border. Void votes like a class; where it wins, the result is void. Of equal votes the lowest class wins, void last.
        Zero flow returns the label.

    Args:
        label: 0..K-1 or ``IGNORE_INDEX``.
        flow: backward flow, pixels.
        num_classes: K.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if label.dim() != 3 or flow.shape != (label.shape[0], 2, *label.shape[1:]):
        raise ValueError(f"flow {tuple(flow.shape)} does not fit label {tuple(label.shape)}; expected (B, 2, H, W) and (B, H, W)")
    votes = F.one_hot(label.masked_fill(label == IGNORE_INDEX, num_classes), num_classes + 1)
    winner = warp(votes.movedim(-1, 1).to(torch.float32), flow).max(1).indices
    return winner.masked_fill(winner == num_classes, IGNORE_INDEX)
