"""Laws of flicker: counts by kind of frame, the change of the labels beside it, and no pair across clips."""

import math

import pytest
import torch
from torch import Tensor

from src.metrics.flicker import FLICKER, Flicker, motion_flicker
from src.structures import IGNORE_INDEX


def of(maps: list[Tensor], labels: list[Tensor | None], keys: list[bool], num_classes: int = 3) -> dict[str, float]:
    metric = Flicker(num_classes)
    for prediction, label, is_key in zip(maps, labels, keys, strict=True):
        metric.update(prediction, label, is_key)
    return {name: float(value) for name, value in metric.compute().items()}


def test_the_share_of_changed_pixels_is_counted_by_kind_of_frame() -> None:
    still, half, all_of_it = torch.zeros(2, 4).long(), torch.tensor([[1, 1, 0, 0]] * 2), torch.full((2, 4), 2)
    found = of([still, still, half, all_of_it, all_of_it], [None] * 5, [True, False, True, False, True])
    # Key frames: half of the pixels, then none; others: none, then all.
    assert (found["flicker_key"], found["flicker_other"]) == (0.25, 0.5)
    assert math.isnan(found["flicker_key_label"]) and math.isnan(found["flicker_other_label"])


def test_the_labels_state_the_change_of_the_scene_without_void() -> None:
    label = torch.tensor([[0, 1, IGNORE_INDEX, 2]])
    moved = torch.tensor([[1, 1, 2, IGNORE_INDEX]])
    found = of([torch.zeros(2, 8).long()] * 3, [label, moved, None], [True, True, False])
    assert found["flicker_key_label"] == 0.5 and math.isnan(found["flicker_other_label"]) and found["flicker_key"] == 0
    # The background of a single class counts.
    single = of([label, moved], [label, moved], [True, False], num_classes=1)
    assert single["flicker_other"] == single["flicker_other_label"] == 0.75


def test_clips_are_not_compared() -> None:
    metric = Flicker(3)
    for value in (0, 1, 2):
        metric.update(torch.full((2, 2), value), None, True)
        metric.end_clip()
    assert all(math.isnan(metric.compute()[name]) for name in FLICKER)


def test_flicker_follows_the_motion_and_leaves_out_pixels_without_a_source() -> None:
    """The picture moves right by two columns, which come in on the left."""
    world = torch.arange(12).expand(6, 12)
    previous, current = world[:, 2:], world[:, :10].clone()
    backward = torch.tensor([-2.0, 0.0]).view(2, 1, 1).expand(2, 6, 10)
    assert motion_flicker(previous, current, backward, -backward) == 0
    current[0, 2:6] = 99  # of 8 visible columns in 6 rows
    assert motion_flicker(previous, current, backward, -backward) == pytest.approx(4 / 48)
    assert motion_flicker(previous, current, 40 * backward, -40 * backward) is None
