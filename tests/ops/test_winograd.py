"""Law: equal to conv2d."""

import pytest
import torch
import torch.nn.functional as F

from src.ops import winograd as module
from src.ops.winograd import transformed_kernel, winograd_convolution


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 6), (10, 13)])
@pytest.mark.parametrize("block", [1, 7, 512])
def test_equals_conv2d(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], block: int) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    image, weight = torch.randn(2, 5, *size, dtype=torch.float64), torch.randn(3, 5, 3, 3, dtype=torch.float64)
    found = winograd_convolution(image.permute(0, 2, 3, 1), transformed_kernel(weight)).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, F.conv2d(image, weight, padding=1), atol=1e-12, rtol=1e-12)


def test_float32_errs_by_little_more_than_rounding() -> None:
    image, weight = torch.randn(1, 256, 16, 24), torch.randn(64, 256, 3, 3) / 48
    exact = F.conv2d(image.double(), weight.double(), padding=1)
    found = winograd_convolution(image.permute(0, 2, 3, 1), transformed_kernel(weight)).permute(0, 3, 1, 2)
    assert (found - exact).abs().max() < 4e-6
