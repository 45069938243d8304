"""3x3 convolution of many channels, fast in inference on CPUs."""

import torch.nn.functional as F
from torch import Tensor, nn

from src.ops.cache import CachedResult
from src.ops.device import use_cpu_fast_path
from src.ops.winograd import transformed_kernel, winograd_convolution

_FEW_PIXELS = 64


class WideConvolution(nn.Conv2d):
    """3x3 convolution; in inference on CPUs it is equal to float rounding and returns channels last in memory.

    With stride 1 it has fewer multiply-adds there (Winograd). The transformed kernel is cached, 16/9 of the weights' memory:
    4 MiB for 256 channels, 16 for 512. For results of few pixels, the layer is one product of the image's columns and the
    untransformed weights, and nothing is cached.

    Args:
        inside: C, channels of the input.
        outside: C', channels of the result.
        stride: 1 or 2.
    """

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__(inside, outside, 3, stride, padding=1)
        self._kernel = CachedResult(transformed_kernel)

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', h, w); h and w are H and W over the stride, rounded up."""
        if not use_cpu_fast_path(input):
            # Training changes the weights.
            self._kernel.clear()
            return super().forward(input)
        stride = self.stride[0]
        height, width = -(-input.shape[-2] // stride), -(-input.shape[-1] // stride)
        few = height * width < _FEW_PIXELS
        if not few and stride != 1:
            return super().forward(input)
        if few:
            # oneDNN would first reorder the weights, which takes several times as long as the product.
            columns = F.unfold(input, 3, padding=1, stride=stride).mT
            result = F.linear(columns, self.weight.flatten(1), self.bias).view(len(input), height, width, -1)
        else:
            assert self.bias is not None
            result = winograd_convolution(input.permute(0, 2, 3, 1), self._kernel(self.weight)).add_(self.bias)
        return result.permute(0, 3, 1, 2)
