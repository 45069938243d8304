import pytest
import torch

from src.inference.scheduling.signals import (
    class_mass_change,
    difference_and_similarity,
    inconsistency,
    mask_entropy,
    mean_doubt,
    thumbnail,
    thumbnail_multiply_adds,
    warp_error,
)
from src.structures import FlowPrediction, MaskPrediction
from tests.inference.schedules import drift


def prediction(masks: torch.Tensor, classes: torch.Tensor) -> MaskPrediction:
    size = (masks.shape[-2] * 4, masks.shape[-1] * 4)
    return MaskPrediction(classes[None, None], masks[None, None], torch.zeros(1, len(masks), 4), size, size)


def test_a_thumbnail_is_the_mean_of_blocks() -> None:
    image = torch.randint(0, 256, (1, 3, 96, 144), dtype=torch.uint8)
    small = thumbnail(image)
    weights = torch.tensor([0.299, 0.587, 0.114])
    corner = (image[0, :, :2, :2].float().mean((1, 2)) * weights).sum()
    assert small.shape == (1, 1, 48, 72) and small[0, 0, 0, 0] == pytest.approx(float(corner), abs=1e-3)
    tiny = torch.zeros(1, 3, 20, 30)
    assert thumbnail(tiny).shape == (1, 1, 20, 30)


def test_what_a_thumbnail_costs_grows_with_the_image() -> None:
    assert thumbnail_multiply_adds((96, 144)) == 4 * 96 * 144 + 10 * 48 * 72
    assert thumbnail_multiply_adds((480, 853)) < 0.002e9


def test_brightness_and_contrast_are_no_change_of_scene() -> None:
    first, other = thumbnail(drift(1)[0][None]), thumbnail(drift(1, seed=3)[0][None])
    darker = first * 0.6
    assert difference_and_similarity(first, darker) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-5))
    difference, similarity = difference_and_similarity(first, other)
    assert difference > 20 and similarity < 0.5
    flat = torch.full_like(first, 90.0)
    assert difference_and_similarity(flat, flat) == (0.0, 1.0)


def test_the_right_motion_explains_a_frame_and_another_does_not() -> None:
    images = drift(3)
    key, shown = (thumbnail(image[None]) for image in (images[0], images[2]))
    both = prediction(torch.tensor([[[4.0]], [[-4.0]]]).expand(2, 16, 24), torch.tensor([[3.0, 0, 0], [0, 3.0, 0]]))
    # Four pixels to the right in two frames, so the source lies four to the left: one cell of a grid of a quarter the size.
    right = torch.zeros(1, 2, 2, 16, 24)
    right[:, 0, 0] = -1.0
    right[:, 1, 0] = 5.0
    errors = [
        warp_error(key, shown, both, FlowPrediction(flow, (), (64, 96))) for flow in (right, torch.zeros_like(right), -right)
    ]
    assert errors[0] < 0.5 * errors[1] < 0.5 * errors[2]
    brighter = warp_error(key, shown * 1.5, both, FlowPrediction(right, (), (64, 96)))
    assert brighter == pytest.approx(1.5 * errors[0], rel=0.01)


def test_motion_returns_within_a_scene_and_not_across_a_cut() -> None:
    first, second, other = (thumbnail(image[None]) for image in (*drift(2), *drift(1, seed=3)))
    assert inconsistency(first, first) == 0
    assert inconsistency(first, second) < 0.1 < 0.3 < inconsistency(first, other)


def test_entropy_is_one_bit_where_a_mask_is_undecided() -> None:
    classes = torch.tensor([[8.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
    undecided, decided = torch.zeros(8, 8), torch.full((8, 8), 20.0)
    assert mask_entropy(prediction(torch.stack((undecided, decided)), classes)) == pytest.approx(1, abs=0.01)
    assert mask_entropy(prediction(torch.stack((decided, decided)), classes)) == pytest.approx(0, abs=1e-3)
    # The second query is no object: what its mask looks like does not count.
    assert mask_entropy(prediction(torch.stack((decided, undecided)), classes)) < 0.01


def test_doubt_is_what_the_flow_says_of_itself_weighted_by_the_masks() -> None:
    classes = torch.tensor([[9.0, 0.0, -9.0], [0.0, 9.0, -9.0]])
    left = torch.full((4, 8), -20.0)
    left[:, :2] = 20.0
    shown = prediction(torch.stack((left, -left)), classes)
    flow = torch.zeros(1, 1, 2, 4, 8)
    assert mean_doubt(shown, FlowPrediction(flow, (), (16, 32))) == 0
    one = FlowPrediction(flow, (), (16, 32), confidence=torch.full((1, 1, 4, 8), 0.75))
    assert mean_doubt(shown, one) == pytest.approx(0.25)
    # Only the first segment, a quarter of the picture, is in doubt.
    each = FlowPrediction(flow, (), (16, 32), confidence=torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 8))
    assert mean_doubt(shown, each) == pytest.approx(0.25, abs=1e-3)


def test_class_mass_tells_how_much_of_the_picture_changed_its_class() -> None:
    classes = torch.tensor([[20.0, 0.0, 0.0], [0.0, 20.0, 0.0]])
    left = torch.full((4, 8), -20.0)
    left[:, :4] = 20.0
    before, half = prediction(torch.stack((left, -left)), classes), left.clone()
    half[:, 2:] = -20.0
    after = prediction(torch.stack((half, -half)), classes)
    assert class_mass_change(before, before) == 0
    assert class_mass_change(before, after) == pytest.approx(0.25, abs=1e-4)
