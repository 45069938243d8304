"""Refinement of FlowNetS: flow of the whole image, coarse to fine."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.flow.encoder import LEAKY_SLOPE
from src.ops.device import full_precision

FLOW_INIT_STD = 1e-3
"""Standard deviation of the weights that predict flow: flow starts near zero, but all earlier layers get a gradient."""


class PixelFlowDecoder(nn.Module):
    """FlowNetS's expanding part (Dosovitskiy et al. 2015), without biases as in the paper's estimator.

    Every level predicts a flow, upsamples it and its features to the next finer level and predicts again.

    Args:
        level_channels: channels of the five feature levels, coarse to fine.
        refine_channels: output channels of each of the four upsampling steps.

    Raises:
        ValueError: if there is not one upsampling step fewer than levels.
    """

    def __init__(self, level_channels: Sequence[int], refine_channels: Sequence[int]) -> None:
        super().__init__()
        if len(refine_channels) != len(level_channels) - 1:
            raise ValueError(
                f"refine channels are {tuple(refine_channels)} for level channels {tuple(level_channels)}; "
                "expected one step fewer than levels"
            )
        inputs = [level_channels[0]]
        inputs += [level + step + 2 for level, step in zip(level_channels[1:], refine_channels, strict=True)]
        self.predict = nn.ModuleList(_predict(width) for width in inputs)
        self.upsample_flow = nn.ModuleList(_double(2, 2) for _ in refine_channels)
        self.upsample_features = nn.ModuleList(_double(a, b) for a, b in zip(inputs[:-1], refine_channels, strict=True))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Predict flows (B, 2, h_i, w_i) from features (B, C_i, h_i, w_i), coarse to fine, each at most twice as large.

        Flows are in pixels of their own grids and in the precision of the weights.
        """
        x = features[0]
        flows = [_flow_of(self.predict[0], x)]
        for i, level in enumerate(features[1:]):
            height, width = level.shape[-2:]
            flow = _in_weight_precision(self.upsample_flow[i], flows[-1])
            step = F.leaky_relu(self.upsample_features[i](x), LEAKY_SLOPE)
            # A level of odd size is one row or column smaller than twice the coarser level.
            x = torch.cat((level, step[..., :height, :width], flow[..., :height, :width].to(step.dtype)), dim=1)
            flows.append(_flow_of(self.predict[i + 1], x))
        return tuple(flows)


def _predict(inside: int) -> nn.Conv2d:
    layer = nn.Conv2d(inside, 2, 3, padding=1, bias=False)
    nn.init.normal_(layer.weight, std=FLOW_INIT_STD)
    return layer


def _flow_of(layer: nn.Module, x: Tensor) -> Tensor:
    """Run a layer of :func:`_predict` in the precision of its weights.

    On CPUs a convolution to two channels takes three times as long as multiplying the features by all nine taps and summing the
    shifted products.
    """
    if not torch.is_inference_mode_enabled() or x.device.type != "cpu":
        return _in_weight_precision(layer, x)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    with full_precision(x):
        # The flipped kernel gives each pixel's contribution to its neighbours.
        taps = weight.flip(2, 3).permute(0, 2, 3, 1).flatten(0, 2) @ x.to(weight.dtype).flatten(2)
        return F.fold(taps, x.shape[-2:], kernel_size=3, padding=1)


def _double(inside: int, outside: int) -> nn.ConvTranspose2d:
    """Build a transposed convolution to twice the size; each output depends on a quarter of the 4x4 kernel."""
    layer = nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1, bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (1 + LEAKY_SLOPE**2) / (4 * inside)))
    return layer


def _in_weight_precision(layer: nn.Module, x: Tensor) -> Tensor:
    """Run a layer outside autocast: bf16 would round a flow of 20 px to steps of 0.1 px."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    with full_precision(x):
        return layer(x.to(weight.dtype))  # type: ignore[no-any-return]
