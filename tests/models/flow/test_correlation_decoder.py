"""Laws of the correlation decoder: where it looks, and what it adds to the coarser flow."""

import torch
from torch import Tensor

from src.models.flow.correlation_decoder import CONTRAST, CorrelationDecoder, CorrelationLevel, Motion
from src.ops.warp import resize_flow


def centre_reader(radius: int) -> CorrelationLevel:
    """A level whose hidden feature is the correlation at the middle of the window."""
    level = CorrelationLevel(channels=32, carried=3, context=2, radius=radius, widths=(1,))
    first = level.layers[0][0]  # type: ignore[index]
    torch.nn.init.zeros_(first.weight)
    first.weight.data[0, ((2 * radius + 1) ** 2) // 2, 1, 1] = 1.0
    return level


def shifted_pair() -> tuple[Tensor, Tensor]:
    """Features of a key and a non-key frame that read 4 pixels further right and 2 down: flow (4, 2)."""
    scene = torch.randn(1, 32, 40, 40)
    return scene[..., 4:36, 4:36], scene[..., 6:38, 8:40]


def coarser(dx: float, dy: float) -> Motion:
    return Motion(torch.tensor([dx, dy]).view(1, 2, 1, 1).expand(1, 2, 16, 16) / 2, torch.zeros(1, 3, 16, 16))


@torch.no_grad()
def test_the_window_is_centred_where_the_coarser_flow_points() -> None:
    level, pair = centre_reader(radius=2), shifted_pair()
    found = level(*pair, coarser(4.0, 2.0)).hidden[..., 8:-8, 8:-8]
    torch.testing.assert_close(found, torch.full_like(found, CONTRAST), rtol=0.05, atol=0)
    for wrong in (coarser(0.0, 0.0), coarser(-4.0, -2.0), coarser(2.0, 4.0)):
        assert level(*pair, wrong).hidden[..., 8:-8, 8:-8].mean() < 0.2 * CONTRAST


@torch.no_grad()
def test_without_a_correction_the_coarser_flow_is_passed_on() -> None:
    level, start = CorrelationLevel(32, 3, 2, 1, (4,)), coarser(4.0, 2.0)
    torch.nn.init.zeros_(level.correction.weight)
    found = level(*shifted_pair(), start)
    assert torch.equal(found.flow, resize_flow(start.flow, (32, 32)))
    assert torch.equal(level.carry(start.hidden), level.carry(coarser(1.0, 1.0).hidden))  # type: ignore[misc]


@torch.no_grad()
def test_corrections_of_all_levels_add_up_in_pixels_of_the_finest() -> None:
    decoder = CorrelationDecoder((8, 8, 8), (2, 2, 2), (1, 1, 1), ((4,), (4,), (4,)))
    for level in decoder.levels:
        torch.nn.init.zeros_(level.correction.weight)  # type: ignore[arg-type, union-attr]
        level.correction.bias.copy_(torch.tensor([1.0, -2.0]))  # type: ignore[operator, union-attr]
    features = [torch.randn(1, 8, size, size) for size in (4, 8, 16)]
    motions = decoder(features, [torch.randn_like(level) for level in features])
    for motion, total in zip(motions, (1, 3, 7), strict=True):
        expected = total * torch.tensor([1.0, -2.0]).view(1, 2, 1, 1)
        torch.testing.assert_close(motion.flow, expected.expand_as(motion.flow))
