"""Laws of random points and of the values read at them."""

import pytest
import torch
import torch.nn.functional as F

from src.losses.point_sampling import read_label, read_points, sample_points, uncertain_points


def test_points_are_a_function_of_seed_and_sample() -> None:
    first = sample_points(0, 7, 3, 50, 3.0, 0.75)
    again = sample_points(0, 7, 3, 50, 3.0, 0.75)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert [tuple(points.shape) for points in first] == [(3, 50, 2), (3, 150, 2), (3, 13, 2)]
    # 2**32 apart: the CPU generator alone gives both the same points.
    others = [sample_points(seed, sample, 3, 50, 3.0, 0.75) for seed, sample in ((1, 7), (0, 8), (0, 7 + 2**32), (7, 0))]
    assert all(not torch.equal(first.matching, other.matching) for other in others)
    assert not torch.equal(first.matching[0], first.matching[1])


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_reading_a_label_equals_reading_its_binary_masks(padding: str) -> None:
    label = torch.randint(0, 4, (9, 13), dtype=torch.uint8)
    points = torch.rand(2, 500, 2)
    masks = F.one_hot(label.long(), 4).permute(2, 0, 1).float()
    expected = read_points(masks.expand(2, -1, -1, -1), points, padding)
    torch.testing.assert_close(read_label(label, points, padding).share(torch.arange(4)[None]), expected, rtol=0, atol=2e-6)


def test_reading_at_pixel_centres_is_exact() -> None:
    label = torch.tensor([[1, 2], [3, 1]], dtype=torch.uint8)
    centres = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]])
    assert read_label(label, centres, "border").share(torch.tensor([[1, 3]])).tolist() == [[[1, 0, 0, 1], [0, 0, 1, 0]]]


def test_uncertain_points_lie_at_the_edge_of_the_mask() -> None:
    samples = sample_points(0, 0, 1, 100, 3.0, 0.75)
    ramp = (torch.arange(64.0) - 31.5).expand(1, 1, 64, 64)
    logits = read_points(ramp, samples.candidates, "border")
    points = uncertain_points(samples, logits, None, 75)[0, 0]
    distance = (samples.candidates[0, :, 0] - 0.5).abs()
    torch.testing.assert_close((points[:75, 0] - 0.5).abs().sort().values, distance.sort().values[:75])
    assert torch.equal(points[75:], samples.extra[0])


def test_unusable_candidates_are_chosen_last() -> None:
    samples = sample_points(0, 0, 1, 100, 3.0, 0.75)
    usable = samples.candidates[..., 0] > 0.5
    points = uncertain_points(samples, torch.randn(1, 2, 300), usable, 75)[0, :, :75]
    assert (points[..., 0] > 0.5).all()
    few = samples.candidates[..., 0] > 0.9
    points = uncertain_points(samples, torch.randn(1, 2, 300), few, 75)[0, :, :75]
    assert ((points[..., 0] > 0.9).sum(-1) == few.sum()).all()
