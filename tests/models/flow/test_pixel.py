import torch

from src.models.flow.pixel import PixelFlow
from src.models.flow.query import PixelBranch, QueryFlow

CONFIG = {"encoder_channels": (8, 12, 16, 16, 24, 24), "refine_channels": (8, 8, 8, 6)}


def images(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(batch, 3, 50, 70) * 255, torch.rand(batch, 3, 50, 70) * 255


def test_all_segments_share_the_finest_flow() -> None:
    prediction = PixelFlow(**CONFIG)(*images(), torch.zeros(2, 7, 9))
    assert prediction.padded_size == (64, 96)
    assert torch.equal(prediction.segment_flow, prediction.pixel_flows[-1][:, None])
    assert prediction.segment_flow.shape == (2, 1, 2, 8, 12)


def test_the_flow_depends_on_the_direction_and_not_on_queries() -> None:
    network, (key, nonkey) = PixelFlow(**CONFIG), images()
    flow = network(key, nonkey, torch.zeros(2, 7, 9)).segment_flow
    assert torch.equal(flow, network(key, nonkey, torch.randn(2, 3, 5)).segment_flow)
    assert not torch.allclose(flow, network(nonkey, key, torch.zeros(2, 7, 9)).segment_flow, atol=1e-6)


def test_every_parameter_learns_from_the_first_step() -> None:
    network = PixelFlow(**CONFIG)
    (network(*images(), torch.zeros(2, 1, 1)).segment_flow - 1).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_default_size_is_that_of_flownet_simple() -> None:
    with torch.device("meta"):
        network = PixelFlow()
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 38.68


def test_the_branch_returns_the_pixel_flow_of_the_query_estimator(small: QueryFlow) -> None:
    queries, pair = torch.randn(2, 5, 24), images()
    whole, branch = small(*pair, queries), PixelBranch(small)(*pair, queries)
    assert torch.equal(branch.segment_flow, whole.pixel_flows[-1][:, None])
    assert branch.padded_size == whole.padded_size
    assert PixelBranch(small).config() == {"query_flow": small.config()}
