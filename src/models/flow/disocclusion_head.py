"""Disocclusion head: class scores of the non-key frame from the flow estimator's features."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from src.models.flow.correlation_encoder import conv


class DisocclusionHead(nn.Module):
    """Class logits at 1/8 of the image from features at 1/8, 1/16 and 1/32.

    Args:
        channels: channels of the features, coarse to fine.
        width: channels of the projected features.
        num_classes: K.
    """

    def __init__(self, channels: Sequence[int], width: int, num_classes: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(inside, width, 1) for inside in channels)
        self.mix = nn.Sequential(conv(width, width), nn.Conv2d(width, num_classes, 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Classify every position.

        Args:
            features: (B, C_i, h_i, w_i), coarse to fine, each at twice the resolution of the previous level.

        Returns:
            (B, K, h, w) logits on the grid of the finest level.
        """
        total: Tensor | None = None
        for projection, level in zip(self.projections, features, strict=True):
            projected = projection(level)
            if total is not None:
                projected = projected + F.interpolate(total, size=projected.shape[-2:], mode="bilinear", align_corners=False)
            total = projected
        result: Tensor = self.mix(total)
        return result
