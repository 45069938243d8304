"""Law: results equal torch's for the usual memory order."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.ops.channels_last import downsample, group_norm_factors, upsample_2x


def test_group_norm() -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 24).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    # Channels far apart, whose group's variance is mostly that of their means.
    rows = torch.randn(2, 35, 24, dtype=torch.float64) * torch.rand(24) + 10 * torch.randn(24)
    factor, shift = group_norm_factors(rows, norm)
    torch.testing.assert_close(rows * factor + shift, norm(rows.mT).mT)


def test_group_norm_of_what_hardly_varies() -> None:
    """A mean of squares minus the square of a mean would lose everything here."""
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 8)
    rows = 1000 + 1e-2 * torch.randn(1, 500, 8)
    factor, _ = group_norm_factors(rows, norm)
    exact, _ = group_norm_factors(rows.double(), norm.double())
    torch.testing.assert_close(factor.double(), exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (3, 7)], ids=str)
def test_upsampling(size: tuple[int, int]) -> None:
    maps = torch.randn(2, *size, 6, dtype=torch.float64)
    expected = F.interpolate(maps.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample_2x(maps), expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("size", [(24, 32), (12, 16), (6, 8), (3, 4), (8, 11), (24, 16), (5, 5)], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_downsampling(size: tuple[int, int], layout: torch.memory_format) -> None:
    maps = torch.randn(2, 6, 24, 32, dtype=torch.float64).contiguous(memory_format=layout)
    expected = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(downsample(maps, size), expected)
