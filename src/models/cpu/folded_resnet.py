"""ResNet layers with fewer passes over feature maps, for inference on CPUs: the maps exceed every cache."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.resnet.modeling_resnet import ResNetBackbone, ResNetConvLayer, ResNetShortCut

from src.models.replacement import replace_modules


class FoldedConvolution(nn.Module):
    """Replacement of transformers' convolution with batch normalization, with the same parameters.

    In inference mode on a CPU, the normalization (a factor and a shift per channel) is folded into the weights of the convolution
    and the activation runs in place; equal to float rounding.
    """

    def __init__(self, layer: ResNetConvLayer | ResNetShortCut) -> None:
        super().__init__()
        self.convolution: nn.Conv2d = layer.convolution
        self.normalization: nn.BatchNorm2d = layer.normalization
        self.activation: nn.Module = getattr(layer, "activation", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        norm, convolution = self.normalization, self.convolution
        # On accelerators, folding launches more kernels than it saves.
        if not torch.is_inference_mode_enabled() or self.training or x.device.type != "cpu":
            result: Tensor = self.activation(norm(convolution(x)))
            return result
        assert norm.running_mean is not None and norm.running_var is not None
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = convolution.weight * factor[:, None, None, None]
        shift = norm.bias - norm.running_mean * factor
        activated: Tensor = self.activation(convolution._conv_forward(x, weight, shift))
        return activated


class InPlaceReLU(nn.Module):
    """ReLU, in place in inference mode; its input must have no other reader."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation."""
        return x.relu_() if torch.is_inference_mode_enabled() else F.relu(x)


class MaxPool(nn.MaxPool2d):
    """Max pooling, channels last in inference on CPUs: five times as fast, including both conversions."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H', W')."""
        if torch.is_inference_mode_enabled() and input.device.type == "cpu":
            input = input.contiguous(memory_format=torch.channels_last)
        pooled: Tensor = super().forward(input)
        return pooled.contiguous()


def fold_resnet(backbone: nn.Module) -> None:
    """Replace the layers of transformers' ResNet; other backbones are unchanged."""
    if not isinstance(backbone, ResNetBackbone):
        return
    replace_modules(backbone, (ResNetConvLayer, ResNetShortCut), FoldedConvolution)
    replace_modules(backbone, nn.MaxPool2d, lambda pool: MaxPool(pool.kernel_size, pool.stride, pool.padding, pool.dilation))
    replace_modules(backbone, nn.ReLU, lambda _: InPlaceReLU())
