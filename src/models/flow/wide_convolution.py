"""A 3x3 convolution of many channels, as inference on CPUs does it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.ops.kept import KeptResult
from src.ops.winograd import transformed_kernel, winograd_convolution

_FEW_PIXELS = 64


class WideConvolution(nn.Conv2d):
    """A 3x3 convolution, stride 1; the same to float rounding, in inference on CPUs with fewer multiply-adds (Winograd).

    There its result has the channels last in memory. The transformed kernel is kept, 16/9 of the memory that the weights take: 4
    MiB for 256 channels, 16 for 512. Where pixels are few, the layer is one product of the weights as they are and the columns of
    the image, and nothing is kept.

    Args:
        inside: C, channels of the input.
        outside: C' of the result.
        bias: whether there is one.
    """

    def __init__(self, inside: int, outside: int, bias: bool = True) -> None:
        super().__init__(inside, outside, 3, padding=1, bias=bias)
        self._kernel = KeptResult(transformed_kernel)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        if not torch.is_inference_mode_enabled():
            # Who learns changes the weights.
            self._kernel.forget()
            return super().forward(input)
        # Winograd's differences are too coarse in half precision.
        if input.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        batch, _, height, width = input.shape
        if height * width < _FEW_PIXELS:
            # oneDNN would first bring the weights into another order, which takes several times as long as the product.
            result = F.linear(F.unfold(input, 3, padding=1).mT, self.weight.flatten(1), self.bias).view(batch, height, width, -1)
        else:
            result = winograd_convolution(input.permute(0, 2, 3, 1), self._kernel(self.weight))
            if self.bias is not None:
                result += self.bias
        return result.permute(0, 3, 1, 2)
