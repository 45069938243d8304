"""A small query flow estimator, and textured images whose motion is known."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.models.flow.query import QueryFlow


@pytest.fixture
def small() -> QueryFlow:
    """Five queries of width 24, everything else narrow; seeded by the fixture that seeds every test."""
    return QueryFlow(
        query_dim=24,
        num_queries=5,
        encoder_channels=(8, 12, 16, 16, 24, 24),
        hidden_dim=16,
        num_heads=2,
        ffn_dim=32,
        decoder_layers=4,
        refine_channels=(8, 8, 8, 6),
        mlp_dim=20,
    )


@pytest.fixture
def texture() -> Callable[[int, int], Tensor]:
    """Smooth random RGB textures (3, H, W), 0..255 float."""

    def make(height: int, width: int) -> Tensor:
        noise = torch.rand(1, 3, height // 4 + 2, width // 4 + 2)
        fine = F.interpolate(noise, scale_factor=4, mode="bicubic", align_corners=False)[0, :, :height, :width]
        return (255 * fine).clamp(0, 255)

    return make
