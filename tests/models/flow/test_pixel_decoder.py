import pytest
import torch

from src.models.flow.pixel_decoder import PixelFlowDecoder

SIZES = [(1, 2), (2, 3), (3, 5), (6, 10), (12, 20)]


def features() -> list[torch.Tensor]:
    return [torch.randn(2, 4, *size) for size in SIZES]


def test_flows_have_the_grids_of_their_levels_including_odd_sizes() -> None:
    flows = PixelFlowDecoder([4] * 5, (4, 4, 4, 4))(features())
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, *size) for size in SIZES]


def test_no_layer_has_a_bias() -> None:
    network, levels = PixelFlowDecoder([4] * 5, (4, 4, 4, 4)), features()
    once, twice = network(levels), network([2 * level for level in levels])
    for flow, doubled in zip(once, twice, strict=True):
        torch.testing.assert_close(2 * flow, doubled)


def test_every_level_reaches_the_finest_flow() -> None:
    levels = [level.requires_grad_() for level in features()]
    PixelFlowDecoder([4] * 5, (4, 4, 4, 4))(levels)[-1].sum().backward()
    assert all(level.grad is not None and level.grad.abs().max() > 0 for level in levels)


def test_initial_flow_is_near_zero() -> None:
    flows = PixelFlowDecoder([64] * 5, (32, 32, 32, 16))([torch.randn(1, 64, *size) for size in SIZES])
    assert all(0 < flow.abs().max() < 0.5 for flow in flows)


def test_flow_keeps_float32_under_autocast() -> None:
    network, levels = PixelFlowDecoder([4] * 5, (4, 4, 4, 4)), features()
    with torch.autocast("cpu", torch.bfloat16):
        assert all(flow.dtype == torch.float32 for flow in network(levels))


def test_a_missing_step_is_refused() -> None:
    with pytest.raises(ValueError, match="one step fewer"):
        PixelFlowDecoder([4] * 5, (4, 4, 4))


def test_inference_gives_the_same_numbers() -> None:
    network, levels = PixelFlowDecoder([4] * 5, (4, 4, 4, 4)), features()
    with torch.no_grad():
        plain = network(levels)
    with torch.inference_mode():
        found = network(levels)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-5)
