"""The finest level of the pixel decoder, 1/4 of the image, as inference on CPUs needs it: channels last, fewer multiply-adds."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.folded_resnet import InPlaceReLU
from src.ops.winograd import winograd_convolution


class _Replacement(nn.Conv2d):
    """Takes the place of a convolution, with its parameters and names."""

    def __init__(self, layer: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        # The same parameters; nothing is copied.
        self.__dict__.update(layer.__dict__)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        # Winograd's differences are too coarse in half precision.
        fast = torch.is_inference_mode_enabled() and input.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        return self.fast(input) if fast else super().forward(input)

    def fast(self, input: Tensor) -> Tensor:
        """The same in inference on a CPU."""
        raise NotImplementedError


class ToChannelsLast(_Replacement):
    """A 1x1 convolution as a product that leaves the channels last in memory."""

    def fast(self, input: Tensor) -> Tensor:
        """See :class:`ToChannelsLast`."""
        result = F.linear(input.flatten(2).mT, self.weight.flatten(1), self.bias).mT
        return result.view(*result.shape[:2], *input.shape[-2:])


class FromChannelsLast(_Replacement):
    """A 1x1 convolution as a product that leaves the pixels last in memory, whatever lies last in its input."""

    def fast(self, input: Tensor) -> Tensor:
        """See :class:`FromChannelsLast`."""
        result = self.weight.flatten(1) @ input.flatten(2)
        if self.bias is not None:
            result += self.bias[:, None]
        return result.view(*result.shape[:2], *input.shape[-2:])


class Winograd(_Replacement):
    """A 3x3 convolution by :func:`src.ops.winograd.winograd_convolution`."""

    def fast(self, input: Tensor) -> Tensor:
        """See :class:`Winograd`."""
        return winograd_convolution(input.permute(0, 2, 3, 1), self.weight).permute(0, 3, 1, 2)


def speed_up_finest_level(pixel_decoder: Any) -> None:
    """Put these in the place of the layers of transformers' pixel decoder that work at 1/4 of the image.

    The coarser levels, which the finest is summed with, come from the encoder with their channels last.
    """
    for lateral, output in zip(pixel_decoder.lateral_convolutions, pixel_decoder.output_convolutions, strict=True):
        lateral[0], output[0], output[2] = ToChannelsLast(lateral[0]), Winograd(output[0]), InPlaceReLU()
    pixel_decoder.mask_projection = FromChannelsLast(pixel_decoder.mask_projection)
