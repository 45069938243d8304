"""Convolutional encoder of FlowNetS, and the preparation of its input images."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.cpu.wide_convolution import WideConvolution
from src.ops.padding import padded_size

LEAKY_SLOPE = 0.1
_KERNELS = (7, 5, 5, 3, 3, 3)
_MANY_CHANNELS = 256  # from here on Winograd's convolution saves more than its transforms cost


class ImagePreparation(nn.Module):
    """Converts RGB images to the encoder's input: normalize, pad with zeros, halve, stack (paper's estimator).

    Args:
        mean: mean of each channel of RGB images in 0..1.
        size_divisor: the padded image is a multiple of this, itself a multiple of 8.

    Raises:
        ValueError: if ``size_divisor`` is not a multiple of 8, the stride of the flow.
    """

    mean: Tensor

    def __init__(self, mean: Sequence[float], size_divisor: int) -> None:
        super().__init__()
        if size_divisor < 8 or size_divisor % 8:
            raise ValueError(f"size_divisor is {size_divisor}; expected a multiple of 8, the stride of the flow")
        self.size_divisor = size_divisor
        self.register_buffer("mean", 255 * torch.tensor(list(mean)).view(3, 1, 1), persistent=False)

    def forward(self, *images: Tensor) -> Tensor:
        """Stack n images (B, 3, H, W), RGB 0..255, to (B, 3 * n, Hp / 2, Wp / 2), float32 (float64 where the estimator is)."""
        batch, channels, height, width = images[0].shape
        size = padded_size((height, width), self.size_divisor)
        # Padding with the mean color becomes 0 by normalizing, which follows after halving, on a quarter of the pixels.
        canvas = self.mean.repeat(batch, len(images), *size)
        for number, image in enumerate(images):
            canvas[:, channels * number : channels * (number + 1), :height, :width] = image
        # Both sides are even, so the mean of 2x2 blocks equals bilinear resizing by half (align_corners=False).
        # Two sums, rows first, take a quarter of the time of torch's pooling.
        pairs = canvas[..., 0::2, :] + canvas[..., 1::2, :]
        return ((pairs[..., 0::2] + pairs[..., 1::2]) / 4 - self.mean.repeat(len(images), 1, 1)) / 255


class FlowEncoder(nn.Module):
    """FlowNetS's contracting part (Dosovitskiy et al. 2015): six stages of stride 2, LeakyReLU, no normalization.

    Args:
        channels: output channels of the six stages.

    Raises:
        ValueError: if there are not six widths.
    """

    def __init__(self, channels: Sequence[int] = (64, 128, 256, 512, 512, 1024)) -> None:
        super().__init__()
        if len(channels) != len(_KERNELS):
            raise ValueError(f"encoder channels are {tuple(channels)}; expected {len(_KERNELS)} widths, one per stage")
        self.stages = nn.ModuleList()
        for index, ((inside, outside), kernel) in enumerate(zip(pairwise((6, *channels)), _KERNELS, strict=True)):
            stage = nn.Sequential(_convolution(inside, outside, kernel, 2), nn.LeakyReLU(LEAKY_SLOPE))
            # The two finest stages have one convolution, the others two.
            if index >= 2:
                stage.extend((_convolution(outside, outside, 3, 1), nn.LeakyReLU(LEAKY_SLOPE)))
            self.stages.append(stage)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # Without normalization layers, torch's default initialisation lets the signal vanish over nine layers.
                nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, pair: Tensor, key_half: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode a prepared pair.

        Args:
            pair: (B, 6, Hp / 2, Wp / 2), non-key channels first; with ``key_half`` only these, (B, 3, Hp / 2, Wp / 2).
            key_half: result of :meth:`key_half` for the prepared key image.

        Returns:
            Features of the last five stages, coarse to fine: 1/128, 1/64, 1/32, 1/16, 1/8 of the padded image.
        """
        if key_half is None:
            x = self.stages[0](pair)
        else:
            first = self._first()
            x = F.leaky_relu_(self._half(pair, first.weight[:, : pair.shape[1]], first.bias) + key_half, LEAKY_SLOPE)
        features: list[Tensor] = []
        for stage in self.stages[1:]:
            # Winograd's convolution returns channels last, which slows down convolutions of stride 2 on few pixels.
            x = stage(x.contiguous())
            features.append(x)
        return tuple(reversed(features))

    def key_half(self, key: Tensor) -> Tensor:
        """Return the share (B, C, Hp / 4, Wp / 4) of a prepared key image (B, 3, Hp / 2, Wp / 2) in the first convolution."""
        return self._half(key, self._first().weight[:, key.shape[1] :], None)

    def _first(self) -> nn.Conv2d:
        layer = next(self.stages[0].children())
        assert isinstance(layer, nn.Conv2d)
        return layer

    def _half(self, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(image, weight, bias, self._first().stride, self._first().padding)


def _convolution(inside: int, outside: int, kernel: int, stride: int) -> nn.Conv2d:
    if kernel == 3 and min(inside, outside) >= _MANY_CHANNELS:
        return WideConvolution(inside, outside, stride)
    return nn.Conv2d(inside, outside, kernel, stride, padding=kernel // 2)
