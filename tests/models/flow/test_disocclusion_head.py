"""Laws of the disocclusion head: every level of features counts, and only near its own place."""

import torch
from torch import Tensor

from src.models.flow.disocclusion_head import DisocclusionHead


def features() -> list[Tensor]:
    return [torch.randn(1, channels, size, size, requires_grad=True) for channels, size in ((6, 4), (5, 8), (4, 16))]


def test_logits_depend_on_every_level_and_only_near_their_place() -> None:
    levels = features()
    logits = DisocclusionHead((6, 5, 4), 8, 3)(levels)
    assert logits.shape == (1, 3, 16, 16)
    gradients = torch.autograd.grad(logits[..., 0, 0].square().sum(), levels)
    for gradient, reach in zip(gradients, (2, 3, 2), strict=True):
        assert gradient[..., 0, 0].any()
        assert not gradient[..., reach:, :].any() and not gradient[..., :, reach:].any()
