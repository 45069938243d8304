"""Laws of the photometric loss: the true motion costs least, whatever the light does."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.losses.photometric import PhotometricLoss
from src.structures import FlowPrediction


@pytest.fixture
def frames() -> tuple[Tensor, Tensor]:
    """Key and non-key frame of a texture that moves right by 4 pixels: the flow is (-4, 0)."""
    wide = F.interpolate(torch.rand(2, 3, 10, 20), scale_factor=4, mode="bicubic").clamp(0, 1) * 200
    return wide[..., 4:68], wide[..., :64]


def flow_of(dx: float, confidence: Tensor | None = None, requires_grad: bool = False) -> FlowPrediction:
    vectors = torch.zeros(2, 2, 16, 16)
    vectors[:, 0] = dx / 4
    vectors.requires_grad_(requires_grad)
    return FlowPrediction(vectors[:, None], (vectors,), (64, 64), confidence)


def photometric(flow: FlowPrediction, key: Tensor, nonkey: Tensor, target: Tensor | None = None) -> float:
    return float(PhotometricLoss()(flow, key, nonkey, target)["photometric"])


def test_the_true_motion_costs_least_even_as_the_light_changes(frames: tuple[Tensor, Tensor]) -> None:
    key, nonkey = frames
    for change in (nonkey, nonkey + 40):
        costs = {dx: photometric(flow_of(dx), key, change) for dx in (-8.0, -5.0, -4.0, -3.0, 0.0, 4.0)}
        assert min(costs, key=costs.__getitem__) == -4.0


def test_a_flow_that_is_off_is_drawn_to_the_truth(frames: tuple[Tensor, Tensor]) -> None:
    flow = flow_of(-3.2, requires_grad=True)
    (gradient,) = torch.autograd.grad(PhotometricLoss()(flow, *frames, None)["photometric"], flow.pixel_flows[0])
    assert gradient[:, 0].sum() > 0


def test_what_has_no_confidence_does_not_count(frames: tuple[Tensor, Tensor]) -> None:
    key, nonkey = frames
    covered = nonkey.clone()
    covered[..., 32:] = 255 * torch.rand_like(covered[..., 32:])
    confidence = torch.ones(2, 1, 16, 16)
    confidence[..., 7:] = 0
    assert photometric(flow_of(-4, confidence), key, covered) < 0.7 * photometric(flow_of(-4), key, covered)


def test_pairs_with_known_flow_are_left_to_the_end_point_error(frames: tuple[Tensor, Tensor]) -> None:
    known, unknown = torch.zeros(1, 2, 40, 64), torch.full((1, 2, 40, 64), torch.nan)
    assert photometric(flow_of(0), *frames, torch.cat((known, known))) == 0
    key, nonkey = frames
    first = torch.cat((key[:1], 255 - key[:1])), torch.cat((nonkey[:1], key[:1]))
    second = torch.cat((key[:1], key[:1])), torch.cat((nonkey[:1], nonkey[1:]))
    target = torch.cat((unknown, known))
    assert photometric(flow_of(0), *first, target) == pytest.approx(photometric(flow_of(0), *second, target))


def test_smoothness_is_free_for_one_motion_and_cheaper_at_image_edges() -> None:
    image = torch.full((2, 3, 64, 64), 100.0)
    edge = image.clone()
    edge[..., 32:] = 200
    step = flow_of(0)
    step.pixel_flows[0][..., 8:] = 2.0
    smooth, torn, apart = (
        float(PhotometricLoss(smoothness=1.0)(flow, key, key, None)["smoothness"])
        for flow, key in ((flow_of(-3), image), (step, image), (step, edge))
    )
    assert smooth == 0 < apart < torn
