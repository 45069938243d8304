"""Step from the flow on the masks' grid to the flow of every pixel: one level at 1/2 and a learned upsampling."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.flow.correlation_decoder import CorrelationLevel, Motion
from src.ops.device import full_precision


class FlowDetail(nn.Module):
    """One more level of the decoder, at 1/2, and the step from there to every pixel.

    Args:
        features: channels of the features at 1/2.
        carried: hidden channels of the motion at 1/4.
        width: hidden channels of the motion at 1/2.
        context: channels of the projected non-key features.
    """

    def __init__(self, features: int, carried: int, width: int, context: int = 8) -> None:
        super().__init__()
        self.level = CorrelationLevel(features, carried, context, 1, (width,))
        self.enlarge = ConvexUpsampling(width, factor=2)

    def forward(self, key: Tensor, nonkey: Tensor, coarser: Motion) -> Tensor:
        """Estimate the flow (B, 2, 4h, 4w), float32, pixels of the image, from features at 1/2 and the (h, w) motion at 1/4."""
        result: Tensor = self.enlarge(self.level(key, nonkey, coarser))
        return result


class ConvexUpsampling(nn.Module):
    """Flow of each pixel as a weighted mean of nine neighbours, with learned weights (RAFT, arXiv 2003.12039, section 3.3).

    Bilinear upsampling blends two motions over the width of a cell; learned weights can follow the edge in the image.

    Args:
        hidden: channels of the motion.
        factor: scale of the upsampling.
    """

    def __init__(self, hidden: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.weights = nn.Conv2d(hidden, 9 * factor**2, 1)
        assert self.weights.bias is not None
        with torch.no_grad():
            # Starts close to bilinear upsampling, with a minimum for every neighbour: a zero weight would get no gradient.
            self.weights.weight.mul_(0.1)
            self.weights.bias.copy_(bilinear_weights(factor).clamp(min=0.02).log().flatten())

    def forward(self, motion: Motion) -> Tensor:
        """Upsample to (B, 2, factor * h, factor * w) float32, pixels of the larger grid."""
        logits = self.weights(motion.hidden)
        with full_precision(logits):
            weights = logits.float().unflatten(1, (9, self.factor**2)).softmax(1)
            height, width = motion.flow.shape[-2:]
            padded = F.pad(motion.flow * self.factor, (1, 1, 1, 1), mode="replicate")[:, :, None]
            total = torch.zeros_like(padded[..., :height, :width])
            # One neighbour at a time: all nine at once would take nine times the memory of the result.
            for k in range(9):
                total = total + weights[:, None, k] * padded[..., k // 3 : k // 3 + height, k % 3 : k % 3 + width]
            return F.pixel_shuffle(total.flatten(1, 2), self.factor)


def bilinear_weights(factor: int) -> Tensor:
    """Return the weights (9, factor^2) of a cell and its neighbours, row by row, in bilinear upsampling of each pixel."""
    place = (torch.arange(factor) + 0.5) / factor - 0.5
    along = torch.stack([(1 - (place - step).abs()).clamp(min=0) for step in (-1, 0, 1)])
    return torch.einsum("ay,bx->abyx", along, along).reshape(9, factor**2)
