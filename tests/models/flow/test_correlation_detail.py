"""Laws of the step from the masks' grid to every pixel: learned upsampling stays between the neighbours."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.models.flow.correlation_decoder import Motion
from src.models.flow.correlation_detail import ConvexUpsampling, FlowDetail, bilinear_weights
from src.ops.warp import resize_flow


def motion(height: int = 5, width: int = 7, channels: int = 6) -> Motion:
    return Motion(torch.randn(2, 2, height, width), torch.randn(2, channels, height, width))


def with_logits(upsampling: ConvexUpsampling, logits: Tensor) -> ConvexUpsampling:
    """Weights (9, factor^2) that do not depend on the features."""
    torch.nn.init.zeros_(upsampling.weights.weight)
    assert upsampling.weights.bias is not None
    upsampling.weights.bias.data.copy_(logits.flatten())
    return upsampling


@torch.no_grad()
@pytest.mark.parametrize("factor", [2, 4])
def test_bilinear_upsampling_is_a_special_case(factor: int) -> None:
    coarse = motion()
    found = with_logits(ConvexUpsampling(6, factor), bilinear_weights(factor).log().clamp(min=-100))(coarse)
    torch.testing.assert_close(found, resize_flow(coarse.flow, (5 * factor, 7 * factor)))


@torch.no_grad()
def test_a_border_between_two_motions_can_be_sharp() -> None:
    coarse = motion()
    own = F.one_hot(torch.full((4,), 4), 9).T * 200.0
    found = with_logits(ConvexUpsampling(6, 2), own)(coarse)
    torch.testing.assert_close(found, 2 * coarse.flow.repeat_interleave(2, -1).repeat_interleave(2, -2))


@torch.no_grad()
def test_every_pixel_moves_between_its_neighbours() -> None:
    """Weights sum to 1: with any weights, the flow of a pixel is within that of its neighbours, and a common motion stays."""
    factor, coarse = 2, motion()
    upsampling = ConvexUpsampling(6, factor)
    torch.nn.init.normal_(upsampling.weights.weight, std=3.0)
    around = F.pad(factor * coarse.flow, (1, 1, 1, 1), mode="replicate")
    most, least = F.max_pool2d(around, 3, 1), -F.max_pool2d(-around, 3, 1)
    found = upsampling(coarse)
    most, least = (F.interpolate(limit, scale_factor=factor, mode="nearest") for limit in (most, least))
    assert (found <= most + 1e-5).all() and (found >= least - 1e-5).all()
    shift = torch.tensor([1.5, -0.25]).view(2, 1, 1)
    still = upsampling(Motion(shift.expand(2, 2, 5, 7), coarse.hidden))
    torch.testing.assert_close(still, (factor * shift).expand_as(still))


def test_a_border_between_motions_is_learned_from_the_nonkey_frame() -> None:
    """Features that differ between left and right suffice to place a border inside a cell of 1/4."""
    torch.manual_seed(0)
    detail = FlowDetail(3, 2, 8, context=4)
    sides = torch.where(torch.arange(16) < 7, -1.0, 1.0).expand(1, 1, 12, 16)
    nonkey = torch.cat((sides, torch.randn(1, 2, 12, 16)), 1)
    target = torch.zeros(1, 2, 24, 32)
    target[:, 0, :, 14:] = 4.0
    coarse = Motion(F.avg_pool2d(target, 4) / 4, torch.zeros(1, 2, 6, 8))
    optimizer = torch.optim.Adam(detail.parameters(), 0.02)
    for _ in range(120):
        optimizer.zero_grad()
        error = (detail(nonkey, nonkey, coarse) - target).abs().mean()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    plain = (resize_flow(coarse.flow, (24, 32)) - target).abs().mean()
    assert error < plain / 2
