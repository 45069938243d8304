"""Laws of change signals: thumbnails are block means, and brightness is no change."""

import pytest
import torch

from src.inference.scheduling.signals import difference_and_similarity, kept_share, thumbnail, thumbnail_multiply_adds
from tests.inference.schedules import drift, textured


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


@pytest.mark.parametrize("pan", [8, 24, 40])
def test_a_pan_keeps_what_both_frames_show(pan: int) -> None:
    wide = textured(64, 96 + pan)
    first, later = (thumbnail(wide[None, ..., left : left + 96]) for left in (0, pan))
    assert kept_share(first, later) > 0.8 * (1 - pan / 96) > kept_share(first, thumbnail(textured(64, 96, seed=5)[None]))


def test_an_object_keeps_what_it_does_not_cover() -> None:
    scene, flat = textured(64, 96), torch.full((1, 1, 48, 72), 90.0)
    covered = scene.clone()
    covered[:, :, 32:] = textured(64, 64, seed=1)
    assert kept_share(thumbnail(scene[None]), thumbnail(covered[None])) == pytest.approx(1 / 3, abs=0.05)
    assert kept_share(thumbnail(scene[None]), thumbnail(scene[None] // 2)) > 0.95
    assert kept_share(flat, flat) == 0 == kept_share(flat[..., :4, :4], flat[..., :4, :4])


def test_different_shots_have_nothing_in_common() -> None:
    shots = [thumbnail(textured(64, 96, seed)[None]) for seed in range(12)]
    assert max(kept_share(a, b) for a in shots for b in shots if a is not b) < 0.13
