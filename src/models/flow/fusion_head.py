"""Light network that weighs what a flow carries: trust in the photometric error of the flow, place by place."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Num
from torch import Tensor, nn

from src.ops.device import full_precision

_CELL = 4  # pixels of the image per cell, as on the mask grid
_INPUTS = 7
_MAX_BIAS = 4.0
_MAX_LOG_SLOPE = 2.0


class FusionHead(nn.Module):
    """Predict the log weight of a carried prediction at every pixel: bias - slope * (photometric error / 10 grey levels).

    Bias and slope are predicted on the mask grid, 1/4 of the image, and upsampled; the error has the image's resolution, because
    weights of the grid's resolution lose at borders of segments. The initial head is the rule ``photometric``, exactly: bias 0
    and slope 1 everywhere.

    Args:
        width: hidden channels.
        extra_channels: channels of the estimator's own features in :meth:`forward`.
    """

    def __init__(self, width: int, extra_channels: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(_INPUTS + extra_channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(width, 2, 1),
        )
        for tensor in self.layers[-1].parameters():
            nn.init.zeros_(tensor)

    def forward(
        self,
        error: Float32[Tensor, "B H W"],
        image: Num[Tensor, "B 3 H W"],
        flow: Float32[Tensor, "B 2 H W"],
        extra: Float[Tensor, "B C h w"] | None = None,
    ) -> Float32[Tensor, "B H W"]:
        """Return the log weight.

        Args:
            error: mean absolute difference of the warped key frame and the frame, in units of 10 grey levels.
            image: frame to which the prediction is carried, RGB 0..255.
            flow: from ``image`` to its key frame, pixels.
            extra: features of the flow estimator on the mask grid, at least as large as the image's.
        """
        height, width = error.shape[-2:]
        with full_precision(error):
            inputs = _inputs(error, image, flow)
            if extra is not None:
                inputs = torch.cat((inputs, extra[..., : inputs.shape[-2], : inputs.shape[-1]].float()), 1)
            grid = self.layers(inputs.contiguous(memory_format=torch.channels_last)).contiguous()
            bias = _MAX_BIAS * (grid[:, :1] / _MAX_BIAS).tanh()
            slope = (_MAX_LOG_SLOPE * (grid[:, 1:] / _MAX_LOG_SLOPE).tanh()).exp()
            size = [_CELL * side for side in grid.shape[-2:]]
            both = F.interpolate(torch.cat((bias, slope), 1), size=size, mode="bilinear", align_corners=False)
            bias, slope = both[..., :height, :width].unbind(1)
            return bias - slope * error


def _inputs(error: Tensor, image: Tensor, flow: Tensor) -> Tensor:
    """Return the channels of the cells: error at three scales and its peak, contrast, speed and variation of the flow."""
    mean, peak = _cells(error)
    coarse = F.avg_pool2d(mean, _CELL, ceil_mode=True, count_include_pad=False)
    around = F.interpolate(coarse, size=mean.shape[-2:], mode="bilinear", align_corners=False)
    # Where the image has contrast, a flow that is wrong by a fraction of a pixel has an error.
    green = image[:, 1, ::2, ::2].float()[:, None] / 10
    contrast = F.max_pool2d(green, 2, ceil_mode=True) + F.max_pool2d(-green, 2, ceil_mode=True)
    # One vector of each cell: the flow is smooth at this scale.
    motion = flow[..., ::_CELL, ::_CELL] / _CELL
    speed = motion.square().sum(1, keepdim=True)
    variation = (_smooth(speed) - _smooth(motion).square().sum(1, keepdim=True)).clamp(min=0)
    return torch.cat((mean, _smooth(mean), around, peak, contrast, speed, variation), 1).sqrt()


def _cells(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and maximum of each cell of (B, H, W), both (B, 1, h, w)."""
    height, width = maps.shape[-2:]
    maps = F.pad(maps[:, None], (0, -width % _CELL, 0, -height % _CELL), mode="replicate")
    # Reductions of slices take a third of the time of torch's pooling.
    rows = [maps[..., row::_CELL, :] for row in range(_CELL)]
    total, peak = rows[0] + rows[1], torch.maximum(rows[0], rows[1])
    for row in rows[2:]:
        total, peak = total + row, torch.maximum(peak, row)
    columns = (*total.shape[:-1], -1, _CELL)
    return total.view(columns).sum(-1) / _CELL**2, peak.view(columns).amax(-1)


def _smooth(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
