"""Decoder from the features of two frames to a flow, coarse to fine: warp, correlate, correct."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.flow.correlation_encoder import SLOPE, comparable, conv
from src.ops.correlation import local_correlation
from src.ops.device import full_precision
from src.ops.warp import resize_flow, warp

CONTRAST = 4.0
"""Factor of the cosines before the convolutions, because most cosines are close together."""


class Motion(NamedTuple):
    """Flow (B, 2, h, w) of a level, float32, pixels of its grid; features (B, C, h, w), input of the next level and the heads."""

    flow: Tensor
    hidden: Tensor


class CorrelationLevel(nn.Module):
    """One level: warp key features by the coarser flow, correlate them in a window, and predict a correction of the flow.

    Args:
        channels: channels of the features at this level.
        carried: channels of the coarser level's hidden features; 0 at the coarsest level.
        context: channels of the projected non-key features.
        radius: radius of the correlation window, in pixels of this grid.
        widths: channels of the convolutions.
    """

    def __init__(self, channels: int, carried: int, context: int, radius: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.radius = radius
        self.context = nn.Conv2d(channels, context, 1)
        self.carry = nn.Conv2d(carried, context, 1) if carried else None
        inside = (2 * radius + 1) ** 2 + context + (context + 2 if carried else 0)
        layers = []
        for width in widths:
            layers.append(conv(inside, width))
            inside = width
        self.layers = nn.Sequential(*layers)
        self.correction = nn.Conv2d(inside, 2, 3, padding=1)
        with torch.no_grad():
            # At the start a level passes on the coarser flow.
            self.correction.weight.mul_(0.1)
            self.correction.bias.zero_()  # type: ignore[union-attr]

    def forward(self, key: Tensor, nonkey: Tensor, coarser: Motion | None) -> Motion:
        """Correct the motion at half the resolution, or at the coarsest level (``None``) estimate it from both features."""
        size = (nonkey.shape[-2], nonkey.shape[-1])
        first, second = comparable(nonkey), comparable(key)
        start = None
        if coarser is not None:
            start = resize_flow(coarser.flow, size)
            # Without gradient through the sampling positions, which would cost as much as the warp itself.
            second = warp(second, start.detach())
        inputs = [F.leaky_relu(CONTRAST * local_correlation(first, second, self.radius), SLOPE), self.context(nonkey)]
        if coarser is not None and self.carry is not None and start is not None:
            carried = self.carry(coarser.hidden)
            inputs += [F.interpolate(carried, size=size, mode="bilinear", align_corners=False), start]
        hidden = self.layers(torch.cat([part.to(inputs[-1].dtype) for part in inputs], 1))
        correction = self.correction(hidden)
        with full_precision(hidden):
            flow = correction.float()
            return Motion(flow if start is None else start + flow, hidden)


class CorrelationDecoder(nn.Module):
    """Levels from 1/32 to 1/4; each list has the arguments of :class:`CorrelationLevel`, coarse to fine."""

    def __init__(
        self, channels: Sequence[int], context: Sequence[int], radii: Sequence[int], widths: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        carried = [0, *(w[-1] for w in widths[:-1])]
        self.levels = nn.ModuleList(
            CorrelationLevel(*sizes) for sizes in zip(channels, carried, context, radii, widths, strict=True)
        )

    def forward(self, key: Sequence[Tensor], nonkey: Sequence[Tensor]) -> list[Motion]:
        """Estimate the motion at every level from the features of both frames, coarse to fine."""
        motions: list[Motion] = []
        for level, key_features, nonkey_features in zip(self.levels, key, nonkey, strict=True):
            motions.append(level(key_features, nonkey_features, motions[-1] if motions else None))
        return motions
