"""Convolutional encoder of single frames, so that a key frame is encoded once."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.ops.device import full_precision
from src.ops.padding import padded_size

SLOPE = 0.1
"""Negative slope of every leaky rectifier in the estimator."""


class ImageEncoder(nn.Module):
    """Features of one image at 1/2, 1/4, 1/8, 1/16 and 1/32.

    Args:
        channels: channels of the five stages, at 1/2 to 1/32 of the image.
        depths: 3x3 convolutions after the convolution with stride 2 in each stage.
        input_mean: mean of R, G, B in 0..1.
        size_divisor: the padded image is a multiple of this, itself a multiple of 32.

    Raises:
        ValueError: if there are not five channels and depths, or the divisor is not a multiple of 32.
    """

    mean: Tensor

    def __init__(self, channels: Sequence[int], depths: Sequence[int], input_mean: Sequence[float], size_divisor: int) -> None:
        super().__init__()
        if len(channels) != 5 or len(depths) != 5 or size_divisor % 32:
            raise ValueError(
                f"channels are {tuple(channels)}, depths {tuple(depths)}, size_divisor {size_divisor}; expected five stages of "
                "each (1/2 to 1/32) and a multiple of 32"
            )
        self.size_divisor = size_divisor
        self.register_buffer("mean", 255.0 * torch.tensor(input_mean).view(3, 1, 1), persistent=False)
        stages = []
        inside = 3
        for stage, (outside, depth) in enumerate(zip(channels, depths, strict=True)):
            layers: list[nn.Module] = [conv(inside, outside, kernel=5 if stage == 0 else 3, stride=2)]
            layers += [ResidualConv(outside) for _ in range(depth)]
            stages.append(nn.Sequential(*layers))
            inside = outside
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Encode unpadded RGB 0..255 to five maps (B, C, Hp / 2^s, Wp / 2^s), s = 5, 4, 3, 2, 1: coarse to fine."""
        height, width = image.shape[-2:]
        size = padded_size((height, width), self.size_divisor)
        with full_precision(image):
            # bf16 would drop the last bit of 0..255, and small differences between frames with it.
            features = (image.float() - self.mean) / 128
        # Replicate padding moves with the image; zeros would be a dark border that stands still.
        features = F.pad(features, (0, size[1] - width, 0, size[0] - height), mode="replicate")
        found = []
        for stage in self.stages:
            features = stage(features)
            found.append(features)
        return tuple(found[::-1])


class ResidualConv(nn.Module):
    """Residual 3x3 convolution: ``x + act(conv(x))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, h, w); the shape stays."""
        result: Tensor = x + self.conv(x)
        return result


def conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Build a convolution with leaky rectifier, initialised to keep the variance."""
    layer = nn.Conv2d(inside, outside, kernel, stride, kernel // 2)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.LeakyReLU(SLOPE))


def comparable(features: Tensor) -> Tensor:
    """Normalize features (B, C, h, w) so that inner products are cosines: spatial mean removed, unit length at every position.

    Without it the network does not learn to match: raw features share a large common part that hides the differences.
    """
    with full_precision(features):
        centred = features.float() - features.float().mean((-2, -1), keepdim=True)
        return F.normalize(centred, dim=1)
