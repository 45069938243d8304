"""From the flow that carries masks to one for every pixel of the image: a look at 1/2, and an enlargement that is learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.flow.correlation_decoder import CorrelationLevel, Motion
from src.ops.device import full_precision

_FACTOR = 2
"""From the level at 1/2 to the image."""


class FlowDetail(nn.Module):
    """One more level of the decoder, at 1/2, and the step from there to every pixel.

    Args:
        features: channels of the frames' features at 1/2.
        carried: hidden channels of the motion at 1/4.
        width: hidden channels of the motion at 1/2.
        context: channels that the non-key features are projected to.
    """

    def __init__(self, features: int, carried: int, width: int, context: int = 8) -> None:
        super().__init__()
        self.level = CorrelationLevel(features, carried, context, 1, (width,))
        self.enlarge = Enlargement(width, _FACTOR)

    def forward(self, key: Tensor, nonkey: Tensor, coarser: Motion) -> Tensor:
        """The flow of every pixel.

        Args:
            key: (B, C, 2h, 2w) features of the key frame.
            nonkey: (B, C, 2h, 2w) of the non-key frame.
            coarser: at 1/4.

        Returns:
            (B, 2, 4h, 4w) float32, pixels of the image.
        """
        result: Tensor = self.enlarge(self.level(key, nonkey, coarser))
        return result


class Enlargement(nn.Module):
    """Each pixel's flow is a mean of the nine around it, with weights of its own (RAFT, arXiv 2003.12039, section 3.3).

    A bilinear enlargement blends two motions over the width of a cell; with learned weights the border between them lies where
    the image has it.

    Args:
        hidden: channels of the motion.
        factor: how many times larger the result is.
    """

    def __init__(self, hidden: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.weights = nn.Conv2d(hidden, 9 * factor**2, 1)
        assert self.weights.bias is not None
        with torch.no_grad():
            # It starts close to a bilinear enlargement, with something for every neighbour: what has no weight learns none.
            self.weights.weight.mul_(0.1)
            self.weights.bias.copy_(bilinear_weights(factor).clamp(min=0.02).log().flatten())

    def forward(self, motion: Motion) -> Tensor:
        """(B, 2, factor * h, factor * w) float32, pixels of the larger grid."""
        logits = self.weights(motion.hidden)
        with full_precision(logits):
            weights = logits.float().unflatten(1, (9, self.factor**2)).softmax(1)
            height, width = motion.flow.shape[-2:]
            around = F.pad(motion.flow * self.factor, (1, 1, 1, 1), mode="replicate")[:, :, None]
            total = torch.zeros_like(around[..., :height, :width])
            # One neighbour at a time: all of them side by side would take nine times the memory of the result.
            for k in range(9):
                total = total + weights[:, None, k] * around[..., k // 3 : k // 3 + height, k % 3 : k % 3 + width]
            return F.pixel_shuffle(total.flatten(1, 2), self.factor)


def bilinear_weights(factor: int) -> Tensor:
    """(9, factor^2): how a bilinear enlargement weighs a cell and those around it, row by row, for each pixel of the cell."""
    place = (torch.arange(factor) + 0.5) / factor - 0.5
    along = torch.stack([(1 - (place - step).abs()).clamp(min=0) for step in (-1, 0, 1)])
    return torch.einsum("ay,bx->abyx", along, along).reshape(9, factor**2)
