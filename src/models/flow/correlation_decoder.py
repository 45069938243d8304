"""From the features of two frames to a flow, coarse to fine: warp, correlate, correct."""

from __future__ import annotations

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
"""Factor on cosines before the convolutions: most lie close together."""


class Motion(NamedTuple):
    """What a level of the decoder knows.

    Attributes:
        flow: (B, 2, h, w) float32, pixels of this grid.
        hidden: (B, C, h, w), for the next level and the heads.
    """

    flow: Tensor
    hidden: Tensor


class CorrelationLevel(nn.Module):
    """One step: key features are warped by the flow so far, and the window around each position says how to correct it.

    Args:
        channels: of the features at this level.
        carried: channels of the coarser level's hidden features; 0 at the coarsest level.
        context: channels that the non-key features are projected to.
        radius: of the correlation window, in pixels of this grid.
        widths: of the convolutions.
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
            # A level starts by believing the coarser one.
            self.correction.weight.mul_(0.1)
            self.correction.bias.zero_()  # type: ignore[union-attr]

    def forward(self, key: Tensor, nonkey: Tensor, coarser: Motion | None) -> Motion:
        """Correct the flow of the coarser level, or find a first one.

        Args:
            key: (B, C, h, w) features of the key frame.
            nonkey: (B, C, h, w) of the non-key frame.
            coarser: of half the resolution; ``None`` at the coarsest level.
        """
        size = (nonkey.shape[-2], nonkey.shape[-1])
        first, second = comparable(nonkey), comparable(key)
        start = None
        if coarser is not None:
            start = resize_flow(coarser.flow, size)
            # Where to look is given; only what is found there teaches. The warp's gradient would cost as much as its result.
            second = warp(second, start.detach())
        seen = [F.leaky_relu(CONTRAST * local_correlation(first, second, self.radius), SLOPE), self.context(nonkey)]
        if coarser is not None and self.carry is not None and start is not None:
            carried = self.carry(coarser.hidden)
            seen += [F.interpolate(carried, size=size, mode="bilinear", align_corners=False), start]
        hidden = self.layers(torch.cat([part.to(seen[-1].dtype) for part in seen], 1))
        correction = self.correction(hidden)
        with full_precision(hidden):
            flow = correction.float()
            return Motion(flow if start is None else start + flow, hidden)


class CorrelationDecoder(nn.Module):
    """The levels from 1/32 to 1/4.

    Args:
        channels: of the features, coarse to fine.
        context: channels of projected features at each level, coarse to fine.
        radii: of the correlation windows, coarse to fine.
        widths: of the convolutions of each level, coarse to fine.
    """

    def __init__(
        self, channels: Sequence[int], context: Sequence[int], radii: Sequence[int], widths: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        carried = [0, *(w[-1] for w in widths[:-1])]
        self.levels = nn.ModuleList(
            CorrelationLevel(*sizes) for sizes in zip(channels, carried, context, radii, widths, strict=True)
        )

    def forward(self, key: Sequence[Tensor], nonkey: Sequence[Tensor]) -> list[Motion]:
        """Motion at every level, coarse to fine.

        Args:
            key: features of the key frame, coarse to fine.
            nonkey: of the non-key frame.
        """
        found: list[Motion] = []
        for level, of_key, of_nonkey in zip(self.levels, key, nonkey, strict=True):
            found.append(level(of_key, of_nonkey, found[-1] if found else None))
        return found
