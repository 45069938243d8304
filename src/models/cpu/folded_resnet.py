"""A ResNet as inference on CPUs needs it: fewer passes over feature maps that no cache holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.resnet.modeling_resnet import ResNetBackbone, ResNetConvLayer, ResNetShortCut


class FoldedConvolution(nn.Module):
    """Takes the place of transformers' convolution with batch normalisation, with its parts and names.

    In inference mode on a CPU the normalisation, then a factor and a shift for each channel, goes into the weights of the
    convolution and the activation is done in place: the same to float rounding.

    Args:
        layer: whose parts to use.
    """

    def __init__(self, layer: ResNetConvLayer | ResNetShortCut) -> None:
        super().__init__()
        self.convolution: nn.Conv2d = layer.convolution
        self.normalization: nn.BatchNorm2d = layer.normalization
        self.activation: nn.Module = getattr(layer, "activation", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        norm, convolution = self.normalization, self.convolution
        # On accelerators folding would start more kernels than it saves.
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
    """ReLU, in place in inference mode; for what nobody else holds."""

    def forward(self, x: Tensor) -> Tensor:
        """The shape stays."""
        return x.relu_() if torch.is_inference_mode_enabled() else F.relu(x)


class MaxPool(nn.MaxPool2d):
    """Max pooling with the channels last, on CPUs in inference: five times as fast, the conversions there and back included."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H', W')."""
        if torch.is_inference_mode_enabled() and input.device.type == "cpu":
            input = input.contiguous(memory_format=torch.channels_last)
        pooled: Tensor = super().forward(input)
        return pooled.contiguous()


def fold_resnet(backbone: nn.Module) -> None:
    """Put these in the place of the layers of transformers' ResNet; another network is left as it is."""
    if not isinstance(backbone, ResNetBackbone):
        return
    for module in list(backbone.modules()):
        for name, child in module.named_children():
            if isinstance(child, ResNetConvLayer | ResNetShortCut):
                setattr(module, name, FoldedConvolution(child))
            elif isinstance(child, nn.MaxPool2d):
                setattr(module, name, MaxPool(child.kernel_size, child.stride, child.padding, child.dilation))
    for module in list(backbone.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, InPlaceReLU())
