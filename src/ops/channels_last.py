"""Maps with their channels last in memory: normalised and resized along whole rows of channels, at the speed of the memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from src.structures import Size


def group_norm_factors(rows: Float[Tensor, "B N C"], norm: nn.GroupNorm) -> tuple[Float[Tensor, "B 1 C"], Float[Tensor, "B 1 C"]]:
    """What group normalisation multiplies each channel by and adds to it, so that the next step can do both.

    Args:
        rows: (B, N, C), one row per pixel.
        norm: of C channels, with weights.

    Returns:
        factor and shift, (B, 1, C): the normalised rows are ``rows * factor + shift``.
    """
    groups = (norm.num_groups, rows.shape[2] // norm.num_groups)
    means = rows.mean(1)
    # Of single numbers per channel, so that their rounding, which every pixel would have, costs nothing to avoid.
    variances = (rows - means[:, None]).square_().mean(1).double().view(-1, *groups)
    means = means.double().view(-1, *groups)
    # Of a group: the mean of its channels' variances and the variance of their means.
    mean = means.mean(2, keepdim=True)
    variance = (variances + (means - mean).square()).mean(2, keepdim=True)
    factor = norm.weight.view(groups) * (variance + norm.eps).rsqrt()
    shift = norm.bias.view(groups) - mean * factor
    return factor.flatten(1)[:, None].to(rows.dtype), shift.flatten(1)[:, None].to(rows.dtype)


# A compiler breaks the graph at every step that writes into a view, and fails at some.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def upsample_2x(maps: Float[Tensor, "B h w C"]) -> Float[Tensor, "B 2*h 2*w C"]:
    """Bilinear resizing to twice the size, as ``F.interpolate`` does it (``align_corners=False``) to float rounding.

    Convention:
        pixel centres at half numbers: a new pixel is 3/4 of the nearest old one and 1/4 of the next, in each direction.

    Args:
        maps: (B, h, w, C).

    Returns:
        (B, 2 * h, 2 * w, C).
    """
    batch, height, width, channels = maps.shape
    wide = maps.new_empty(batch, height, width, 2, channels)
    _spread(maps.transpose(1, 2), wide.transpose(1, 2).unbind(3))
    rows = wide.view(batch, height, -1)
    tall = maps.new_empty(batch, height, 2, rows.shape[2])
    _spread(rows, tall.unbind(2))
    return tall.view(batch, 2 * height, 2 * width, channels)


def downsample(maps: Float[Tensor, "B C H W"], size: Size) -> Float[Tensor, "B C {size[0]} {size[1]}"]:
    """Bilinear resizing to a smaller size, as ``F.interpolate`` does it (``align_corners=False``) to float rounding.

    Where channels are last and sides are divided by the same even number, a new pixel is the mean of four; elsewhere it is
    ``F.interpolate``.

    Args:
        maps: (B, C, H, W).
        size: (h, w).

    Returns:
        (B, C, h, w).
    """
    times = maps.shape[-2] // size[0]
    exact = times % 2 == 0 and (maps.shape[-2], maps.shape[-1]) == (times * size[0], times * size[1])
    if exact and maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous():
        low, high = (slice(first, None, times) for first in (times // 2 - 1, times // 2))
        total = maps[..., low, low] + maps[..., low, high]
        return total.add_(maps[..., high, low]).add_(maps[..., high, high]).mul_(0.25)
    # One channel at a time: of many, torch would put the channels last first, a copy of all for a result of few pixels.
    reduced = F.interpolate(maps.flatten(0, 1)[:, None], size=size, mode="bilinear", align_corners=False)
    return reduced.view(*maps.shape[:2], *size)


def _spread(old: Tensor, new: tuple[Tensor, ...]) -> None:
    """Write the two new pixels of each old one along the second dimension."""
    before, after = new
    before[:, 0], after[:, -1] = old[:, 0], old[:, -1]
    torch.lerp(old[:, 1:], old[:, :-1], 0.25, out=before[:, 1:])
    torch.lerp(old[:, :-1], old[:, 1:], 0.25, out=after[:, :-1])
