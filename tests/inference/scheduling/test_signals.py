"""Laws of change signals: thumbnails are block means, and brightness is no change."""

import pytest
import torch

from src.inference.scheduling.signals import difference_and_similarity, thumbnail, thumbnail_multiply_adds
from tests.inference.schedules import drift


def test_a_thumbnail_is_the_mean_of_blocks() -> None:
    image = torch.randint(0, 256, (1, 3, 96, 144), dtype=torch.uint8)
    small = thumbnail(image)
    weights = torch.tensor([0.299, 0.587, 0.114])
    corner = (image[0, :, :2, :2].float().mean((1, 2)) * weights).sum()
    assert small.shape == (1, 1, 48, 72) and small[0, 0, 0, 0] == pytest.approx(float(corner), abs=1e-3)
    tiny = torch.zeros(1, 3, 20, 30)
    assert thumbnail(tiny).shape == (1, 1, 20, 30)


def test_the_cost_of_a_thumbnail_grows_with_the_image() -> None:
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
