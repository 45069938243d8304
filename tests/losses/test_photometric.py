"""Laws of the photometric loss: the true motion costs least, also under a change of brightness."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.losses.photometric import PhotometricLoss, Structure, census_distance, ssim_distance
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


def photometric(
    flow: FlowPrediction, key: Tensor, nonkey: Tensor, target: Tensor | None = None, structure: Structure = "census"
) -> float:
    return float(PhotometricLoss(structure=structure)(flow, key, nonkey, target)["photometric"])


@pytest.mark.parametrize("structure", ["census", "ssim"])
def test_the_true_motion_costs_least_under_a_change_of_brightness(frames: tuple[Tensor, Tensor], structure: Structure) -> None:
    key, nonkey = frames
    for change in (nonkey, nonkey + 40):
        costs = {dx: photometric(flow_of(dx), key, change, structure=structure) for dx in (-8.0, -5.0, -4.0, -3.0, 0.0, 4.0)}
        assert min(costs, key=costs.__getitem__) == -4.0


@pytest.mark.parametrize("structure", ["census", "ssim"])
def test_the_gradient_points_to_the_true_motion(frames: tuple[Tensor, Tensor], structure: Structure) -> None:
    flow, loss = flow_of(-3.2, requires_grad=True), PhotometricLoss(structure=structure)
    (gradient,) = torch.autograd.grad(loss(flow, *frames, None)["photometric"], flow.pixel_flows[0])
    assert gradient[:, 0].sum() > 0


def test_ssim_of_equal_images_is_free_and_grows_with_a_shift(frames: tuple[Tensor, Tensor]) -> None:
    image = frames[0].mean(1, keepdim=True) / 255
    costs = [ssim_distance(image, image.roll(shift, -1)).mean() for shift in (0, 1, 2)]
    assert costs[0] < 1e-5 < 0.01 < costs[1] < costs[2]


@pytest.mark.parametrize("distance", [census_distance, ssim_distance])
def test_brightness_is_cheaper_than_structure(
    distance: Callable[[Tensor, Tensor], Tensor], frames: tuple[Tensor, Tensor]
) -> None:
    """Of two changes with one mean square, the one that adds a constant costs less than the one that adds noise."""
    image = frames[0].mean(1, keepdim=True) / 255
    noise = 0.1 * torch.randn_like(image).sign()
    assert distance(image, image + 0.1).mean() < 0.5 * distance(image, image + noise).mean()


@pytest.mark.parametrize("structure", ["census", "ssim"])
def test_gradients_are_finite_on_images_without_texture(structure: Structure) -> None:
    flow, image = flow_of(-3.2, requires_grad=True), torch.zeros(2, 3, 64, 64)
    terms = PhotometricLoss(structure=structure)(flow, image, image + 255, None)
    (gradient,) = torch.autograd.grad(sum(terms.values()), flow.pixel_flows[0])
    assert gradient.isfinite().all()


def test_an_unknown_structure_is_refused() -> None:
    with pytest.raises(ValueError, match="structure is 'l1'; expected one of census, ssim"):
        PhotometricLoss(structure="l1")  # type: ignore[arg-type]


def test_pixels_without_confidence_do_not_count(frames: tuple[Tensor, Tensor]) -> None:
    key, nonkey = frames
    covered = nonkey.clone()
    covered[..., 32:] = 255 * torch.rand_like(covered[..., 32:])
    confidence = torch.ones(2, 1, 16, 16)
    confidence[..., 7:] = 0
    assert photometric(flow_of(-4, confidence), key, covered) < 0.7 * photometric(flow_of(-4), key, covered)


def test_pairs_with_known_flow_do_not_count(frames: tuple[Tensor, Tensor]) -> None:
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
