"""Normalization and resizing of maps with the channels last in memory, at memory bandwidth."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from src.structures import Size


def group_norm_factors(rows: Float[Tensor, "B N C"], norm: nn.GroupNorm) -> tuple[Float[Tensor, "B 1 C"], Float[Tensor, "B 1 C"]]:
    """Return factor and shift of group normalization per channel, to be merged into the next step.

    There is one row per pixel; normalized, the rows are ``rows * factor + shift``.
    """
    groups = (norm.num_groups, rows.shape[2] // norm.num_groups)
    means = rows.mean(1)
    # One number per channel: double precision costs nothing here and avoids a rounding error in every pixel.
    variances = (rows - means[:, None]).square_().mean(1).double().view(-1, *groups)
    means = means.double().view(-1, *groups)
    # Of a group: the mean of its channels' variances plus the variance of their means.
    mean = means.mean(2, keepdim=True)
    variance = (variances + (means - mean).square()).mean(2, keepdim=True)
    factor = norm.weight.view(groups) * (variance + norm.eps).rsqrt()
    shift = norm.bias.view(groups) - mean * factor
    return factor.flatten(1)[:, None].to(rows.dtype), shift.flatten(1)[:, None].to(rows.dtype)


# A compiler breaks the graph at every step that writes into a view, and fails at some.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def upsample_2x(maps: Float[Tensor, "B h w C"]) -> Float[Tensor, "B 2*h 2*w C"]:
    """Double the size bilinearly; equal to ``F.interpolate`` (``align_corners=False``) to float rounding.

    Convention:
        pixel centers at half numbers: a new pixel is 3/4 of the nearest old one and 1/4 of the next, in each direction.
    """
    batch, height, width, channels = maps.shape
    wide = maps.new_empty(batch, height, width, 2, channels)
    _interpolate_pairs(maps.transpose(1, 2), wide.transpose(1, 2).unbind(3))
    rows = wide.view(batch, height, -1)
    tall = maps.new_empty(batch, height, 2, rows.shape[2])
    _interpolate_pairs(rows, tall.unbind(2))
    return tall.view(batch, 2 * height, 2 * width, channels)


def downsample(maps: Float[Tensor, "B C H W"], size: Size) -> Float[Tensor, "B C {size[0]} {size[1]}"]:
    """Resize bilinearly to a smaller size; equal to ``F.interpolate`` (``align_corners=False``) to float rounding.

    With channels last and both sides divided by the same even number, a new pixel is the mean of four.
    """
    factor = maps.shape[-2] // size[0]
    exact = factor % 2 == 0 and (maps.shape[-2], maps.shape[-1]) == (factor * size[0], factor * size[1])
    if exact and maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous():
        low, high = (slice(first, None, factor) for first in (factor // 2 - 1, factor // 2))
        total = maps[..., low, low] + maps[..., low, high]
        return total.add_(maps[..., high, low]).add_(maps[..., high, high]).mul_(0.25)
    # One channel per image: torch would convert several to channels last first, a full copy for a result of few pixels.
    reduced = F.interpolate(maps.flatten(0, 1)[:, None], size=size, mode="bilinear", align_corners=False)
    return reduced.view(*maps.shape[:2], *size)


def _interpolate_pairs(old: Tensor, new: tuple[Tensor, ...]) -> None:
    """Write the two new pixels of each old one along the second dimension."""
    before, after = new
    before[:, 0], after[:, -1] = old[:, 0], old[:, -1]
    torch.lerp(old[:, 1:], old[:, :-1], 0.25, out=before[:, 1:])
    torch.lerp(old[:, :-1], old[:, 1:], 0.25, out=after[:, :-1])
